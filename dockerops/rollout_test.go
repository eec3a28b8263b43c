package dockerops

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// settling gives a service a settle time.
func (s Service) settling(d time.Duration) Service {
	s.Settings.Settle = d
	return s
}

// rolling is a rollout of all replicas of a service but those that are fresh.
func rolling(s Service, surge int, fresh ...int) Rollout {
	old := s
	old.Replicas = slices.DeleteFunc(slices.Clone(s.Replicas), func(r Replica) bool { return slices.Contains(fresh, r.Number) })
	r := NewRollout(&old)
	r.Surge = surge
	return r
}

// healthy makes those that run so.
func (s Service) healthy() Service {
	s.Replicas = slices.Clone(s.Replicas)
	for i := range s.Replicas {
		if s.Replicas[i].Running() {
			s.Replicas[i].Health = "healthy"
		}
	}
	return s
}

func (r Rollout) with(change func(*Rollout)) Rollout {
	change(&r)
	return r
}

// detail renders a plan with what its steps carry beyond a replica.
func detail(plan *Plan) string {
	lines := strings.Split(render(plan), "\n")
	name := func(id string) string { return strings.TrimPrefix(id, "id-tvs-") }
	for i, s := range plan.Steps {
		kind := fmt.Sprintf("%d %s", s.ID, s.Kind)
		more := ""
		for _, id := range s.Joins {
			more += " +" + name(id)
		}
		for _, id := range s.Retires {
			more += " -" + name(id)
		}
		lines[i] = strings.Replace(lines[i], kind, kind+more, 1)
		if at := strings.Index(lines[i]+" after ", " after "); s.Kind == StepComposeCreate {
			lines[i] = lines[i][:at] + fmt.Sprintf(" of %d", s.Count) + lines[i][at:]
		} else if s.Kind == StepSettle {
			lines[i] = lines[i][:at] + " " + s.For.String() + lines[i][at:]
		} else if s.Volumes {
			lines[i] = lines[i][:at] + " and volumes" + lines[i][at:]
		}
	}
	return strings.Join(lines, "\n")
}

type rolloutCase struct {
	name    string
	service Service
	rollout Rollout
	want    string
}

func runRollouts(t *testing.T, plan func(*Project, Rollout) *Plan, others []Service, cases []rolloutCase) {
	t.Helper()
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			p := project(append(slices.Clone(others), c.service)...)
			p.Retire("webapp", c.rollout.Stopped(p))
			got := plan(p, c.rollout)
			if text, want := detail(got), strings.TrimPrefix(strings.ReplaceAll(c.want, "\t", ""), "\n"); text != want {
				t.Errorf("got:\n%swant:\n%s", text, want)
			}
			if !got.Staged || got.Project != "tvs" {
				t.Errorf("staged %v, of project %q", got.Staged, got.Project)
			}
			drains := slices.ContainsFunc(got.Steps, func(s Step) bool { return s.Kind == StepDrain })
			if (len(got.Drain) > 0) != drains {
				t.Errorf("drains %q", got.Drain)
			}
		})
	}
}

