package dockerops

import (
	"fmt"
	"slices"
	"strings"
)

// Creator says who creates the new replicas of a rollout.
type Creator string

const (
	ByClone        Creator = ""      // all from the rollout's spec
	ByComposeFirst Creator = "first" // compose creates one from the files, of which the others are clones
	ByComposeAll   Creator = "all"   // compose creates and starts all at once: a clone would not carry everything
)

// Rollout is the replacement of all replicas of a service by new ones, in a form
// that outlives the daemon.
type Rollout struct {
	Service string `json:"service"`
	// Old are the containers to be replaced, and whether each ran before.
	Old map[string]bool `json:"old"`
	// Above is the highest number of an old one. The new ones have higher numbers.
	Above int `json:"above"`
	// Spec is what the new ones are made from; unused where compose creates the first.
	Spec    *Spec   `json:"spec,omitempty"`
	Creator Creator `json:"creator,omitempty"`
	Count   int     `json:"count"` // of new ones in the end
	Surge   int     `json:"surge"` // how many may run beyond Count
	// Hold is after how many new ones the plan ends; 0: it replaces all.
	Hold int `json:"hold,omitempty"`
	// Settled is how many of the new ones have run for the settle time already.
	Settled int `json:"settled,omitempty"`
}

// NewRollout is a rollout of all replicas that a service has now.
func NewRollout(service *Service) Rollout {
	r := Rollout{Service: service.Name, Old: map[string]bool{}, Count: len(service.Replicas), Surge: 1}
	for _, replica := range service.Replicas {
		r.Old[replica.ID] = occupied(replica)
		r.Above = max(r.Above, replica.Number)
	}
	return r
}

// Stopped returns the old replicas that a rollout has stopped by now, or that did not run
// before it: for those there are new ones, too.
func (r Rollout) Stopped(p *Project) []string {
	var ids []string
	if service := p.Service(r.Service); service != nil {
		old, _ := r.divide(service)
		for _, replica := range old {
			if !occupied(replica) {
				ids = append(ids, replica.ID)
			}
		}
	}
	return ids
}

// Lost returns the replicas that have to be started, when all of them ended in the middle
// of a rollout, so that as many run as did before: the new ones that ran, and of the old
// ones as many as there may be beside them, those first that leave last. It returns none
// where enough run. Which of the old ones it had stopped by then cannot be seen.
func (r Rollout) Lost(p *Project) (lost []Replica) {
	service := p.Service(r.Service)
	if service == nil {
		return nil
	}
	old, fresh := r.divide(service)
	running, room := 0, r.Count+r.Surge-len(fresh)
	for _, replica := range fresh {
		if occupied(replica) {
			running++
		} else if replica.State == "exited" {
			lost = append(lost, replica)
		}
	}
	for _, replica := range old {
		if occupied(replica) {
			running, room = running+1, room-1
		}
	}
	if running >= r.Count {
		return nil
	}
	for _, replica := range slices.Backward(old) {
		if room > 0 && r.Old[replica.ID] && startable(replica) {
			lost, room = append(lost, replica), room-1
		}
	}
	return lost
}

// Begun reports whether any of its new replicas is there.
func (r Rollout) Begun(p *Project) bool {
	service := p.Service(r.Service)
	if service == nil {
		return false
	}
	_, fresh := r.divide(service)
	return len(fresh) > 0
}

// Model returns the new replica that compose has created and of which the others are
// clones, or "".
func (r Rollout) Model(p *Project) string {
	if service := p.Service(r.Service); service != nil && r.Creator == ByComposeFirst {
		if _, fresh := r.divide(service); len(fresh) > 0 {
			return fresh[0].ID
		}
	}
	return ""
}

// Retire sets aside replaced replicas that do not run. They are kept only to be brought
// back, and count no more.
func (p *Project) Retire(name string, ids []string) {
	service := p.Service(name)
	if service == nil {
		return
	}
	var stay []Replica
	for _, replica := range service.Replicas {
		if slices.Contains(ids, replica.ID) && !occupied(replica) {
			service.Retired = append(service.Retired, replica)
		} else {
			stay = append(stay, replica)
		}
	}
	service.Replicas = stay
}

// divide returns the old and the new replicas that are there, by number.
func (r Rollout) divide(service *Service) (old, fresh []Replica) {
	for _, replica := range slices.Concat(service.Retired, service.Replicas) {
		if _, is := r.Old[replica.ID]; is {
			old = append(old, replica)
		} else if replica.Number > r.Above {
			fresh = append(fresh, replica)
		}
	}
	return old, fresh
}

// PlanRollout returns the steps that lead from the observed project to the
// rollout's end, or to where it holds: a group of at most Surge new replicas becomes
// ready and joins nginx, runs for the settle time, and as many old ones leave
// nginx, are drained and stopped; then the next group. Old ones are removed only when
// all are replaced. It never has fewer ready replicas than Count, nor more
// running than Count and Surge. It is a pure function.
func PlanRollout(p *Project, r Rollout) *Plan {
	service := p.Service(r.Service)
	b := &planner{project: p, plan: &Plan{Project: p.Name, Staged: true}, ready: map[string][]int{}, started: map[string]int{}}
	old, fresh := r.divide(service)
	var running []Replica
	for _, replica := range old {
		// Compose starts the stopped ones too when it is asked for more.
		if occupied(replica) || r.Creator == ByComposeAll && len(fresh) < r.Count && startable(replica) {
			running = append(running, replica)
		}
	}
	target := r.Count
	if r.Hold > 0 {
		target = min(target, r.Hold)
	}
	g := roller{planner: b, rollout: r, service: service, fresh: fresh, total: len(service.Replicas) + len(service.Retired)}
	last := b.startDependencies(service, map[string]bool{service.Name: true})
	for made := 0; made < max(target, len(fresh)); {
		// What an earlier life made is one group: it was under way, or is done.
		from := made
		made += max(min(r.Surge, target-made), len(fresh)-made)
		leaving := running[:max(0, len(running)-max(0, r.Count-made))]
		running = running[len(leaving):]
		last = g.exchange(last, from, made, leaving)
	}
	if target < r.Count {
		return b.plan
	}
	for _, replica := range slices.Backward(old) {
		b.add(stepOf(service, replica).as(StepRemove), last...)
	}
	return b.plan
}

