package dockerops

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// parallel bounds the calls that one change has under way at the engine.
const parallel = 10

// callDeadline bounds one call that changes a container; a stop takes as long as the
// service's stop_grace_period, and an engine that hangs must not hold a project for ever.
const callDeadline = 15 * time.Minute

// Balancer is the nginx side of a change.
type Balancer interface {
	// Prepare is told that Publish will come soon.
	Prepare(ctx context.Context)
	// Hold keeps containers out of the upstreams until Publish names them.
	Hold(ids ...string)
	// HoldNew does so for the replicas of a service that will get numbers above one.
	HoldNew(service string, above int)
	// Publish makes every nginx serve the ready replicas but those that retire,
	// and returns when the new configuration is proven to be in force. On an error
	// none of those that were to join is served, unless nobody else is ready (see Withdraw).
	Publish(ctx context.Context, join, retire []string) error
	// Withdraw is Publish for those that are about to be taken back: it takes them out where
	// they serve because nobody else was ready, and drains.
	Withdraw(ctx context.Context, ids ...string) error
	// Drain returns when no worker of an older configuration is left, at the
	// latest when ctx ends.
	Drain(ctx context.Context) error
}

// Composer lets compose create replicas, up to a number of containers of the service.
type Composer interface {
	Scale(ctx context.Context, service string, count int) error  // and start them
	Create(ctx context.Context, service string, count int) error // and not start them
}

// Runner starts and stops replicas that exist, and tells when they are ready: the Engine,
// or who does so with units. That a replica does not become ready is a NotReadyError.
type Runner interface {
	Start(ctx context.Context, id string) error
	Stop(ctx context.Context, id string) error
	WaitReady(ctx context.Context, id string, probe Probe, timeout time.Duration) error
}

// Progress is told when a step begins (ended false) and when it ends.
type Progress func(step Step, ended bool, err error)

// Apply carries out a plan. When ctx ends before the publication, the change is taken
// back; after it, it completes. If a step up to the publication fails, what the
// change made so far is taken back, in steps of its own that are reported too, and
// nginx is not touched; the first error is returned, as a LeftoverError where that could
// not be done. Later failures leave the other steps to run. A staged plan ends at the first failure or with ctx as it is then,
// up to its removals, with which it completes. When the engine was lost, nothing can be
// taken back, and the error is ErrUnavailable.
func (e *Engine) Apply(ctx context.Context, p *Project, plan *Plan, lb Balancer, composer Composer, progress Progress) error {
	a := &applier{engine: e, runner: e, project: p, plan: plan, balancer: lb, composer: composer, progress: progress,
		ids: map[string]string{}, specs: map[string]*Spec{}, images: map[string]func() (string, error){}, slots: make(chan struct{}, parallel)}
	for _, s := range p.Services {
		a.specs[s.Name] = s.Spec
		// When it is asked for, compose may have made another spec of it.
		a.images[s.Name] = sync.OnceValues(func() (string, error) { return e.imageRef(ctx, a.spec(s.Name)) })
	}
	return a.run(ctx)
}

// ApplyUnits is Apply for a project of units, of which nothing is created or removed.
func ApplyUnits(ctx context.Context, runner Runner, p *Project, plan *Plan, lb Balancer, progress Progress) error {
	a := &applier{runner: runner, project: p, plan: plan, balancer: lb, progress: progress, ids: map[string]string{}, slots: make(chan struct{}, parallel)}
	return a.run(ctx)
}

type applier struct {
	engine   *Engine // nil for units
	runner   Runner
	project  *Project
	plan     *Plan
	balancer Balancer
	composer Composer
	progress Progress
	images   map[string]func() (string, error)
	slots    chan struct{}

	mu    sync.Mutex
	ids   map[string]string // of the containers that this change made, by replica
	specs map[string]*Spec  // by service: what is cloned
	undo  []Step            // what takes back the steps done so far
	// proven are the replicas that have been ready in it.
	proven []string
}

