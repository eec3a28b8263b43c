package dockerops

import (
	"maps"
	"slices"
	"sort"
)

// Goal is what a service should become.
type Goal struct {
	Count   int
	Running bool
}

// Request is what a plan is made for.
type Request struct {
	Goals map[string]Goal // by service
	// ViaCompose are the services that only compose can create replicas of.
	ViaCompose map[string]bool
	// StopDependencies stops what the services with a stopped goal depend on.
	StopDependencies bool
	// Adopted are the containers that an earlier life of this change made or
	// started, with the step that takes each back: StepRemove or StepStop.
	Adopted map[string]StepKind
}

// Plan is a list of steps, each after those it needs.
type Plan struct {
	Project string
	Steps   []Step
	// Drain names the services that lose running replicas.
	Drain []string
	// Adopted are the steps that take back what an earlier life of the change did.
	Adopted []Step
	// Staged is whether it goes in stages that lose replicas before the end. What fails
	// is then not taken back step by step, but by a plan of its own (PlanBack).
	Staged bool
}

// Empty reports whether there is nothing to do.
func (p *Plan) Empty() bool { return len(p.Steps) == 0 }

// MakePlan returns the steps that lead from the observed project to the goals:
// everything that grows becomes ready, nginx is published to once, what leaves is
// drained, stopped and removed. It is a pure function. The caller has checked
// that the goals are allowed (see Check).
func MakePlan(p *Project, request Request) *Plan {
	b := &planner{project: p, goals: request.Goals, plan: &Plan{Project: p.Name}, ready: map[string][]int{}, started: map[string]int{}, adopted: request.Adopted}
	names := slices.Sorted(maps.Keys(request.Goals))
	for _, name := range names {
		if service := p.Service(name); service != nil {
			b.grow(service, request.Goals[name], request.ViaCompose[name])
		}
	}
	commit := b.commit(names, request)
	var stopped []int
	for _, name := range names {
		if service := p.Service(name); service != nil {
			stopped = append(stopped, b.shrink(service, request.Goals[name], commit)...)
		}
	}
	if request.StopDependencies {
		b.stopDependencies(names, append(commit, stopped...))
	}
	b.retire()
	return b.plan
}

type planner struct {
	project *Project
	goals   map[string]Goal
	plan    *Plan
	growing []int            // the last step of each replica that grows
	ready   map[string][]int // of services started as dependencies
	started map[string]int   // by container: the step that has it ready
	adopted map[string]StepKind
	publish bool
}

func (b *planner) add(step Step, needs ...int) int {
	step.ID = len(b.plan.Steps) + 1
	step.Needs = slices.Clone(needs)
	b.plan.Steps = append(b.plan.Steps, step)
	return step.ID
}

// split divides the replicas into those that stay and those that leave, which
// are the ones with the highest numbers.
func split(service *Service, count int) (stay, leave []Replica) {
	if service.Units != nil && service.Units.Base > 0 {
		return service.instances(count)
	}
	n := min(count, len(service.Replicas))
	return service.Replicas[:n], service.Replicas[n:]
}

