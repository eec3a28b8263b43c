package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"

	"tvsctl/dockerops"
	"tvsctl/ipc"
)

// rollout is one that is under way or holds, as it is kept until its end.
type rollout struct {
	dockerops.Rollout
	Operation string          `json:"operation"` // that carries it out
	Summary   string          `json:"summary"`   // "roll out webapp to app:2"
	From      *dockerops.Spec `json:"from"`      // what the old replicas were made from
	// Image is the image that the command named and the compose file does not.
	Image string `json:"image,omitempty"`
	// Paused is whether it holds; Retired are the old replicas that it has stopped by then.
	Paused  bool     `json:"paused,omitempty"`
	Retired []string `json:"retired,omitempty"`
	// Back is whether it goes back: because of Failure, or without one when asked to.
	Back    bool       `json:"back,omitempty"`
	Failure *ipc.Error `json:"failure,omitempty"`
}

// replaced is the end of the last rollout of a service. An operation that is killed between
// that and its outcome has nothing left to do.
type replaced struct {
	Operation string     `json:"operation"`
	Failure   *ipc.Error `json:"failure,omitempty"`
}

// plan is what is to be done next: the first part up to where it holds, or the way back.
func (r *rollout) plan(p *dockerops.Project) *dockerops.Plan {
	if r.Back {
		return dockerops.PlanBack(p, r.Rollout)
	}
	if r.Spec != nil {
		p.Service(r.Service).Spec = r.Spec
	}
	return dockerops.PlanRollout(p, r.Rollout)
}

// replace carries out a rollout, a restart or a rollback, or goes on with one that an
// earlier life of the daemon began.
func (s *site) replace(ctx context.Context, o *operation) (string, error) {
	if s.d.ofUnits(s.name) {
		return s.carryOut(ctx, o)
	}
	var target struct{ Service string }
	if err := json.Unmarshal(o.job.Request, &target); err != nil {
		return "", err
	}
	kept := s.d.state.project(s.name)
	if over := kept.Replaced[target.Service]; over.Operation == o.record.ID {
		return s.ended(ctx, target.Service, over.Failure)
	}
	// It can take long, and is consistent wherever it is: a stop does not wait for its end.
	ctx, leave := context.WithCancelCause(ctx)
	defer leave(nil)
	go func() {
		select {
		case <-s.d.stopping:
			leave(errSuspended)
		case <-ctx.Done():
		}
	}()
	var r *rollout
	if own := kept.Rollouts[target.Service]; own != nil && own.Operation == o.record.ID {
		r = own.copy()
	} else {
		err := s.bringBackFirst(ctx, o)
		if err != nil {
			return "", err
		}
		if r, err = s.newRollout(ctx, o); err != nil && errors.Is(context.Cause(ctx), errSuspended) {
			return "", errSuspended
		} else if err != nil {
			return "", err
		}
	}
	if r == nil {
		return o.snapshot().Summary + ": it is up to date already, nothing to do", nil
	}
	o.begun = true
	if !r.Back {
		err := s.d.insist(o, false, func() error { return s.applyRollout(ctx, o, r) })
		if err == nil {
			return s.rolledOut(context.WithoutCancel(ctx), o, r)
		}
		cause := context.Cause(ctx)
		if errors.Is(err, errSuspended) || errors.Is(cause, errSuspended) {
			return "", errSuspended
		}
		if errors.As(err, new(*dockerops.UnfinishedError)) {
			return "", s.leftOver(ctx, r, err)
		}
		failure := *describeError(err)
		if cause != nil {
			failure = ipc.Error{Code: ipc.CodeCanceled, Message: cause.Error()}
		}
		failure.Message = fmt.Sprintf("cannot %s: %s", r.Summary, failure.Message)
		r.Back, r.Failure = true, &failure
	}
	// It failed, or was asked to go back.
	if err := s.goBack(context.WithoutCancel(ctx), o, r); err != nil {
		if errors.Is(err, errSuspended) || r.Failure == nil {
			return "", err
		}
		return "", &ipc.Error{Code: r.Failure.Code, Message: fmt.Sprintf("%s; and cannot go back: %v", r.Failure.Message, err), Detail: r.Failure.Detail, Log: r.Failure.Log,
			Hint: fmt.Sprintf("see tvsctl status; tvsctl rollback %s tries again to go back, tvsctl rollout continue %s to go on", r.Service, r.Service)}
	}
	return s.ended(context.WithoutCancel(ctx), r.Service, r.Failure)
}