func (a *applier) run(ctx context.Context) error {
	losses := 0
	if a.engine != nil {
		losses = a.engine.losses()
	}
	for _, s := range a.plan.Adopted {
		a.balancer.Hold(s.Container)
		a.made(s.Replica, s.Container, s)
	}
	if slices.ContainsFunc(a.plan.Steps, func(s Step) bool { return s.Kind == StepPublish }) {
		a.balancer.Prepare(ctx)
	}
	growing, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	outcome := make([]error, len(a.plan.Steps)+1)
	done := make([]chan struct{}, len(a.plan.Steps)+1)
	for _, s := range a.plan.Steps {
		done[s.ID] = make(chan struct{})
	}
	var group sync.WaitGroup
	for _, s := range a.plan.Steps {
		group.Go(func() {
			defer close(done[s.ID])
			for _, need := range s.Needs {
				<-done[need]
				if outcome[need] != nil {
					outcome[s.ID] = ErrSkipped
					return
				}
			}
			if a.takesBack(s) {
				if growing.Err() != nil {
					outcome[s.ID] = ErrSkipped
					return
				}
				if outcome[s.ID] = a.step(growing, s); outcome[s.ID] != nil {
					stop(outcome[s.ID])
				}
				return
			}
			// Nginx has been given the new set: from here the change completes.
			outcome[s.ID] = a.step(context.WithoutCancel(ctx), s)
		})
	}
	group.Wait()
	cause, before := context.Cause(growing), !a.committed(outcome)
	if cause == nil || !before {
		cause = nil
		for _, err := range outcome {
			if err != nil && !errors.Is(err, ErrSkipped) {
				cause = err
				break
			}
		}
	}
	switch {
	case cause == nil:
		return nil
	case a.engine != nil && a.engine.lost(ctx, losses):
		return fmt.Errorf("%w: %v", ErrUnavailable, cause)
	case before && !a.plan.Staged:
		left := a.takeBack()
		switch {
		case left == nil:
			return cause
		case a.engine != nil && a.engine.lost(ctx, losses):
			return fmt.Errorf("%w: %v", ErrUnavailable, cause)
		}
		return &LeftoverError{Err: cause, Left: left}
	case !before:
		return &UnfinishedError{cause}
	}
	return cause
}

// UnfinishedError means that a change is in force, and that some of what it should have
// ended is still there.
type UnfinishedError struct{ Err error }

func (e *UnfinishedError) Error() string { return e.Err.Error() }
func (e *UnfinishedError) Unwrap() error { return e.Err }

// LeftoverError means that a change failed with Err, and that taking it back failed with
// Left: some of what it made is still there. It wraps Err alone.
type LeftoverError struct{ Err, Left error }

func (e *LeftoverError) Error() string {
	return fmt.Sprintf("%v; and %s", e.Err, e.Rest())
}

// Rest says what could not be taken back, to follow what happened.
func (e *LeftoverError) Rest() string {
	return "not all could be taken back: " + strings.ReplaceAll(e.Left.Error(), "\n", ", ")
}

func (e *LeftoverError) Unwrap() error { return e.Err }

// ErrSkipped is the outcome of a step that did not run, or not to its end, because
// another one failed.
var ErrSkipped = errors.New("what it waits for failed")

// takesBack tells the steps whose failure takes the change back.
func (a *applier) takesBack(s Step) bool {
	switch s.Kind {
	case StepDrain, StepStop:
		return a.plan.Staged
	case StepRemove:
		return false
	}
	return true
}

func (a *applier) committed(outcome []error) bool {
	for _, s := range a.plan.Steps {
		if a.takesBack(s) && outcome[s.ID] != nil {
			return false
		}
	}
	return true
}

func (a *applier) step(ctx context.Context, s Step) error {
	a.progress(s, false, nil)
	err := a.do(ctx, s)
	if notReady := (*NotReadyError)(nil); errors.As(err, &notReady) {
		notReady.Service = s.Service
	}
	if cause := context.Cause(ctx); cause != nil && errors.Is(err, context.Canceled) {
		err = ErrSkipped // another step's failure ended it, and is reported there
	}
	a.progress(s, true, err)
	return err
}
