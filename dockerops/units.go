package dockerops

import (
	"fmt"
	"path"
	"strconv"
	"strings"
)

// Units says which units of systemd are the replicas of a service that has no
// containers: the instances of a template, each named after the port that it listens
// on, or one unit alone. Nobody creates or removes an instance: it runs, or it does not.
type Units struct {
	Unit string // "tvsapp@.service"; without @ it is the only one
	Base int    // the first instance's port; 0 where Unit is the only one
	// First is the lowest port that there may be. The highest is Settings.Max ports from Base.
	First int
}

// Name is the unit that listens on a port.
func (u *Units) Name(port int) string {
	if u.Base == 0 {
		return u.Unit
	}
	suffix := path.Ext(u.Unit)
	return strings.TrimSuffix(u.Unit, suffix) + strconv.Itoa(port) + suffix
}

// Instance is a replica as it is while nothing is known of the unit: it does not run.
func (u *Units) Instance(port int) Replica {
	name := u.Name(port)
	return Replica{ID: name, Name: name, Number: max(port, 1), Port: port, State: "created", HostNetwork: port > 0}
}

// OfUnits reports whether the project's services are units, and none of Docker's concern.
func (p *Project) OfUnits() bool {
	return len(p.Services) > 0 && p.Services[0].Units != nil
}

// Within returns the replicas that a count keeps: the first ones, and of a template the
// instances of consecutive ports, whether they run or not.
func (s *Service) Within(count int) []Replica {
	stay, _ := split(s, count)
	return stay
}

// Rebase makes another port that of the first instance.
func (s *Service) Rebase(base int) {
	s.Settings.Max += s.Units.Base - base
	s.Units.Base = base
}

// instances is split for a template.
func (s *Service) instances(count int) (stay, leave []Replica) {
	seen := map[int]Replica{}
	for _, r := range s.Replicas {
		if seen[r.Number] = r; r.Number < s.Units.Base || r.Number >= s.Units.Base+count {
			leave = append(leave, r)
		}
	}
	for port := s.Units.Base; port < s.Units.Base+count; port++ {
		r, there := seen[port]
		if !there {
			r = s.Units.Instance(port)
		}
		stay = append(stay, r)
	}
	return stay, leave
}

// Unscalable returns why there cannot be a second replica of the service, or "".
func (s *Service) Unscalable() string {
	switch {
	case s.Units == nil:
		return s.Spec.Unscalable()
	case s.Units.Base == 0:
		return fmt.Sprintf("it is the one unit %s", s.Units.Unit)
	}
	return ""
}

// PlanRestart returns the steps that restart those instances of a service that run and are
// old, one after the other: each leaves nginx and is drained first. A further
// instance runs meanwhile where its template has room for one, so that never fewer are
// ready than before. count is how many are desired. Where an earlier life began it, ran
// holds those that ran before: of them, what is down is started again, and the further
// instance goes in the end. It is a pure function.
func PlanRestart(p *Project, name string, count int, isOld func(Replica) bool, ran map[string]bool) *Plan {
	service := p.Service(name)
	b := &planner{project: p, plan: &Plan{Project: p.Name, Staged: true, Drain: []string{name}}}
	port, seen := service.Units.Base+count, map[int]Replica{}
	var old []Replica
	for _, r := range service.Replicas {
		seen[r.Number] = r
		if r.Running() && isOld(r) {
			old = append(old, r)
			port = max(port, r.Number+1)
		}
	}
	further, running := seen[port]
	running = running && further.Running()
	_, balanced := p.Backends[name]
	var last []int
	up := func(r Replica) {
		step := stepOf(service, r)
		last = []int{b.add(step.as(StepReady), b.add(step.as(StepStart), last...))}
	}
	// Whoever is to be stopped leaves nginx with the publication by which the one before joins.
	down := func(r Replica) {
		if balanced {
			publish := b.add(Step{Kind: StepPublish, Retires: []string{r.ID}, Without: r.Name}, last...)
			last = []int{b.add(Step{Kind: StepDrain}, publish)}
		}
		last = []int{b.add(stepOf(service, r).as(StepStop), last...)}
	}
	for _, r := range service.Within(count) {
		switch {
		case startable(r) && ran[r.ID]:
			up(r)
		case r.Running() && !isOld(r):
			last = []int{b.add(stepOf(service, r).as(StepReady), last...)}
		}
	}
	room := balanced && port < service.Units.Base+service.Settings.Max && (running || len(old) > 0)
	switch {
	case room && running && len(old) > 0: // since an earlier life, or somebody's: it may not listen yet
		last = []int{b.add(stepOf(service, further).as(StepReady), last...)}
	case room && !running:
		further = service.Units.Instance(port)
		up(further)
	}
	for _, r := range old {
		down(r)
		up(r)
	}
	if room {
		down(further)
	} else if balanced && len(last) > 0 {
		b.add(Step{Kind: StepPublish}, last...)
	}
	return b.plan
}
