package dockerops

import "slices"

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
	fresh = fresh[min(gone, len(fresh)):]
	publish := Step{Kind: StepPublish}
	var last []int
	for _, replica := range old {
		switch step := stepOf(service, replica); {
		case !r.Old[replica.ID]:
		case startable(replica):
			last = append(last, b.add(step.as(StepReady), b.add(step.as(StepStart))))
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
