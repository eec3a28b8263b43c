package dockerops

import (
	"errors"
	"strings"
	"testing"
	"time"
)

// template makes a service of instances. One is "PORT" when it runs, else "PORT STATE".
func template(name string, base, most int, instances ...string) Service {
	s := service(name, instances...)
	s.Spec, s.Units, s.Settings.Max = nil, &Units{Unit: "app@.service", Base: base, First: base}, most
	for i := range s.Replicas {
		state := s.Replicas[i].State
		s.Replicas[i] = s.Units.Instance(s.Replicas[i].Number)
		s.Replicas[i].State = state
	}
	return s
}

// single makes a service that is one unit.
func single(unit, state string) Service {
	s := Service{Name: strings.TrimSuffix(unit, ".service"), Units: &Units{Unit: unit}}
	s.Replicas = []Replica{s.Units.Instance(0)}
	s.Replicas[0].State = state
	return s
}

func units(services ...Service) *Project {
	p := project(services...)
	p.Backends["web"] = Backend{Service: "web"}
	return p
}

func TestPlanInstances(t *testing.T) {
	db := single("db.service", "running")
	runPlans(t, []planCase{
		{"grow from none, with what it needs", units(single("db.service", "created"), template("web", 35000, 16).on("db")), scale("web", 2), `
			1 start db.service
			2 ready db.service after 1
			3 start app@35000.service after 2
			4 ready app@35000.service after 3
			5 start app@35001.service after 2
			6 ready app@35001.service after 5
			7 publish after 2,4,6
		`},
		{"nothing to do", units(template("web", 35000, 16, "35000", "35001")), scale("web", 2), ""},
		{"shrink, the highest first", units(db, template("web", 35000, 16, "35000", "35001", "35002").on("db")), scale("web", 1), `
			1 publish
			2 drain after 1
			3 stop app@35002.service after 2
			4 stop app@35001.service after 2
		`},
		{"a gap is filled, and a stray goes", units(template("web", 35000, 16, "35000", "35001 exited", "35007")), scale("web", 3), `
			1 start app@35001.service
			2 ready app@35001.service after 1
			3 start app@35002.service
			4 ready app@35002.service after 3
			5 publish after 2,4
			6 drain after 5
			7 stop app@35007.service after 6
		`},
		{"one that is stopping starts again", units(template("web", 35000, 16, "35000", "35001 stopping")), scale("web", 2), `
			1 start app@35001.service
			2 ready app@35001.service after 1
			3 publish after 2
		`},
		{"other ports than before", units(template("web", 35004, 12, "35000", "35001")), scale("web", 1), `
			1 start app@35004.service
			2 ready app@35004.service after 1
			3 publish after 2
			4 drain after 3
			5 stop app@35001.service after 4
			6 stop app@35000.service after 4
		`},
		{"reset makes nothing and removes nothing", units(template("web", 35000, 16, "35000", "35001")), stop("web", 5), `
			1 publish
			2 drain after 1
			3 stop app@35001.service after 2
			4 stop app@35000.service after 2
		`},
		{"stop with what it needs", units(db, template("web", 35000, 16, "35000").on("db")),
			Request{Goals: map[string]Goal{"web": {Count: 1}}, StopDependencies: true}, `
			1 publish
			2 drain after 1
			3 stop app@35000.service after 2
			4 stop db.service after 2,3
		`},
		{"what an earlier life started is waited for", units(template("web", 35000, 16, "35000", "35001")),
			Request{Goals: map[string]Goal{"web": {Count: 2, Running: true}}, Adopted: map[string]StepKind{"app@35001.service": StepStop}}, `
			1 ready app@35001.service
			2 publish after 1
		`},
	})
}

