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
// ErrUnavailable. New replicas are proven by the rollout itself.
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
	return s.startAgain(ctx, o, p, steps, func(step dockerops.Step) bool {
		_, old := r.Old[step.Container]
		return old
	})
}

// bringBackFirst is bringBack for a change, or a rollout that is not decided yet. Of a change
// that was decided before, that is what ran then and shall go on to, else all that the
// restore would start. An error is ErrUnavailable.
func (s *site) bringBackFirst(ctx context.Context, o *operation) error {
	kept, stops := s.d.state.project(s.name), o.job.Kind == "stop" || o.job.Kind == "reset"
	switch {
	case o.job.Decided == nil && (stops || len(kept.Desired) == 0):
		return nil
	// Systemd is asked for the epoch only where something went away: a change that nothing has
	// disturbed costs no call.
	case s.d.ofUnits(s.name) || !s.restoreInLine() && !(o.interrupted.Load() && s.awaitsRestore(ctx)):
		return nil
	}
	p, steps, err := s.missing(context.WithoutCancel(ctx), o.job.Decided, kept)
	switch {
	case errors.Is(err, dockerops.ErrUnavailable):
		return err
	case err != nil:
		return nil // the change itself will say
	}
	return s.startAgain(ctx, o, p, steps, func(step dockerops.Step) bool {
		_, balanced := p.Backends[step.Service]
		return balanced
	})
}

// missing are the starts that bringBackFirst has to make.
func (s *site) missing(ctx context.Context, decided *decided, kept projectState) (*dockerops.Project, []dockerops.Step, error) {
	if decided != nil { // the restore would also start what it made, and not what nobody has scaled before
		p, _, err := s.d.observe(ctx, s.name)
		if err != nil {
			return nil, nil, err
		}
		return p, decided.lost(p, kept.Exited), nil
	}
	p, _, plan, err := s.d.plan(ctx, s.name, job{Kind: "restore", Request: json.RawMessage("{}")})
	if err != nil {
		return nil, nil, err
	}
	return p, starts(plan), nil
}

// lost are the starts of what ran when a change was decided, does not run any more, and was
// neither ended by somebody nor is to be stopped or removed by the change.
func (d *decided) lost(p *dockerops.Project, exited []string) (steps []dockerops.Step) {
	if d.StopDependencies {
		return nil
	}
	for _, service := range p.Services {
		goal, named := d.Goals[service.Name]
		stay := service.Replicas
		if named {
			stay = service.Within(goal.Count)
		}
		for _, r := range stay {
			if d.Before[r.ID] && r.State == "exited" && (!named || goal.Running) && !slices.Contains(exited, r.ID) {
				steps = append(steps, dockerops.Step{Kind: dockerops.StepStart, Service: service.Name, Number: r.Number, Replica: r.Name, Container: r.ID})
			}
		}
	}
	return steps
}

// startAgain starts replicas, and waits until those that serve are ready, or cannot be.
func (s *site) startAgain(ctx context.Context, o *operation, p *dockerops.Project, steps []dockerops.Step, serves func(dockerops.Step) bool) error {
	if len(steps) == 0 {
		return nil
	}
	for i := range steps {
		steps[i].ID, steps[i].Needs = i+1, nil
	}
	err := o.together(steps, func(step dockerops.Step) error {
		if err := startPatiently(ctx, s.d.engine, step.Container); err != nil || !serves(step) {
			return err
		}
		s.mu.Lock()
		delete(s.held, step.Container) // where it had left nginx
		s.mu.Unlock()
		s.d.lookAgain(s.name)
		return s.d.engine.WaitReady(ctx, step.Container, p.Probe(step.Service), p.Service(step.Service).Settings.ReadyTimeout)
	})
	if errors.Is(err, dockerops.ErrUnavailable) {
		return err
	}
	return nil
}

// awaitsRestore reports whether what ran before a start of the machine or of Docker has
// yet to be started. The epoch is kept once the restore is in line: to look in the other
// order could miss both.
func (s *site) awaitsRestore(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, askPatience)
	defer cancel()
	return s.d.state.lastEpoch() != s.d.epoch(ctx) || s.restoreInLine()
}

func (s *site) restoreInLine() bool {
	return slices.ContainsFunc(s.d.runningIn(s.name), func(o ipc.Operation) bool { return o.Verb == "restore" })
}
