package dockerops

import (
	"slices"
	"testing"
	"time"
)

func TestPlanRolloutWithoutNginx(t *testing.T) {
	worker := service("worker", "1", "2").settling(time.Second)
	runRollouts(t, PlanRollout, []Service{entry, service("webapp", "1")}, []rolloutCase{
		{"nobody is told", worker, rolling(worker, 1).with(func(r *Rollout) { r.Hold = 1 }), `
			1 create worker-3
			2 start worker-3 after 1
			3 ready worker-3 after 2
			4 settle worker-3 1s after 3
			5 stop worker-1 after 4
		`},
		{"the next one waits for the stop", service("worker", "1", "2"), rolling(service("worker", "1", "2"), 1), `
			1 create worker-3
			2 start worker-3 after 1
			3 ready worker-3 after 2
			4 stop worker-1 after 3
			5 create worker-4 after 4
			6 start worker-4 after 5
			7 ready worker-4 after 6
			8 stop worker-2 after 7
			9 remove worker-2 after 8
			10 remove worker-1 after 8
		`},
	})
}

func TestPlanRolloutStartsDependencies(t *testing.T) {
	webapp := service("webapp", "1").on("storage")
	runRollouts(t, PlanRollout, []Service{entry, service("storage", "1 exited").on("volume"), service("volume", "1")}, []rolloutCase{
		{"first", webapp, rolling(webapp, 1), `
			1 start storage-1
			2 ready storage-1 after 1
			3 create webapp-2 after 2
			4 start webapp-2 after 3
			5 ready webapp-2 after 4
			6 publish -webapp-1 after 5
			7 drain after 6
			8 stop webapp-1 after 7
			9 remove webapp-1 after 8
		`},
	})
}