func TestPlanRestart(t *testing.T) {
	since := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	old := func(s Service, ports ...int) Service {
		for i := range s.Replicas {
			s.Replicas[i].Started = since.Add(time.Second)
			for _, port := range ports {
				if s.Replicas[i].Number == port {
					s.Replicas[i].Started = since.Add(-time.Second)
				}
			}
		}
		return s
	}
	for _, c := range []struct {
		name    string
		service Service
		ran     map[string]bool
		want    string
	}{
		{"one, beside a further one", old(template("web", 35000, 16, "35000"), 35000), nil, `
			1 start app@35001.service
			2 ready app@35001.service after 1
			3 publish after 2
			4 drain after 3
			5 stop app@35000.service after 4
			6 start app@35000.service after 5
			7 ready app@35000.service after 6
			8 publish after 7
			9 drain after 8
			10 stop app@35001.service after 9
		`},
		{"without room for one", old(template("web", 35000, 2, "35000", "35001"), 35000, 35001), nil, `
			1 publish
			2 drain after 1
			3 stop app@35000.service after 2
			4 start app@35000.service after 3
			5 ready app@35000.service after 4
			6 publish after 5
			7 drain after 6
			8 stop app@35001.service after 7
			9 start app@35001.service after 8
			10 ready app@35001.service after 9
			11 publish after 10
		`},
		{"the rest of one that was begun", old(template("web", 35000, 16, "35000", "35001 exited", "35002"), 35009),
			map[string]bool{"app@35000.service": true, "app@35001.service": true}, `
			1 ready app@35000.service
			2 start app@35001.service after 1
			3 ready app@35001.service after 2
			4 publish after 3
			5 drain after 4
			6 stop app@35002.service after 5
		`},
		{"one that was killed before the further one listened", old(template("web", 35000, 16, "35000", "35001", "35002"), 35000),
			map[string]bool{"app@35000.service": true, "app@35001.service": true}, `
			1 ready app@35001.service
			2 ready app@35002.service after 1
			3 publish after 2
			4 drain after 3
			5 stop app@35000.service after 4
			6 start app@35000.service after 5
			7 ready app@35000.service after 6
			8 publish after 7
			9 drain after 8
			10 stop app@35002.service after 9
		`},
		{"one that was killed in the middle of a stop", old(template("web", 35000, 16, "35000 stopping", "35001", "35002"), 35009),
			map[string]bool{"app@35000.service": true, "app@35001.service": true}, `
			1 start app@35000.service
			2 ready app@35000.service after 1
			3 ready app@35001.service after 2
			4 publish after 3
			5 drain after 4
			6 stop app@35002.service after 5
		`},
		{"what does not run stays so", old(template("web", 35000, 16, "35000 exited"), 35000), nil, ""},
	} {
		p := units(c.service)
		plan := PlanRestart(p, "web", min(2, len(c.service.Replicas)), func(r Replica) bool { return r.Started.Before(since) }, c.ran)
		if want := strings.TrimPrefix(strings.ReplaceAll(c.want, "\t", ""), "\n"); render(plan) != want {
			t.Errorf("%s: got:\n%swant:\n%s", c.name, render(plan), want)
		}
		for i, s := range plan.Steps {
			if s.Kind == StepStop && (plan.Steps[i-2].Kind != StepPublish || plan.Steps[i-2].Retires[0] != s.Container) {
				t.Errorf("%s: %s is stopped while nginx serves it", c.name, s.Replica)
			}
		}
	}
}

func TestCheckInstances(t *testing.T) {
	web, db := template("web", 35010, 6, "35010"), single("db.service", "running")
	full, few := template("full", 36000, 2, "36000", "36001", "36007"), template("few", 37000, 6, "37000")
	web.Settings.Min, few.Settings.Min = 1, 2
	for _, c := range []struct {
		name   string
		goals  map[string]Goal
		reason Reason
		text   string
	}{
		{"as many as may be", scale("web", 6).Goals, 0, ""},
		{"more, which run", scale("full", 3).Goals, OutOfRange, "cannot scale full: 3 is above its max of 2"},
		{"fewer than may be, which run", scale("few", 1).Goals, 0, ""},
		{"more", scale("web", 7).Goals, OutOfRange, "cannot scale web: 7 is above its max of 6"},
		{"another of a single unit", scale("db", 2).Goals, NotScalable, "cannot scale db: it is the one unit db.service"},
		{"none of a single unit", scale("db", 0).Goals, NotScalable, "cannot scale db: it is the one unit db.service"},
	} {
		err := Check(units(web, db, full, few), c.goals, 1000)
		var refused *RefusedError
		if errors.As(err, &refused); c.reason == 0 && err != nil || c.reason != 0 && (refused == nil || refused.Reason != c.reason || err.Error() != c.text) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	if err := CheckRollout(units(web), "web"); err == nil || !strings.Contains(err.Error(), "units of systemd") {
		t.Errorf("rollout: %v", err)
	}
	if err := Check(units(web), scale("web", 2).Goals, 1000); err != nil {
		t.Error(err)
	}
	web.Rebase(35014)
	if err := Check(units(web), scale("web", 3).Goals, 1000); err == nil {
		t.Error("three from 35014 on, where the last port is 35015")
	}
}
