package daemon

import (
	"encoding/json"
	"testing"

	"tvsctl/dockerops"
	"tvsctl/policy"
)

// Each service has the bound of the rule that allowed it, and only for what sets its number.
func TestBoundsByService(t *testing.T) {
	d, _ := ruled(t, `
[[rule]]
groups = [990]
role = "operator"
services = ["a"]
max_replicas = 10
[[rule]]
groups = [990]
role = "operator"
services = ["b"]
max_replicas = 2
`)
	goals := func(a, b int) intent {
		return scaleTo(&dockerops.Project{Name: "shop"}, map[string]int{"a": a, "b": b})
	}
	for _, c := range []struct {
		verb    policy.Verb
		a, b    int
		allowed bool
	}{
		{policy.Scale, 5, 1, true},
		{policy.Scale, 5, 3, false},
		{policy.Scale, 11, 1, false},
		{policy.Start, 5, 3, true},
	} {
		ctx := asking(t, stranger, 990).Context()
		if err := d.permitGoals(ctx, c.verb, false, "shop", goals(1, 1)); err != nil {
			t.Fatal(err)
		}
		j := job{Kind: string(c.verb)}
		j.Audit, j.Most, _ = asked(ctx)
		kept, err := json.Marshal(j)
		if err != nil {
			t.Fatal(err)
		}
		var again job
		if err := json.Unmarshal(kept, &again); err != nil {
			t.Fatal(err)
		}
		for _, j := range []job{j, again} {
			if err := j.within(goals(c.a, c.b)); (err == nil) != c.allowed {
				t.Errorf("%s a=%d b=%d: %v", c.verb, c.a, c.b, err)
			}
		}
	}
}

// Earlier versions kept one number.
func TestBoundOfAnEarlierVersion(t *testing.T) {
	for text, most := range map[string]int{`{"most": 3}`: 3, `{"most": {"": 3, "web": 2}}`: 2, `{"most": {"web": 3, "": 4}}`: 3, `{}`: 0} {
		var j job
		if err := json.Unmarshal([]byte(text), &j); err != nil {
			t.Fatal(err)
		}
		if got, bounded := j.Most.of("web"); got != most || bounded != (most > 0) {
			t.Errorf("%s: %d, %v", text, got, bounded)
		}
	}
}
