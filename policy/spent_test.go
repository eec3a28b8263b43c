package policy

import (
	"encoding/json"
	"testing"
	"time"
)

// What was spent holds over a restart, to the moment; a clock that was set back makes nobody
// wait longer than the rate's time.
func TestRestore(t *testing.T) {
	p := mustParse(t, rated)
	start := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	scale := Request{Verb: Scale, Target: web, Replicas: 2}
	for _, c := range []struct {
		name  string
		after time.Duration // the restart, since the first of three changes, one in a second each
		spent int           // that are allowed then
		retry time.Duration
	}{
		{"at once", 10 * time.Second, 0, 50 * time.Second},
		{"when one is over", 60 * time.Second, 1, time.Second},
		{"when all are over", 62 * time.Second, 3, time.Minute},
		{"a day later", 25 * time.Hour, 3, time.Minute},
		{"the clock is an hour back", -time.Hour, 0, time.Minute},
		{"the clock is back to the second", time.Second, 0, 59 * time.Second},
	} {
		kept := map[string]Spent{}
		before := Limiter{Spend: func(s Spent) { kept[s.Rule] = s }}
		for i := range 3 {
			if _, allowed := before.Admit(p, ann, start.Add(time.Duration(i)*time.Second), scale); !allowed {
				t.Fatal("refused")
			}
		}
		var list []Spent
		for _, s := range kept { // of one rule
			text, err := json.Marshal(s)
			if err != nil {
				t.Fatal(err)
			}
			var read Spent
			if err := json.Unmarshal(text, &read); err != nil {
				t.Fatal(err)
			}
			list = append(list, read)
		}
		var after Limiter
		now := start.Add(c.after)
		after.Restore(list, now)
		after.Restore(list, now) // no more than once
		n := 0
		for ; n < 4; n++ {
			if decisions, allowed := after.Admit(p, ann, now, scale); !allowed {
				if decisions[0].Retry != c.retry {
					t.Errorf("%s: to wait %v", c.name, decisions[0].Retry)
				}
				break
			}
		}
		if n != c.spent {
			t.Errorf("%s: %d allowed", c.name, n)
		}
		if _, allowed := after.Admit(p, bob, now, scale); !allowed {
			t.Errorf("%s: somebody else waits", c.name)
		}
	}
}

// In the same moment as the clock is read the daemon's own clock counts, whatever becomes of
// the other.
func TestRestoreOutlivesTheClock(t *testing.T) {
	var l Limiter
	now := time.Now()
	l.Restore([]Spent{{UID: 1, Rule: "r", Times: []time.Time{now.Add(-time.Second).Round(0)}}}, now)
	for _, times := range l.spent {
		if times[0].Round(0) == times[0] {
			t.Error("it is of the clock that can be set")
		}
	}
	if len(l.spent) != 1 {
		t.Errorf("%d accounts", len(l.spent))
	}
}