func (b *planner) grow(service *Service, goal Goal, viaCompose bool) {
	stay, leave := split(service, goal.Count)
	missing := goal.Count - len(stay)
	next := 1
	for _, r := range service.Replicas {
		next = max(next, r.Number+1)
	}
	var needs []int
	if goal.Running && (missing > 0 || slices.ContainsFunc(stay, startable)) {
		needs = b.startDependencies(service, map[string]bool{service.Name: true})
	}
	for _, r := range stay {
		undo, adopted := b.adopted[r.ID]
		step := Step{Service: service.Name, Number: r.Number, Replica: r.Name, Container: r.ID}
		if adopted {
			b.plan.Adopted = append(b.plan.Adopted, step.as(undo))
		}
		switch {
		case goal.Running && startable(r):
			b.startAndWait(service, r, needs)
		case goal.Running && adopted:
			b.growing = append(b.growing, b.add(step.as(StepReady), needs...))
			_, balanced := b.project.Backends[service.Name]
			b.publish = b.publish || balanced
		}
	}
	if missing > 0 && viaCompose && goal.Running {
		needs = []int{b.add(Step{Kind: StepCompose, Service: service.Name, Count: goal.Count}, needs...)}
	}
	for i := range missing {
		step := Step{Service: service.Name, Number: next + i, Replica: service.Spec.ReplicaName(next + i)}
		if viaCompose && goal.Running {
			b.growing = append(b.growing, b.add(step.as(StepReady), needs...))
			continue
		}
		created := b.add(step.as(StepCreate))
		if !goal.Running {
			b.growing = append(b.growing, created)
			continue
		}
		started := b.add(step.as(StepStart), append([]int{created}, needs...)...)
		b.growing = append(b.growing, b.add(step.as(StepReady), started))
	}
	_, balanced := b.project.Backends[service.Name]
	grows := missing > 0 || slices.ContainsFunc(stay, startable)
	switch {
	case !balanced || !goal.Running:
	case grows:
		b.publish = true
	case slices.ContainsFunc(leave, serves) && !slices.ContainsFunc(stay, serves):
		// Nobody would serve: first one of those that stay has to.
		for _, r := range stay {
			step := Step{Service: service.Name, Number: r.Number, Replica: r.Name, Container: r.ID}
			b.growing = append(b.growing, b.add(step.as(StepReady), needs...))
		}
	}
}

// serves tells a replica that requests can go to, as far as Docker knows.
func serves(r Replica) bool { return r.Running() && (r.Health == "" || r.Health == "healthy") }

// startable tells a replica that start would start, a unit that is stopping once it has
// stopped. One that is paused or in the middle of a restart is somebody else's doing and
// left alone.
func startable(r Replica) bool {
	return r.State == "created" || r.State == "exited" || r.State == "stopping"
}

// occupied tells a replica that must be stopped before it is removed.
func occupied(r Replica) bool {
	return r.State == "running" || r.State == "restarting" || r.State == "paused"
}

func (s Step) as(kind StepKind) Step {
	s.Kind = kind
	return s
}

func (b *planner) startAndWait(service *Service, r Replica, needs []int) int {
	if ready, done := b.started[r.ID]; done {
		return ready // it has a goal and is depended on
	}
	step := Step{Service: service.Name, Number: r.Number, Replica: r.Name, Container: r.ID}
	started := b.add(step.as(StepStart), needs...)
	ready := b.add(step.as(StepReady), started)
	b.started[r.ID] = ready
	b.growing = append(b.growing, ready)
	return ready
}

// startDependencies starts the stopped containers of the services that this one
// needs, deepest first, and returns the steps to wait for.
func (b *planner) startDependencies(service *Service, seen map[string]bool) []int {
	var wait []int
	for _, name := range service.DependsOn {
		if steps, done := b.ready[name]; done {
			wait = append(wait, steps...)
			continue
		}
		dependency := b.project.Service(name)
		if dependency == nil || seen[name] {
			continue
		}
		seen[name] = true
		needs := b.startDependencies(dependency, seen)
		b.ready[name] = nil
		replicas := dependency.Replicas
		if goal, named := b.goals[name]; named { // which says what of it shall run
			if replicas, _ = split(dependency, goal.Count); !goal.Running {
				replicas = nil
			}
		}
		for _, r := range replicas {
			if startable(r) {
				b.ready[name] = append(b.ready[name], b.startAndWait(dependency, r, needs))
			}
		}
		wait = append(wait, b.ready[name]...)
	}
	return wait
}