// leftOver keeps a rollout whose new replicas serve, but whose old ones cannot be removed.
func (s *site) leftOver(ctx context.Context, r *rollout, err error) error {
	refusal := *describeError(err)
	refusal.Message = fmt.Sprintf("the new replicas of %s serve, but the old ones cannot be removed: %s", r.Service, refusal.Message)
	refusal.Hint = fmt.Sprintf("tvsctl rollout continue %s tries again", r.Service)
	if p, _, err := s.d.observe(context.WithoutCancel(ctx), s.name); err == nil {
		r.Retired = r.Stopped(p)
	}
	r.Settled = r.Count
	return errors.Join(&refusal, s.pauseRollout(r))
}

// ended tells what a rollout came to that is over.
func (s *site) ended(ctx context.Context, service string, failure *ipc.Error) (string, error) {
	result, err := s.outcome(ctx, intent{request: dockerops.Request{Goals: map[string]dockerops.Goal{service: {Running: true}}}})
	if failure != nil && err == nil {
		told := *failure
		told.Message += "; it is as before: " + result
		return "", &told
	}
	return result, err
}

// newRollout decides what an operation comes to, and keeps that before the first side
// effect. It is nil when there is nothing to do.
func (s *site) newRollout(ctx context.Context, o *operation) (*rollout, error) {
	_, want, err := s.d.decideRollout(ctx, s.name, o.job)
	if err == nil && want.pull != "" {
		if err = s.step(o, "pull "+want.pull, func() error { return dockerops.Pull(ctx, want.pull, o.line) }); err != nil {
			refusal := describeError(err)
			refusal.Message = fmt.Sprintf("cannot %s: %s", want.rollout.Summary, refusal.Message)
			return nil, refusal
		}
		if _, want, err = s.d.decideRollout(ctx, s.name, o.job); err == nil && want.pull != "" {
			err = &ipc.Error{Code: ipc.CodeDocker, Message: fmt.Sprintf("cannot %s: it was pulled, but this engine does not have it", want.rollout.Summary),
				Hint: "does the docker command work with another engine? see docker context ls"}
		}
	}
	if err == nil {
		err = o.job.mayMount(want.sockets)
	}
	if err != nil || want.current {
		return nil, err
	}
	for _, warning := range want.warnings {
		o.line("warning: " + warning)
	}
	r := want.rollout
	r.Operation, r.Paused = o.record.ID, false
	o.update(func(record *ipc.Operation) { record.Summary = r.Summary })
	after := "as its compose file says"
	if r.Spec != nil {
		after = r.Spec.Config.Image
	}
	o.change(func(j *job) {
		j.changes([]string{r.Service + "=" + r.From.Config.Image}, []string{r.Service + "=" + after})
	})
	if err := s.keepRollout(r); err != nil {
		return nil, notBegun(r.Summary, err)
	}
	return r, nil
}

func (s *site) keepRollout(r *rollout) error {
	return s.d.state.update(s.name, func(k *projectState) { k.Rollouts[r.Service] = r.copy() })
}

// pauseRollout keeps that it holds.
func (s *site) pauseRollout(r *rollout) error {
	r.Paused = true
	return s.d.state.happened(s.name, func(k *projectState) { k.Rollouts[r.Service] = r.copy() })
}

// copy separates a rollout that is worked on from what is kept.
func (r *rollout) copy() *rollout {
	own := *r
	return &own
}

// applyRollout observes, plans and applies what is next of a rollout.
func (s *site) applyRollout(ctx context.Context, o *operation, r *rollout) error {
	if err := s.bringBack(ctx, o, r); err != nil {
		return err
	}
	p, err := s.d.existing(context.WithoutCancel(ctx), s.name)
	if err != nil {
		return err
	}
	compose, err := s.d.compose(p, o.line)
	if err != nil {
		return err
	}
	if p.Service(r.Service) == nil && !r.Back {
		return &ipc.Error{Code: ipc.CodeUnknownService, Message: fmt.Sprintf("all replicas of %s have been removed by somebody else", r.Service)}
	}
	if model := r.Model(p); model != "" && r.Spec == nil && !r.Back {
		if p.Service(r.Service).Spec, err = s.d.engine.SpecOf(context.WithoutCancel(ctx), model); err != nil {
			return err
		}
	}
	plan := r.plan(p)
	return s.d.engine.Apply(ctx, p, plan, s, compose, o.planned(describeSteps(plan)))
}