// roller plans the groups of a rollout.
type roller struct {
	*planner
	rollout Rollout
	service *Service
	fresh   []Replica
	total   int // containers of the service
}

// exchange adds the steps that bring up the new replicas from to before, and let the
// given ones leave. It returns what the next group waits for.
func (g *roller) exchange(after []int, from, to int, leaving []Replica) []int {
	up, steps := g.bringUp(after, from, to)
	_, balanced := g.project.Backends[g.service.Name]
	settle := g.service.Settings.Settle
	joins := balanced && (settle > 0 || len(leaving) == 0)
	if joins {
		up = []int{g.add(Step{Kind: StepPublish}, up...)}
	}
	if settle > 0 {
		var settled []int
		for i, step := range steps {
			if from+i >= g.rollout.Settled {
				step.For = settle
				settled = append(settled, g.add(step.as(StepSettle), up...))
			}
		}
		if len(settled) > 0 {
			up = settled
		}
	}
	if len(leaving) == 0 {
		return up
	}
	if balanced {
		publish := Step{Kind: StepPublish}
		var names []string
		for _, replica := range leaving {
			publish.Retires, names = append(publish.Retires, replica.ID), append(names, replica.Name)
		}
		if joins {
			publish.Without = strings.Join(names, ", ")
		}
		g.plan.Drain = []string{g.service.Name}
		up = []int{g.add(Step{Kind: StepDrain}, g.add(publish, up...))}
	}
	var stopped []int
	for _, replica := range leaving {
		stopped = append(stopped, g.add(stepOf(g.service, replica).as(StepStop), up...))
	}
	return stopped
}

// bringUp adds what makes the new replicas from to before ready, and returns those
// last steps and the replicas' own.
func (g *roller) bringUp(after []int, from, to int) (ready []int, replicas []Step) {
	next := g.rollout.Above + 1
	for _, replica := range g.fresh {
		next = max(next, replica.Number+1)
	}
	next -= len(g.fresh) // the number of what would be the first
	missing := to - max(from, len(g.fresh))
	if g.rollout.Creator == ByComposeAll && missing > 0 {
		after = []int{g.add(Step{Kind: StepCompose, Service: g.service.Name, Count: g.total + missing}, after...)}
	}
	for i := from; i < to; i++ {
		if i < len(g.fresh) {
			replica := g.fresh[i]
			step := stepOf(g.service, replica)
			needs := after
			if startable(replica) {
				needs = []int{g.add(step.as(StepStart), after...)}
			}
			replicas, ready = append(replicas, step), append(ready, g.add(step.as(StepReady), needs...))
			continue
		}
		step := Step{Service: g.service.Name, Number: next + i, Replica: g.service.Spec.ReplicaName(next + i)}
		needs := after
		if g.rollout.Creator != ByComposeAll {
			create := step.as(StepCreate)
			if g.rollout.Creator == ByComposeFirst && i == 0 {
				create.Kind, create.Count = StepComposeCreate, g.total+1
			}
			created := g.add(create, after...)
			if create.Kind == StepComposeCreate {
				after = []int{created} // the others are clones of it
			}
			needs = []int{g.add(step.as(StepStart), created)}
		}
		replicas, ready = append(replicas, step), append(ready, g.add(step.as(StepReady), needs...))
	}
	return ready, replicas
}

func stepOf(service *Service, r Replica) Step {
	return Step{Service: service.Name, Number: r.Number, Replica: r.Name, Container: r.ID}
}

// CheckRollout tells whether a second replica of the service can stand beside the
// first, which a rollout needs.
func CheckRollout(p *Project, name string) error {
	service := p.Service(name)
	refuse := func(reason Reason, hint, format string, args ...any) error {
		return &RefusedError{Verb: "roll out", Reason: reason, Service: name, Text: fmt.Sprintf(format, args...), Hint: hint}
	}
	const recreate = "tvsctl up recreates it, with an interruption"
	switch {
	case service == nil:
		return refuse(UnknownService, "", "project %s has no such service", p.Name)
	case service.Units != nil:
		return refuse(NotScalable, "install the new program, then stop and start", "its replicas are units of systemd, which have no images")
	case len(service.Replicas) == 0:
		return refuse(NotScalable, fmt.Sprintf("tvsctl scale %s N", name), "it has no replica")
	case len(service.Settings.Balances) > 0:
		return refuse(NotScalable, recreate, "it is the nginx of the project")
	case service.Spec.Unscalable() != "":
		return refuse(NotScalable, recreate, "a new replica must stand beside the old one, and %s", service.Spec.Unscalable())
	}
	if _, balanced := p.Backends[name]; !balanced {
		// A web service shares its volumes with its siblings anyway. A database's would
		// be opened by two at once.
		if volume := service.Spec.writes(); volume != "" {
			return refuse(NotScalable, recreate, "the old and the new replica would both write to %s", volume)
		}
	}
	return nil
}
