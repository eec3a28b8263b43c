package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"tvsctl/dockerops"
	"tvsctl/ipc"
)

const restoreDeadline = 30 * time.Second

// restore starts, after a start of the machine or of Docker, the replicas that ran
// before and that Docker itself does not bring back. It starts what exists and makes
// nothing: a project without containers was taken down. What somebody ended while
// Docker was running, or tvsctl stopped, stays so. It returns whether it is done; if
// not, the next look at Docker tries again.
func (d *Daemon) restore(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, restoreDeadline)
	defer cancel()
	epoch := d.epoch(ctx)
	if d.state.lastEpoch() == epoch {
		return true
	}
	if d.state.usable() != nil {
		return false // what ran is not known
	}
	projects, err := d.engine.Projects(ctx)
	if err != nil {
		return false
	}
	done := true
	for name := range projects {
		if len(d.state.project(name).Desired) == 0 && !d.interruptedIn(name) {
			continue
		}
		if err := d.restoreProject(ctx, name); err != nil {
			d.log.error(eventRestore, fmt.Sprintf("Cannot restore %s: %v.", name, err), fields{"TVS_PROJECT": name})
			done = done && !errors.Is(err, dockerops.ErrUnavailable) && describeError(err).Code != ipc.CodeState
		}
	}
	if done {
		if err := d.state.keepEpoch(epoch); err != nil {
			d.log.error(eventState, "Cannot keep that the machine was started: "+err.Error()+".", nil)
		}
	}
	return done
}

// interruptedIn reports whether an operation of a project was interrupted. What it concerns the
// restore does not see as it was before, but by its being in line the operation knows that
// it has to start that (awaitsRestore).
func (d *Daemon) interruptedIn(project string) bool {
	return slices.ContainsFunc(d.live(), func(o *operation) bool { return o.interrupted.Load() && o.snapshot().Project == project })
}

func (d *Daemon) restoreProject(ctx context.Context, name string) error {
	j := job{Kind: "restore", Request: json.RawMessage("{}")}
	_, _, plan, err := d.plan(ctx, name, j)
	if err != nil || len(starts(plan)) == 0 && !d.interruptedIn(name) {
		return err
	}
	_, err = d.launch(withPeer(ctx, peer{itself: true}), d.site(name), "restore", "restore "+name, j)
	return err
}

// startAll starts what the plan starts, and waits for nothing: the guard publishes
// each replica when it is ready, and one that fails is no reason to stop the others.
func (s *site) startAll(ctx context.Context, o *operation) (string, error) {
	p, _, plan, err := s.d.plan(ctx, s.name, o.job)
	if err != nil {
		return "", err
	}
	starter := s.d.starter(p)
	plan.Steps = starts(plan)
	o.begun = true
	err = o.together(plan.Steps, func(step dockerops.Step) error { return startPatiently(ctx, starter, step.Container) })
	return fmt.Sprintf("%d %s started", len(plan.Steps), plural(len(plan.Steps), "replica")), err
}

// together does steps at once, of which none needs another, and returns when all have ended.
func (o *operation) together(steps []dockerops.Step, do func(dockerops.Step) error) error {
	progress := o.planned(describeSteps(&dockerops.Plan{Steps: steps}))
	errs := make([]error, len(steps))
	var group sync.WaitGroup
	for i, step := range steps {
		group.Go(func() {
			progress(step, false, nil)
			errs[i] = do(step)
			progress(step, true, errs[i])
		})
	}
	group.Wait()
	return errors.Join(errs...)
}

// starts are the steps of a restore's plan that it carries out.
func starts(plan *dockerops.Plan) []dockerops.Step {
	return keep(plan.Steps, func(s dockerops.Step) bool { return s.Kind == dockerops.StepStart })
}

// restorePauses are between attempts to start a replica: right after a start of the
// machine a port may yet be taken, or a volume not be mounted.
var restorePauses = []time.Duration{time.Second, 3 * time.Second, 10 * time.Second}

func startPatiently(ctx context.Context, starter starter, replica string) error {
	for _, p := range restorePauses {
		err := starter.Start(ctx, replica)
		if err == nil || errors.Is(err, dockerops.ErrUnavailable) || !pause(ctx, p) {
			return err
		}
	}
	return starter.Start(ctx, replica)
}

// restored wants every service that nobody stopped to run with what it has, but for the
// replicas that somebody ended.
func restored(p *dockerops.Project, kept projectState) (intent, error) {
	leaveEnded(p, kept)
	goals := map[string]dockerops.Goal{}
	for _, service := range p.Services {
		count, wanted := kept.Desired[service.Name]
		if service.Units == nil { // of units those come back that are desired
			count = len(service.Replicas)
		} else if service.Settings.Max > 0 {
			count = min(count, service.Settings.Max) // which may have been lowered since
		}
		stays := count == 0 || count > ipc.MaxReplicas
		if (wanted || len(service.Settings.Balances) > 0) && !stays {
			goals[service.Name] = dockerops.Goal{Count: count, Running: true}
		}
	}
	return intent{request: dockerops.Request{Goals: goals}, summary: "restore " + p.Name}, nil
}

// leaveEnded takes out of the snapshot what stays as it is, so that it is not started as
// a dependency of something else either.
func leaveEnded(p *dockerops.Project, kept projectState) {
	p.Services = slices.DeleteFunc(p.Services, func(s dockerops.Service) bool { return kept.Stopped[s.Name] })
	for i := range p.Services {
		service := &p.Services[i]
		service.Replicas = slices.DeleteFunc(service.Replicas, func(r dockerops.Replica) bool { return slices.Contains(kept.Exited, r.ID) })
	}
}

// epoch names the present life of the machine and of Docker.
func (d *Daemon) epoch(ctx context.Context) string {
	text := bootID()
	// Without systemd the boot alone decides.
	if state, err := d.units.State(ctx, "docker.service"); err == nil {
		text += " " + state.Since.UTC().Format("20060102T150405.000000")
	}
	return text
}
