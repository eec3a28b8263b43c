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
		err = a.runner.WaitReady(ctx, id, a.project.Probe(s.Service), a.project.Service(s.Service).Settings.ReadyTimeout)
		if err == nil {
			a.mu.Lock()
			a.proven = append(a.proven, id)
			a.mu.Unlock()
		}
		return err
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

// insisting is ctx for what the engine does whoever still waits for it: it is not canceled,
// and ends when ctx would have, after callDeadline at the latest.
func insisting(ctx context.Context) (context.Context, context.CancelFunc) {
	end := time.Now().Add(callDeadline)
	if sooner, is := ctx.Deadline(); is && sooner.Before(end) {
		end = sooner
	}
	return context.WithDeadline(context.WithoutCancel(ctx), end)
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
	ctx, cancel := insisting(ctx)
	defer cancel()
	id, err := a.engine.create(ctx, a.spec(s.Service), s.Number, image)
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
	ctx, cancel := insisting(ctx)
	defer cancel()
	now, lookErr := a.engine.Observe(ctx, a.project.Name, nil)
	if lookErr != nil {
		return errors.Join(err, lookErr)
	}
	service, before := now.Service(s.Service), a.project.Service(s.Service)
	if service == nil {
		return err
	}
	for _, r := range service.Replicas {
		if !slices.ContainsFunc(slices.Concat(before.Replicas, before.Retired), func(old Replica) bool { return old.ID == r.ID }) {
			a.balancer.Hold(r.ID)
			a.made(r.Name, r.ID, Step{Kind: StepRemove, Service: s.Service, Number: r.Number, Replica: r.Name, Container: r.ID})
			err = errors.Join(err, a.clone(ctx, s.Service, r.ID), a.limitNew(ctx, s.Service, r))
		}
	}
	return err
}

// clone lets what is created from now on be made from what a container is made from. Which
// is the newest one, its time does not tell: the clock may have been set back.
func (a *applier) clone(ctx context.Context, service, id string) error {
	spec, err := a.engine.SpecOf(ctx, id)
	if err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.specs[service] = spec
	return nil
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
	// Of those proven an earlier attempt may have started and held some.
	join := slices.Concat(slices.Sorted(maps.Values(a.ids)), a.proven, s.Joins)
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

// takeBack undoes what was made, all at once.
func (a *applier) takeBack() error {
	const most = 60 * time.Second
	a.withdraw()
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
			if a.progress(s, true, errs[i]); errs[i] != nil {
				errs[i] = fmt.Errorf("cannot %s: %w", s.Text(), errs[i])
			}
		})
	}
	group.Wait()
	return errors.Join(errs...)
}

// withdraw lets no nginx serve what is taken back.
func (a *applier) withdraw() {
	var ids []string
	for _, s := range a.undo {
		if s.Kind != StepLimit {
			ids = append(ids, s.Container)
		}
	}
	if len(ids) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), DefaultDrain)
	defer cancel()
	// An nginx that refuses goes on as it is, which is no reason to leave what failed.
	_ = a.balancer.Withdraw(ctx, ids...)
}
