package dockerops

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/docker/docker/api/types/container"
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
	// none of those that were to join is served.
	Publish(ctx context.Context, join, retire []string) error
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
// nginx is not touched; the first error is returned. Later failures leave the
// other steps to run. A staged plan ends at the first failure or with ctx as it is then,
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
		return errors.Join(cause, a.takeBack())
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
	if cause := context.Cause(ctx); cause != nil && errors.Is(err, context.Canceled) {
		err = ErrSkipped // another step's failure ended it, and is reported there
	}
	a.progress(s, true, err)
	return err
}

func (a *applier) do(ctx context.Context, s Step) error {
	switch s.Kind {
	case StepPublish:
		return a.publish(ctx, s)
	case StepDrain:
		return a.drain(ctx)
	case StepReady:
		id, err := a.container(s)
		if err != nil {
			return err
		}
		return a.runner.WaitReady(ctx, id, a.project.Probe(s.Service), a.project.Service(s.Service).Settings.ReadyTimeout)
	case StepSettle:
		id, err := a.container(s)
		if err != nil {
			return err
		}
		return a.engine.Settle(ctx, id, s.For)
	case StepCompose, StepComposeCreate:
		return a.viaCompose(ctx, s)
	}
	select {
	case a.slots <- struct{}{}:
		defer func() { <-a.slots }()
	case <-ctx.Done():
		return ctx.Err()
	}
	if s.Kind == StepStop {
		// Once it is asked for, the engine does it, whoever still waits for that.
		ctx = context.WithoutCancel(ctx)
	}
	ctx, cancel := context.WithTimeout(ctx, callDeadline)
	defer cancel()
	switch s.Kind {
	case StepCreate:
		return a.create(ctx, s)
	case StepStart:
		return a.start(ctx, s)
	case StepStop:
		return a.runner.Stop(ctx, s.Container)
	case StepRemove:
		return a.remove(ctx, s)
	case StepLimit:
		return a.limit(ctx, s)
	}
	return fmt.Errorf("no such step: %s", s.Kind)
}

// Probe tells how replicas of the service show that they are ready.
func (p *Project) Probe(service string) Probe {
	var peers []Replica
	for _, nginx := range p.Nginx() {
		peers = append(peers, nginx.Replicas...)
	}
	return Probe{Port: p.Backends[service].Port, Peers: peers}
}

func (a *applier) create(ctx context.Context, s Step) error {
	image, err := a.images[s.Service]()
	if err != nil {
		return err
	}
	// When another step fails meanwhile, the engine would create it all the same,
	// and nobody would know what to take back.
	id, err := a.engine.create(context.WithoutCancel(ctx), a.spec(s.Service), s.Number, image)
	if id != "" {
		a.balancer.Hold(id)
		s.Container = id
		a.made(s.Replica, id, s.as(StepRemove))
	}
	return err
}

func (a *applier) viaCompose(ctx context.Context, s Step) error {
	highest := 0
	for _, r := range a.project.Service(s.Service).Replicas {
		highest = max(highest, r.Number)
	}
	a.balancer.HoldNew(s.Service, highest)
	scale := a.composer.Scale
	if s.Kind == StepComposeCreate {
		scale = a.composer.Create
	}
	err := scale(ctx, s.Service, s.Count)
	now, lookErr := a.engine.Observe(context.WithoutCancel(ctx), a.project.Name, nil)
	if lookErr != nil {
		return errors.Join(err, lookErr)
	}
	service, before := now.Service(s.Service), a.project.Service(s.Service)
	if service == nil {
		return err
	}
	a.mu.Lock()
	a.specs[s.Service] = service.Spec
	a.mu.Unlock()
	for _, r := range service.Replicas {
		if !slices.ContainsFunc(slices.Concat(before.Replicas, before.Retired), func(old Replica) bool { return old.ID == r.ID }) {
			a.balancer.Hold(r.ID)
			a.made(r.Name, r.ID, Step{Kind: StepRemove, Service: s.Service, Number: r.Number, Replica: r.Name, Container: r.ID})
			err = errors.Join(err, a.limitNew(context.WithoutCancel(ctx), s.Service, r))
		}
	}
	return err
}

func (a *applier) start(ctx context.Context, s Step) error {
	id, err := a.container(s)
	if err != nil {
		return err
	}
	a.balancer.Hold(id)
	if s.Container != "" {
		a.made(s.Replica, id, s.as(StepStop))
	}
	err = a.runner.Start(ctx, id)
	if err == nil || ctx.Err() != nil || errors.Is(err, ErrUnavailable) || a.engine == nil {
		return err
	}
	return &NotReadyError{Replica: s.Replica, Text: "cannot be started: " + err.Error()}
}

func (a *applier) made(replica, id string, undo Step) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.ids[replica] = id
	a.undo = append(a.undo, undo)
}

// container returns the id of the step's replica, which an earlier step may have made.
func (a *applier) container(s Step) (string, error) {
	if s.Container != "" {
		return s.Container, nil
	}
	a.mu.Lock()
	id := a.ids[s.Replica]
	a.mu.Unlock()
	if id == "" {
		return "", fmt.Errorf("%s was not created", s.Replica)
	}
	return id, nil
}

func (a *applier) spec(service string) *Spec {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.specs[service].limited(a.project.Service(service).Limits)
}

func (a *applier) publish(ctx context.Context, s Step) error {
	a.mu.Lock()
	join := slices.Concat(slices.Sorted(maps.Values(a.ids)), s.Joins)
	a.mu.Unlock()
	return a.balancer.Publish(ctx, join, s.Retires)
}

// drain waits for the longest drain time of the services that lose replicas.
// That it runs out is the stack's own setting, not a failure.
func (a *applier) drain(ctx context.Context) error {
	var most time.Duration
	for _, name := range a.plan.Drain {
		most = max(most, a.project.Service(name).Settings.Drain)
	}
	limited, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	err := a.balancer.Drain(limited)
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		return nil
	}
	return err
}

func (a *applier) remove(ctx context.Context, s Step) error {
	err := a.engine.remove(ctx, s.Container, container.RemoveOptions{RemoveVolumes: s.Volumes})
	if isConflict(err) {
		// Under way by somebody else, or running again by a restart policy.
		if r, lookErr := a.engine.Look(ctx, s.Container); lookErr == nil && r.State != "removing" {
			err = a.engine.remove(ctx, s.Container, container.RemoveOptions{RemoveVolumes: s.Volumes, Force: true})
		} else {
			err = nil
		}
	}
	return ignoreMissing(err)
}

// takeBack undoes what was made, all at once: no nginx serves it.
func (a *applier) takeBack() error {
	const most = 60 * time.Second
	ctx, cancel := context.WithTimeout(context.Background(), most)
	defer cancel()
	errs := make([]error, len(a.undo))
	var group sync.WaitGroup
	for i, s := range a.undo {
		s.ID, s.Needs = len(a.plan.Steps)+1+i, nil
		group.Go(func() {
			a.progress(s, false, nil)
			switch s.Kind {
			case StepRemove:
				errs[i] = ignoreMissing(a.engine.remove(ctx, s.Container, container.RemoveOptions{Force: true, RemoveVolumes: true}))
			case StepLimit:
				errs[i] = a.engine.Limit(ctx, s.Container, s.Limits)
			default:
				errs[i] = a.runner.Stop(ctx, s.Container)
			}
			a.progress(s, true, errs[i])
		})
	}
	group.Wait()
	return errors.Join(errs...)
}