func TestPlanRolloutByCompose(t *testing.T) {
	two, part := service("webapp", "1", "2"), service("webapp", "1", "2", "3 created")
	first, all := func(r *Rollout) { r.Creator = ByComposeFirst }, func(r *Rollout) { r.Creator = ByComposeAll }
	runRollouts(t, PlanRollout, []Service{entry}, []rolloutCase{
		{"it creates the first", two, rolling(two, 1).with(first), `
			1 compose-create webapp-3 of 3
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
		{"it creates the first of two at a time, which the second waits for", two, rolling(two, 2).with(first), `
			1 compose-create webapp-3 of 3
			2 start webapp-3 after 1
			3 ready webapp-3 after 2
			4 create webapp-4 after 1
			5 start webapp-4 after 4
			6 ready webapp-4 after 5
			7 publish -webapp-1 -webapp-2 after 3,6
			8 drain after 7
			9 stop webapp-1 after 8
			10 stop webapp-2 after 8
			11 remove webapp-2 after 9,10
			12 remove webapp-1 after 9,10
		`},
		{"one that is neither old nor new counts too", two, rolling(two, 1).with(first).with(func(r *Rollout) {
			delete(r.Old, "id-tvs-webapp-2")
			r.Hold = 1
		}), `
			1 compose-create webapp-3 of 3
			2 start webapp-3 after 1
			3 ready webapp-3 after 2
			4 publish after 3
		`},
		{"it has created the first", part, rolling(part, 1, 3).with(first), `
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
		{"it creates and starts all", two, rolling(two, 2).with(all), `
			1 compose webapp=4
			2 ready webapp-3 after 1
			3 ready webapp-4 after 1
			4 publish -webapp-1 -webapp-2 after 2,3
			5 drain after 4
			6 stop webapp-1 after 5
			7 stop webapp-2 after 5
			8 remove webapp-2 after 6,7
			9 remove webapp-1 after 6,7
		`},
		{"it has come half way", part, rolling(part, 2, 3).with(all), `
			1 compose webapp=4
			2 start webapp-3 after 1
			3 ready webapp-3 after 2
			4 ready webapp-4 after 1
			5 publish -webapp-1 -webapp-2 after 3,4
			6 drain after 5
			7 stop webapp-1 after 6
			8 stop webapp-2 after 6
			9 remove webapp-2 after 7,8
			10 remove webapp-1 after 7,8
		`},
	})
}

func TestPlanBack(t *testing.T) {
	ran := func(numbers ...string) func(*Rollout) {
		return func(r *Rollout) {
			for _, n := range numbers {
				r.Old["id-tvs-webapp-"+n] = true
			}
		}
	}
	before, made, up := service("webapp", "1", "2").healthy(), service("webapp", "1", "2", "3 created").healthy(), service("webapp", "1", "2", "3").healthy()
	half, all := service("webapp", "1 exited", "2", "3").healthy(), service("webapp", "1 exited", "2 exited", "3", "4 exited").healthy()
	stopped := service("webapp", "1 exited", "2", "3 exited").healthy()
	runRollouts(t, PlanBack, []Service{entry}, []rolloutCase{
		{"from the beginning", before, rolling(before, 1), ""},
		{"one that does not run just goes", made, rolling(made, 1, 3), `
			1 remove webapp-3 and volumes
		`},
		{"one that runs leaves first", up, rolling(up, 1, 3), `
			1 publish +webapp-1 +webapp-2 -webapp-3
			2 drain after 1
			3 stop webapp-3 after 2
			4 remove webapp-3 and volumes after 3
		`},
		{"the old one is back before", half, rolling(half, 1, 3).with(ran("1")), `
			1 start webapp-1
			2 ready webapp-1 after 1
			3 publish +webapp-2 -webapp-3 after 2
			4 drain after 3
			5 stop webapp-3 after 4
			6 remove webapp-3 and volumes after 5
		`},
		{"one that was just started gets ready first", service("webapp", "1", "2", "3"), rolling(service("webapp", "1", "2", "3"), 1, 3), `
			1 ready webapp-1
			2 ready webapp-2
			3 publish +webapp-1 +webapp-2 -webapp-3 after 1,2
			4 drain after 3
			5 stop webapp-3 after 4
			6 remove webapp-3 and volumes after 5
		`},
		{"all of them are, at once", all, rolling(all, 1, 3, 4).with(ran("1", "2")), `
			1 start webapp-1
			2 ready webapp-1 after 1
			3 start webapp-2
			4 ready webapp-2 after 3
			5 publish -webapp-3 after 2,4
			6 drain after 5
			7 remove webapp-4 and volumes after 6
			8 stop webapp-3 after 6
			9 remove webapp-3 and volumes after 8
		`},
		{"where old ones are gone, new ones stay", service("webapp", "2 exited", "3", "4", "5").healthy(), rolling(all, 1, 3, 4).with(ran("0", "1", "2")), `
			1 start webapp-2
			2 ready webapp-2 after 1
			3 publish -webapp-5 after 2
			4 drain after 3
			5 stop webapp-5 after 4
			6 remove webapp-5 and volumes after 5
		`},
		{"of the new ones those stay that serve", service("webapp", "2 exited", "3 exited", "4").healthy(), rolling(all, 1, 3, 4).with(ran("1", "2")), `
			1 start webapp-2
			2 ready webapp-2 after 1
			3 publish after 2
			4 remove webapp-3 and volumes after 3
		`},
		{"where all are gone, all stay", service("webapp", "3", "4").healthy(), rolling(all, 1, 3, 4).with(ran("1", "2")), ""},
		{"one that did not run stays so", stopped, rolling(stopped, 1, 3), `
			1 remove webapp-3 and volumes
		`},
	})
	worker := service("worker", "1 exited", "2 paused")
	runRollouts(t, PlanBack, []Service{entry}, []rolloutCase{
		{"without an nginx", worker, rolling(worker, 1, 2).with(func(r *Rollout) { r.Old["id-tvs-worker-1"] = true }), `
			1 start worker-1
			2 ready worker-1 after 1
			3 stop worker-2 after 2
			4 remove worker-2 and volumes after 3
		`},
	})
	if plan := PlanBack(project(entry), rolling(before, 1)); !plan.Empty() || !plan.Staged {
		t.Errorf("of a service that is gone:\n%s", detail(plan))
	}
}

func TestNewRollout(t *testing.T) {
	s := service("webapp", "2", "3 exited", "7 restarting")
	r := NewRollout(&s)
	if r.Service != "webapp" || r.Count != 3 || r.Above != 7 || r.Surge != 1 || r.Hold != 0 || r.Creator != ByClone || len(r.Old) != 3 ||
		!r.Old["id-tvs-webapp-2"] || r.Old["id-tvs-webapp-3"] || !r.Old["id-tvs-webapp-7"] {
		t.Errorf("%+v", r)
	}
}

func TestRetire(t *testing.T) {
	before := service("webapp", "1", "2", "3 exited")
	r := NewRollout(&before)
	p := project(entry, service("webapp", "1 exited", "2", "3 exited", "4", "5 exited"))
	stopped := r.Stopped(p)
	if !slices.Equal(stopped, []string{"id-tvs-webapp-1", "id-tvs-webapp-3"}) {
		t.Errorf("stopped %q", stopped)
	}
	p.Retire("webapp", append(stopped, "id-tvs-webapp-2", "id-gone")) // what runs does not retire
	p.Retire("gone", stopped)                                         // touches nothing
	numbers := func(list []Replica) (n []int) {
		for _, r := range list {
			n = append(n, r.Number)
		}
		return n
	}
	s := p.Service("webapp")
	old, fresh := r.divide(s)
	for what, c := range map[string]struct {
		list []Replica
		want []int
	}{"stay": {s.Replicas, []int{2, 4, 5}}, "retired": {s.Retired, []int{1, 3}}, "old": {old, []int{1, 3, 2}}, "fresh": {fresh, []int{4, 5}}} {
		if got := numbers(c.list); !slices.Equal(got, c.want) {
			t.Errorf("%s: %d, not %d", what, got, c.want)
		}
	}
	if stopped := r.Stopped(project(entry)); len(stopped) != 0 {
		t.Errorf("of a service that is gone %q are stopped", stopped)
	}
}
