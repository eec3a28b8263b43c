package daemon

import (
	"fmt"
	"slices"
	"testing"

	"tvsctl/dockerops"
)

// What an earlier life of a change started is stopped if the change is taken back: nobody
// can remove a unit.
func TestInstancesTakenUp(t *testing.T) {
	web := dockerops.Service{Name: "web", Units: &dockerops.Units{Unit: "app@.service", Base: 25000, First: 25000}}
	running := func(ports ...int) *dockerops.Project {
		s := web
		for _, port := range ports {
			r := s.Units.Instance(port)
			r.State = "running"
			s.Replicas = append(s.Replicas, r)
		}
		return &dockerops.Project{Name: "shop", Services: []dockerops.Service{s}}
	}
	var j job
	j.settle(running(25000, 25009), scaleTo(running(25000, 25009), map[string]int{"web": 3}))
	adopted := j.Decided.again(running(25000, 25001, 25002, 25009), "").request.Adopted
	if want := fmt.Sprint(map[string]dockerops.StepKind{"app@25001.service": dockerops.StepStop, "app@25002.service": dockerops.StepStop}); fmt.Sprint(adopted) != want {
		t.Errorf("adopted %v, want %s", adopted, want)
	}
}

// With a start of the machine come back as many as are desired, and not what was stopped.
func TestRestoreInstances(t *testing.T) {
	for _, c := range []struct {
		name    string
		boot    string
		stopped bool
		want    []string
	}{
		{"after a boot", "an earlier one", false, []string{"app@25000.service", "app@25001.service", "db.service"}},
		{"what was stopped", "an earlier one", true, nil},
		{"without a boot", bootID(), false, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newInstanceStack(t, "notify")
			store := openStore(s.config.StateDir)
			err := store.update("shop", func(k *projectState) { k.Desired["web"], k.Stopped["web"] = 2, c.stopped })
			if err != nil || store.keepBoot(c.boot) != nil || store.close() != nil {
				t.Fatal(err)
			}
			s.run(t)
			if c.want == nil {
				until(t, "the guard has looked", func() bool {
					select {
					case <-s.d.guarding:
						return true
					default:
						return false
					}
				})
			} else {
				until(t, "they run", func() bool { return slices.Equal(s.Active(), c.want) })
			}
			s.active(t, c.want...)
		})
	}
}
