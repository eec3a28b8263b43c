package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"slices"

	"tvsctl/dockerops"
	"tvsctl/ipc"
)

// bringBack starts what ran before the machine or Docker was started again in the middle
// of a rollout: the restore has to wait for the rollout's end, which can be far, and does
// not see its old replicas. It returns when the old ones are ready or cannot be; that is
// no reason for a rollout that replaces them to fail. An error is of observing, or
// ErrUnavailable.
func (s *site) bringBack(ctx context.Context, o *operation, r *rollout) error {
	if !s.awaitsRestore(ctx) {
		return nil
	}
	p, _, plan, err := s.d.plan(context.WithoutCancel(ctx), s.name, job{Kind: "restore", Request: json.RawMessage("{}")})
	if err != nil {
		return err
	}
	steps := keep(starts(plan), func(step dockerops.Step) bool { return step.Service != r.Service })
	if exited := s.d.state.project(s.name).Exited; !r.Back { // which begins with the old ones by itself
		for _, replica := range r.Lost(p) {
			if !slices.Contains(exited, replica.ID) {
				steps = append(steps, dockerops.Step{Kind: dockerops.StepStart, Service: r.Service, Number: replica.Number, Replica: replica.Name, Container: replica.ID})
			}
		}
	}
	for i := range steps {
		steps[i].ID, steps[i].Needs = i+1, nil
	}
	if len(steps) == 0 {
		return nil
	}
	err = o.together(steps, func(step dockerops.Step) error { return s.startAgain(ctx, p, r, step) })
	if errors.Is(err, dockerops.ErrUnavailable) {
		return err
	}
	return nil
}

// startAgain starts a replica, and waits until an old one is ready. New ones are proven by
// the rollout itself.
func (s *site) startAgain(ctx context.Context, p *dockerops.Project, r *rollout, step dockerops.Step) error {
	if err := startPatiently(ctx, s.d.engine, step.Container); err != nil {
		return err
	}
	if _, old := r.Old[step.Container]; !old {
		return nil
	}
	s.mu.Lock()
	delete(s.held, step.Container) // where it had left nginx
	s.mu.Unlock()
	s.d.lookAgain(s.name)
	return s.d.engine.WaitReady(ctx, step.Container, p.Probe(r.Service), p.Service(r.Service).Settings.ReadyTimeout)
}

// awaitsRestore reports whether what ran before a start of the machine or of Docker has
// yet to be started. The epoch is kept when the restore is in line.
func (s *site) awaitsRestore(ctx context.Context) bool {
	return s.d.state.lastEpoch() != s.d.epoch(ctx) ||
		slices.ContainsFunc(s.d.runningIn(s.name), func(o ipc.Operation) bool { return o.Verb == "restore" })
}