// goBack brings the old replicas back and removes the new ones.
func (s *site) goBack(ctx context.Context, o *operation, r *rollout) error {
	if err := s.keepRollout(r); err != nil {
		// What is on disk is that it goes forward. It goes back nevertheless: the next
		// life would find nothing left to go forward with.
		s.d.log.error(eventState, "Cannot keep that a rollout goes back: "+err.Error()+".", o.fields())
	}
	err := s.d.insist(o, true, func() error { return s.applyRollout(ctx, o, r) })
	if err != nil {
		return errors.Join(err, s.pauseRollout(r))
	}
	err = s.d.state.happened(s.name, func(k *projectState) {
		k.end(r)
		k.Specs[r.Service] = r.From // another change may have kept that of the new ones
	})
	if err != nil { // there is nothing to try again: it is kept with the outcome
		s.d.log.error(eventState, "Cannot keep that a rollout went back: "+err.Error()+".", o.fields())
	}
	return nil
}

// end notes that a rollout is over.
func (k *projectState) end(r *rollout) {
	delete(k.Rollouts, r.Service)
	k.Replaced[r.Service] = replaced{r.Operation, r.Failure}
}

// rolledOut keeps what is in force after a rollout, or that it holds.
func (s *site) rolledOut(ctx context.Context, o *operation, r *rollout) (string, error) {
	const cannotKeep = "the change was made, but cannot be kept for a restart: "
	s.warn(o)
	var p *dockerops.Project
	err := s.d.insist(o, false, func() (err error) {
		p, _, err = s.d.observe(ctx, s.name)
		return err
	})
	if err != nil {
		return "", err
	}
	if r.Hold > 0 && r.Hold < r.Count {
		r.Retired, r.Settled = r.Stopped(p), r.Hold
		if err := s.pauseRollout(r); err != nil {
			return "", &ipc.Error{Code: ipc.CodeState, Message: cannotKeep + err.Error()}
		}
		return fmt.Sprintf("%d of %d replicas of %s are new; it holds until tvsctl rollout continue %s, or tvsctl rollback %s",
			r.Hold, r.Count, r.Service, r.Service, r.Service), nil
	}
	now := r.Spec
	if service := p.Service(r.Service); service != nil {
		now = service.Spec
	}
	want := scaleTo(p, map[string]int{r.Service: r.Count})
	err = s.d.state.happened(s.name, func(k *projectState) {
		k.end(r)
		if now != nil && !now.Same(r.From) {
			k.Previous[r.Service] = r.From
		}
		if k.Specs[r.Service] = now; r.Image != "" {
			k.Images[r.Service] = r.Image
		} else {
			delete(k.Images, r.Service)
		}
		maps.Copy(k.Desired, want.desired)
		delete(k.Stopped, r.Service)
	})
	if err != nil {
		return "", &ipc.Error{Code: ipc.CodeState, Message: cannotKeep + err.Error()}
	}
	result, err := s.outcome(ctx, want)
	if now != nil {
		result += " of " + now.Config.Image
	}
	return result, err
}

// heldBack refuses a change of services in the middle of a rollout. One whose new replicas
// somebody else has removed is over.
func (k projectState) heldBack(p *dockerops.Project, verb string, services ...string) error {
	for _, name := range services {
		if r := k.Rollouts[name]; r != nil && r.Paused && !r.abandoned(p) {
			return &ipc.Error{Code: ipc.CodeConflict, Message: fmt.Sprintf("cannot %s %s: a rollout of it holds (operation %s)", verb, name, r.Operation),
				Hint: fmt.Sprintf("tvsctl rollout continue %s, or tvsctl rollback %s", name, name)}
		}
	}
	return nil
}

// abandoned reports whether it holds and somebody else has removed its new replicas. What
// it has retired counts again; it can go on or back as long as nothing else changes the service.
func (r *rollout) abandoned(p *dockerops.Project) bool { return r.Paused && !r.Begun(p) }

// endAbandoned forgets the abandoned rollouts of services that are about to change: of the
// replicas that they get next it could not be told that they are none of its new ones.
func (s *site) endAbandoned(p *dockerops.Project, services ...string) error {
	kept := s.d.state.project(s.name).Rollouts
	over := keep(services, func(name string) bool { return kept[name] != nil && kept[name].abandoned(p) })
	if len(over) == 0 {
		return nil
	}
	return s.d.state.update(s.name, func(k *projectState) {
		for _, name := range over {
			k.end(kept[name])
		}
	})
}
