package dockerops

import (
	"cmp"
	"slices"
)

// PlanBack returns the steps that lead back from any point of a rollout: the old
// replicas that ran run again and serve, then the new ones leave and are removed with the
// anonymous volumes that were made for them. Where an old one is gone, a new one stays.
func PlanBack(p *Project, r Rollout) *Plan {
	b := &planner{project: p, plan: &Plan{Project: p.Name, Staged: true}, ready: map[string][]int{}, started: map[string]int{}}
	service := p.Service(r.Service)
	if service == nil {
		return b.plan
	}
	old, fresh := r.divide(service)
	gone := 0
	for _, ran := range r.Old {
		if ran {
			gone++
		}
	}
	for _, replica := range old {
		if r.Old[replica.ID] {
			gone--
		}
	}
	// Of the new ones those stay that serve.
	slices.SortStableFunc(fresh, func(a, b Replica) int { return cmp.Compare(b.fitness(), a.fitness()) })
	fresh = slices.Clone(fresh[min(gone, len(fresh)):])
	slices.SortFunc(fresh, func(a, b Replica) int { return cmp.Compare(a.Number, b.Number) })
	publish := Step{Kind: StepPublish}
	var last []int
	var idle []Replica // that compose has started beside the new ones
	for _, replica := range old {
		switch step := stepOf(service, replica); {
		case !r.Old[replica.ID] && r.Creator == ByComposeAll && occupied(replica):
			idle = append(idle, replica)
			publish.Retires = append(publish.Retires, replica.ID)
		case !r.Old[replica.ID]:
		case startable(replica):
			last = append(last, b.add(step.as(StepReady), b.add(step.as(StepStart))))
		case replica.Running() && replica.Health != "healthy" && replica.Health != "unhealthy":
			// An earlier life may have just started it.
			publish.Joins = append(publish.Joins, replica.ID)
			last = append(last, b.add(step.as(StepReady)))
		default:
			publish.Joins = append(publish.Joins, replica.ID)
		}
	}
	for _, replica := range fresh {
		if occupied(replica) {
			publish.Retires = append(publish.Retires, replica.ID)
		}
	}
	if _, balanced := p.Backends[r.Service]; balanced && len(last)+len(publish.Retires) > 0 {
		last = []int{b.add(publish, last...)}
		if len(publish.Retires) > 0 {
			b.plan.Drain = []string{r.Service}
			last = []int{b.add(Step{Kind: StepDrain}, last...)}
		}
	}
	for _, replica := range idle {
		b.add(stepOf(service, replica).as(StepStop), last...)
	}
	for _, replica := range slices.Backward(fresh) {
		step, needs := stepOf(service, replica), last
		if occupied(replica) {
			needs = []int{b.add(step.as(StepStop), last...)}
		}
		step.Volumes = true
		b.add(step.as(StepRemove), needs...)
	}
	return b.plan
}

// fitness is the higher the better a replica serves.
func (r *Replica) fitness() int {
	switch {
	case r.Running() && (r.Health == "healthy" || r.Health == ""):
		return 2
	case r.Running():
		return 1
	}
	return 0
}