func TestPlanRollout(t *testing.T) {
	one, two, settled := service("webapp", "1"), service("webapp", "1", "2"), service("webapp", "1", "2").settling(time.Second)
	runRollouts(t, PlanRollout, []Service{entry}, []rolloutCase{
		{"one, and it settles", one.settling(10 * time.Second), rolling(one, 1), `
			1 create webapp-2
			2 start webapp-2 after 1
			3 ready webapp-2 after 2
			4 publish after 3
			5 settle webapp-2 10s after 4
			6 publish -webapp-1 after 5
			7 drain after 6
			8 stop webapp-1 after 7
			9 remove webapp-1 after 8
		`},
		{"without settling they change places in one publication", one, rolling(one, 1), `
			1 create webapp-2
			2 start webapp-2 after 1
			3 ready webapp-2 after 2
			4 publish -webapp-1 after 3
			5 drain after 4
			6 stop webapp-1 after 5
			7 remove webapp-1 after 6
		`},
		{"one after the other, removed at the end, the highest first", two, rolling(two, 1), `
			1 create webapp-3
			2 start webapp-3 after 1
			3 ready webapp-3 after 2
			4 publish -webapp-1 after 3
			5 drain after 4
			6 stop webapp-1 after 5
			7 create webapp-4 after 6
			8 start webapp-4 after 7
			9 ready webapp-4 after 8
			10 publish -webapp-2 after 9
			11 drain after 10
			12 stop webapp-2 after 11
			13 remove webapp-2 after 12
			14 remove webapp-1 after 12
		`},
		{"two at a time", settled, rolling(settled, 2), `
			1 create webapp-3
			2 start webapp-3 after 1
			3 ready webapp-3 after 2
			4 create webapp-4
			5 start webapp-4 after 4
			6 ready webapp-4 after 5
			7 publish after 3,6
			8 settle webapp-3 1s after 7
			9 settle webapp-4 1s after 7
			10 publish -webapp-1 -webapp-2 after 8,9
			11 drain after 10
			12 stop webapp-1 after 11
			13 stop webapp-2 after 11
			14 remove webapp-2 after 12,13
			15 remove webapp-1 after 12,13
		`},
		{"a surge beyond all", one, rolling(one, 5), `
			1 create webapp-2
			2 start webapp-2 after 1
			3 ready webapp-2 after 2
			4 publish -webapp-1 after 3
			5 drain after 4
			6 stop webapp-1 after 5
			7 remove webapp-1 after 6
		`},
		{"it holds", settled, rolling(settled, 1).with(func(r *Rollout) { r.Hold = 1 }), `
			1 create webapp-3
			2 start webapp-3 after 1
			3 ready webapp-3 after 2
			4 publish after 3
			5 settle webapp-3 1s after 4
			6 publish -webapp-1 after 5
			7 drain after 6
			8 stop webapp-1 after 7
		`},
		{"stopped ones are replaced last, and make no room", service("webapp", "1 exited", "2"), rolling(service("webapp", "1 exited", "2"), 1), `
			1 create webapp-3
			2 start webapp-3 after 1
			3 ready webapp-3 after 2
			4 publish after 3
			5 create webapp-4 after 4
			6 start webapp-4 after 5
			7 ready webapp-4 after 6
			8 publish -webapp-2 after 7
			9 drain after 8
			10 stop webapp-2 after 9
			11 remove webapp-2 after 10
			12 remove webapp-1 after 10
		`},
		{"one that is paused leaves as one that runs", service("webapp", "1 paused"), rolling(service("webapp", "1 paused"), 1), `
			1 create webapp-2
			2 start webapp-2 after 1
			3 ready webapp-2 after 2
			4 publish -webapp-1 after 3
			5 drain after 4
			6 stop webapp-1 after 5
			7 remove webapp-1 after 6
		`},
	})
}