// commit adds the one publication, if nginx is concerned, and the drain. It
// returns the steps that everything which leaves waits for; up to them the
// change can still be taken back.
func (b *planner) commit(names []string, request Request) []int {
	drain := false
	for _, name := range names {
		service := b.project.Service(name)
		if service == nil {
			continue
		}
		goal := request.Goals[name]
		_, leave := split(service, goal.Count)
		if !goal.Running {
			leave = service.Replicas
		}
		if _, balanced := b.project.Backends[name]; balanced {
			if slices.ContainsFunc(leave, occupied) {
				drain, b.publish = true, true
				b.plan.Drain = append(b.plan.Drain, name)
			}
		}
	}
	commit := b.growing
	if b.publish {
		commit = []int{b.add(Step{Kind: StepPublish}, b.growing...)}
	}
	if drain {
		commit = []int{b.add(Step{Kind: StepDrain}, commit...)}
	}
	return commit
}

// retire makes the publication take out everything that will be stopped.
func (b *planner) retire() {
	at := slices.IndexFunc(b.plan.Steps, func(s Step) bool { return s.Kind == StepPublish })
	for _, s := range b.plan.Steps {
		if at >= 0 && (s.Kind == StepStop || s.Kind == StepRemove) {
			b.plan.Steps[at].Retires = append(b.plan.Steps[at].Retires, s.Container)
		}
	}
}

// shrink stops and removes what leaves, highest number first, and returns the
// stop steps.
func (b *planner) shrink(service *Service, goal Goal, commit []int) []int {
	stay, leave := split(service, goal.Count)
	var stops []int
	stop := func(r Replica) []int {
		if !occupied(r) {
			return commit
		}
		id := b.add(Step{Kind: StepStop, Service: service.Name, Number: r.Number, Replica: r.Name, Container: r.ID}, commit...)
		stops = append(stops, id)
		return []int{id}
	}
	for _, r := range slices.Backward(leave) {
		if service.Units != nil {
			stop(r)
			continue
		}
		b.add(Step{Kind: StepRemove, Service: service.Name, Number: r.Number, Replica: r.Name, Container: r.ID}, stop(r)...)
	}
	if !goal.Running {
		for _, r := range slices.Backward(stay) {
			stop(r)
		}
	}
	return stops
}

// stopDependencies stops what the named services depend on, the dependents
// before what they need. An nginx of ours, the named services themselves, and what
// another running service depends on stay.
func (b *planner) stopDependencies(names []string, after []int) {
	depth := map[string]int{}
	var visit func(name string, level int)
	visit = func(name string, level int) {
		service := b.project.Service(name)
		if service == nil || level > len(b.project.Services) {
			return
		}
		for _, dependency := range service.DependsOn {
			target := b.project.Service(dependency)
			if target == nil || slices.Contains(names, dependency) || len(target.Settings.Balances) > 0 {
				continue
			}
			depth[dependency] = max(depth[dependency], level)
			visit(dependency, level+1)
		}
	}
	for _, name := range names {
		visit(name, 1)
	}
	for shared := true; shared; {
		shared = false
		for _, s := range b.project.Services {
			if _, goes := depth[s.Name]; goes || slices.Contains(names, s.Name) || !slices.ContainsFunc(s.Replicas, occupied) {
				continue
			}
			for _, dependency := range s.DependsOn {
				if _, goes := depth[dependency]; goes {
					delete(depth, dependency)
					shared = true
				}
			}
		}
	}
	order := slices.Sorted(maps.Keys(depth))
	sort.SliceStable(order, func(i, j int) bool { return depth[order[i]] < depth[order[j]] })
	level, current := 0, []int(nil)
	for _, name := range order {
		if depth[name] > level && len(current) > 0 {
			after, current = current, nil
		}
		level = depth[name]
		for _, r := range b.project.Service(name).Replicas {
			if occupied(r) {
				current = append(current, b.add(Step{Kind: StepStop, Service: name, Number: r.Number, Replica: r.Name, Container: r.ID}, after...))
			}
		}
	}
}
