package daemon

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"tvsctl/dockerops"
	"tvsctl/fault"
	"tvsctl/ipc"
	"tvsctl/systemd"
)

// instanceRunner starts and stops replicas that are units.
type instanceRunner struct{ d *Daemon }

const (
	// How often an instance that does not listen yet is tried again.
	instanceDialFirst = 5 * time.Millisecond
	instanceDialMost  = 250 * time.Millisecond
	instanceHint      = "mend the program or its unit; raise TimeoutStartSec=, or ready_timeout in the project's file, if it only needs longer"
	instanceRights    = "the daemon may change the instances of the project's file as it was when tvsctld was last loaded: as root, systemctl reload tvsctld"
)

// Start starts a unit and returns when systemd says that it has: with Type=notify, that
// it is ready.
func (r instanceRunner) Start(ctx context.Context, unit string) error {
	return r.do(ctx, "start", unit)
}

// Stop stops a unit, which may take as long as its TimeoutStopSec=.
func (r instanceRunner) Stop(ctx context.Context, unit string) error { return r.do(ctx, "stop", unit) }

func (r instanceRunner) do(ctx context.Context, verb, unit string) error {
	return fault.Do("unit "+verb, func() error {
		before, err := r.d.units.Unit(ctx, unit)
		if err != nil {
			return err
		}
		_, err = r.d.units.Do(ctx, systemd.Job{Verb: verb, Before: before.Mark()})
		return r.explain(ctx, unit, err)
	})
}

// explain gives the failures of jobs the meaning that those of containers have.
func (r instanceRunner) explain(ctx context.Context, unit string, err error) error {
	var failed *systemd.FailedError
	var refused *systemd.RefusedError
	switch {
	case errors.As(err, &failed) && failed.Verb == "start":
		why, _, _ := strings.Cut(failed.Text, "; systemd starts it again") // it is stopped first
		return r.notReady(ctx, unit, "does not start: "+why, failed.Invocation)
	case errors.As(err, &refused) && refused.Problem == systemd.Denied:
		return &ipc.Error{Code: ipc.CodeForbidden, Message: refused.Error(), Hint: instanceRights}
	}
	return err
}

func (r instanceRunner) notReady(ctx context.Context, unit, text, invocation string) error {
	if invocation != "" {
		pause(ctx, journalPause)
	}
	lines, err := systemd.LastLines(ctx, unit, invocation, failureLines)
	if err != nil {
		lines = []string{err.Error()}
	}
	return &dockerops.NotReadyError{Replica: unit, Text: text, Logs: lines, Hint: instanceHint}
}

// WaitReady returns when a unit is ready: one with Type=notify when systemd has it as
// active, any other when it listens on its port, or, without one, runs.
func (r instanceRunner) WaitReady(ctx context.Context, unit string, probe dockerops.Probe, timeout time.Duration) error {
	limited, stop := context.WithTimeout(ctx, timeout)
	defer stop()
	ended := make(chan *systemd.Unit, 1)
	go func() {
		if u, err := r.d.units.Wait(limited, unit, over); err == nil {
			ended <- u
		}
	}()
	retry := instanceDialFirst
	for {
		u, err := r.d.units.Unit(ctx, unit)
		if err != nil {
			return err
		}
		replica := readInstance(dockerops.Replica{ID: unit, Port: portOf(unit), HostNetwork: true}, u)
		if replica.Running() && (replica.Health == "healthy" || replica.Health == "" && (replica.Port == 0 || probe.Listens(limited, replica))) {
			return nil
		}
		select {
		case u := <-ended:
			text := "has ended"
			if why := u.Failure(); why != "" {
				text = "failed: " + why
			}
			return r.notReady(ctx, unit, text, u.Invocation)
		case <-limited.Done():
			if ctx.Err() != nil {
				return ctx.Err()
			}
			text := fmt.Sprintf("is %s (%s) after %v", u.ActiveState, u.SubState, timeout)
			if replica.Running() && replica.Health == "" {
				text = fmt.Sprintf("does not accept connections on port %d after %v", replica.Port, timeout)
			}
			return r.notReady(ctx, unit, text, u.Invocation)
		case <-time.After(retry):
			retry = min(2*retry, instanceDialMost)
		}
	}
}

// over tells a unit that systemd will not start again.
func over(u *systemd.Unit) bool { return u.ActiveState == "inactive" || u.ActiveState == "failed" }

// portOf is the port that an instance is named after; 0 for another unit.
func portOf(unit string) (port int) {
	_, instance, _ := strings.Cut(unit, "@")
	// What is no number names no port.
	_, _ = fmt.Sscanf(instance, "%d.service", &port)
	return port
}

// apply carries out a plan with what runs the project's replicas.
func (s *site) apply(ctx context.Context, p *dockerops.Project, plan *dockerops.Plan, o *operation) error {
	if p.OfUnits() {
		return dockerops.ApplyUnits(ctx, instanceRunner{s.d}, p, plan, s, o.planned(describeSteps(plan)))
	}
	compose, err := s.d.compose(p, o.line)
	if err != nil {
		return err
	}
	return s.d.engine.Apply(ctx, p, plan, s, compose, o.planned(describeSteps(plan)))
}

// starter starts replicas that exist.
type starter interface {
	Start(ctx context.Context, id string) error
}

// starter returns what starts the replicas of a project.
func (d *Daemon) starter(p *dockerops.Project) starter {
	if p.OfUnits() {
		return instanceRunner{d}
	}
	return d.engine
}