// What an earlier life of the daemon came to is one group.
func TestPlanRolloutAgain(t *testing.T) {
	created, running, both := service("webapp", "1", "2", "3 created"), service("webapp", "1", "2", "3"), service("webapp", "1 exited", "2", "3", "4 exited")
	held := service("webapp", "1 exited", "2", "3").settling(time.Second)
	last := service("webapp", "1 exited", "2 exited", "3", "4")
	gap := service("webapp", "1", "2", "5")
	runRollouts(t, PlanRollout, []Service{entry}, []rolloutCase{
		{"after create", created, rolling(created, 1, 3), `
			1 start webapp-3
			2 ready webapp-3 after 1
			3 publish -webapp-1 after 2
			4 drain after 3
			5 stop webapp-1 after 4
			6 create webapp-4 after 5
			7 start webapp-4 after 6
			8 ready webapp-4 after 7
			9 publish -webapp-2 after 8
			10 drain after 9
			11 stop webapp-2 after 10
			12 remove webapp-2 after 11
			13 remove webapp-1 after 11
		`},
		{"after start", running, rolling(running, 1, 3), `
			1 ready webapp-3
			2 publish -webapp-1 after 1
			3 drain after 2
			4 stop webapp-1 after 3
			5 create webapp-4 after 4
			6 start webapp-4 after 5
			7 ready webapp-4 after 6
			8 publish -webapp-2 after 7
			9 drain after 8
			10 stop webapp-2 after 9
			11 remove webapp-2 after 10
			12 remove webapp-1 after 10
		`},
		{"in the last group, and one ended", both, rolling(both, 1, 3, 4).with(func(r *Rollout) { r.Old["id-tvs-webapp-1"] = true }), `
			1 ready webapp-3
			2 start webapp-4
			3 ready webapp-4 after 2
			4 publish -webapp-2 after 1,3
			5 drain after 4
			6 stop webapp-2 after 5
			7 remove webapp-2 after 6
			8 remove webapp-1 after 6
		`},
		{"after the last stop", last, rolling(last, 1, 3, 4).with(func(r *Rollout) {
			r.Old["id-tvs-webapp-1"], r.Old["id-tvs-webapp-2"] = true, true
		}), `
			1 ready webapp-3
			2 ready webapp-4
			3 publish after 1,2
			4 remove webapp-2 after 3
			5 remove webapp-1 after 3
		`},
		{"on from where it held: what has settled does not again", held, rolling(held, 1, 3).with(func(r *Rollout) {
			r.Old["id-tvs-webapp-1"], r.Settled = true, 1
		}), `
			1 ready webapp-3
			2 publish after 1
			3 create webapp-4 after 2
			4 start webapp-4 after 3
			5 ready webapp-4 after 4
			6 publish after 5
			7 settle webapp-4 1s after 6
			8 publish -webapp-2 after 7
			9 drain after 8
			10 stop webapp-2 after 9
			11 remove webapp-2 after 10
			12 remove webapp-1 after 10
		`},
		{"numbers go on after a gap", gap, rolling(gap, 2, 5), `
			1 ready webapp-5
			2 create webapp-6
			3 start webapp-6 after 2
			4 ready webapp-6 after 3
			5 publish -webapp-1 -webapp-2 after 1,4
			6 drain after 5
			7 stop webapp-1 after 6
			8 stop webapp-2 after 6
			9 remove webapp-2 after 7,8
			10 remove webapp-1 after 7,8
		`},
	})
}

// What ended in the middle of a rollout comes back as far as it ran before.
func TestRolloutLost(t *testing.T) {
	for name, c := range map[string]struct {
		surge    int
		fresh    []int
		replicas []string
		want     string
	}{
		"all, with the first new one":               {1, []int{5}, []string{"1 exited", "2 exited", "3 exited", "4 exited", "5 exited"}, "5 4 3 2 1"},
		"one that was only created is no help":      {1, []int{5}, []string{"1 exited", "2 exited", "3 exited", "4 exited", "5 created"}, "4 3 2 1"},
		"those that leave last, up to the surge":    {1, []int{5, 6, 7}, []string{"1 exited", "2 exited", "3 exited", "4 exited", "5 exited", "6 exited", "7 exited"}, "5 6 7 4 3"},
		"Docker has started some of them":           {1, []int{5, 6}, []string{"1 exited", "2 exited", "3", "4 exited", "5", "6"}, "4 2"},
		"none that the rollout itself has stopped":  {1, []int{5}, []string{"1 exited", "2", "3", "4", "5"}, ""},
		"one that is to leave stands for a new one": {1, []int{5}, []string{"1", "2", "3", "4", "5 exited"}, ""},
		"before the first new one":                  {2, nil, []string{"1 exited", "2 exited"}, "2 1"},
	} {
		t.Run(name, func(t *testing.T) {
			s := service("webapp", c.replicas...)
			r := rolling(s, c.surge, c.fresh...)
			for id := range r.Old {
				r.Old[id] = true
			}
			p := project(entry, s)
			p.Retire("webapp", r.Stopped(p))
			var got []string
			for _, replica := range r.Lost(p) {
				got = append(got, fmt.Sprint(replica.Number))
			}
			if text := strings.Join(got, " "); text != c.want {
				t.Errorf("got %q, want %q", text, c.want)
			}
		})
	}
	s := service("webapp", "1 exited", "2 exited")
	r := rolling(s, 1)
	r.Old["id-tvs-webapp-2"] = true
	if lost := r.Lost(project(entry, s)); len(lost) != 1 || lost[0].Number != 2 {
		t.Errorf("of those that did not run before: %+v", lost)
	}
	if lost := r.Lost(project(entry)); lost != nil {
		t.Errorf("of a service that is gone: %+v", lost)
	}
}
