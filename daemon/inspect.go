package daemon

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"time"

	"tvsctl/dockerops"
	"tvsctl/ipc"
	"tvsctl/look"
	"tvsctl/policy"
	"tvsctl/systemd"
)

// looks bounds how many looks one request has under way.
const looks = 8

// getInspect shows the replicas of a service, or the one of a number.
func getInspect(d *Daemon, r *http.Request) (any, error) {
	name, err := d.projectOf(r)
	if err != nil {
		return nil, err
	}
	number := 0
	if text := r.FormValue("number"); text != "" {
		if number, err = strconv.Atoi(text); err != nil || number < 1 {
			return nil, badRequest("cannot inspect %s: %q is not the number of a replica", r.PathValue("service"), text)
		}
	}
	if err := d.permit(r.Context(), policy.Request{Verb: policy.Inspect, Target: policy.Target{Project: name, Service: r.PathValue("service")}}); err != nil {
		return nil, err
	}
	p, replicas, err := d.replicas(r.Context(), name, "inspect", r.PathValue("service"), number)
	if err != nil {
		return nil, err
	}
	list, errs := make([]ipc.Inspection, len(replicas)), make([]error, len(replicas))
	var group sync.WaitGroup
	slots := make(chan struct{}, looks)
	for i, replica := range replicas {
		group.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			list[i], errs[i] = d.inspect(r.Context(), p.Name, r.PathValue("service"), replica.ID)
		})
	}
	group.Wait()
	shown := []ipc.Inspection{}
	for i, err := range errs {
		if errors.Is(err, dockerops.ErrGone) {
			continue // removed since it was listed
		}
		if err != nil {
			return nil, err
		}
		shown = append(shown, list[i])
	}
	return shown, nil
}

// replicas returns those of a service, or the one of a number if that is not 0.
func (d *Daemon) replicas(ctx context.Context, project, verb, service string, number int) (*dockerops.Project, []dockerops.Replica, error) {
	p, err := d.existing(ctx, project)
	if err != nil {
		return nil, nil, err
	}
	s := p.Service(service)
	if s == nil {
		return nil, nil, d.named(ctx, p, &dockerops.RefusedError{Verb: verb, Reason: dockerops.UnknownService, Service: service,
			Text: fmt.Sprintf("project %s has no such service", p.Name)})
	}
	if s.Units != nil {
		return nil, nil, notContainers(verb, s)
	}
	if number == 0 {
		if len(s.Replicas) == 0 {
			return nil, nil, &ipc.Error{Code: ipc.CodeUnknownService, Message: fmt.Sprintf("cannot %s %s: it has no replica", verb, service),
				Hint: fmt.Sprintf("tvsctl scale %s N", service)}
		}
		return p, s.Replicas, nil
	}
	var found []dockerops.Replica
	for _, r := range s.Replicas {
		if r.Number == number {
			found = append(found, r)
		}
	}
	if len(found) == 0 {
		return nil, nil, &ipc.Error{Code: ipc.CodeUnknownService, Message: fmt.Sprintf("cannot %s %s.%d: %s has no replica of that number", verb, service, number, service),
			Hint: "see tvsctl status " + service}
	}
	return p, found, nil
}

// inspect puts together what the engine and the kernel say of one replica.
func (d *Daemon) inspect(ctx context.Context, project, service, id string) (ipc.Inspection, error) {
	c, err := d.engine.Inspect(ctx, id)
	if err != nil {
		return ipc.Inspection{}, err
	}
	view := describeDetails(c)
	view.Project, view.Service = project, service
	if !c.Running() {
		view.Missing = append(view.Missing, "it does not run: it has no process, namespaces or cgroup")
		return view, nil
	}
	seen, err := d.look(ctx, c.ID)
	if err != nil {
		view.Missing = append(view.Missing, fmt.Sprintf("its namespaces and its cgroup cannot be seen: %v", err))
		return view, nil
	}
	view.Pid = seen.Pid
	for _, n := range seen.Namespaces {
		view.Namespaces = append(view.Namespaces, ipc.Namespace(n))
	}
	view.Cgroup = describeCgroup(seen.Cgroup)
	for _, part := range []struct {
		controller string
		missing    bool
	}{{"memory", seen.Cgroup.Memory == nil}, {"cpu", seen.Cgroup.CPU == nil || seen.Cgroup.CPU.Period == 0}, {"pids", seen.Cgroup.Pids == nil}} {
		if part.missing {
			view.Missing = append(view.Missing, fmt.Sprintf("the kernel has no %s controller in its cgroup: that cannot be limited", part.controller))
		}
	}
	return view, nil
}

// look lets the root unit look into a container: what is another user's in /proc is
// hidden from the daemon.
func (d *Daemon) look(ctx context.Context, id string) (look.Result, error) {
	reply, err := d.lookings.ask(ctx, id, func(ctx context.Context) (any, error) {
		begun, unit := time.Now(), "tvsctld-inspect@"+id+".service"
		if _, err := d.units.Run(ctx, unit); err != nil {
			return nil, lookHint(err)
		}
		return look.Read(look.Dir, id, begun)
	})
	if err != nil {
		return look.Result{}, err
	}
	return reply.(look.Result), nil
}

// lookHint adds what to do where the unit cannot be started.
func lookHint(err error) error {
	var refused *systemd.RefusedError
	switch {
	case errors.As(err, &refused) && refused.Problem == systemd.NoSuchUnit:
		return fmt.Errorf("%v; run scripts/install.sh again", err)
	case errors.As(err, &refused) && refused.Problem == systemd.Denied:
		return fmt.Errorf("%v; see the polkit rule of tvsctld", err)
	}
	return err
}

func describeCgroup(c look.Cgroup) *ipc.Cgroup {
	return &ipc.Cgroup{Version: c.Version, Path: c.Path, Memory: (*ipc.MemoryUse)(c.Memory), CPU: (*ipc.CPUUse)(c.CPU), Pids: (*ipc.PidsUse)(c.Pids)}
}

func describeLimits(l dockerops.Limits) ipc.Limits {
	return ipc.Limits{CPUs: float64(l.CPUs) / 1e9, Memory: l.Memory, Swap: l.Swap, Pids: l.Pids}
}

func describeDetails(c dockerops.Details) ipc.Inspection {
	view := ipc.Inspection{Number: c.Number, Name: c.Name, ID: c.ID, Image: c.Image, ImageID: c.ImageID, Hostname: c.Hostname,
		State: c.State, Health: c.Health, Pid: c.Pid, Created: c.Created, Started: c.Started, Finished: c.Finished, OOMKilled: c.OOMKilled,
		Restarts: c.RestartCount, RestartPolicy: c.RestartPolicy, Limits: describeLimits(c.Limits), Storage: ipc.Storage(c.Storage),
		Networks: []ipc.Endpoint{}, Ports: []ipc.HostPort{}, Mounts: []ipc.Mount{}, HealthLog: []ipc.Check{}}
	if !c.Running() && !c.Finished.IsZero() {
		view.ExitCode = &c.ExitCode
	}
	for _, e := range c.Endpoints {
		view.Networks = append(view.Networks, ipc.Endpoint(e))
	}
	for _, p := range c.HostPorts {
		view.Ports = append(view.Ports, ipc.HostPort(p))
	}
	for _, m := range c.Mounts {
		view.Mounts = append(view.Mounts, ipc.Mount(m))
	}
	for _, check := range c.Checks {
		view.HealthLog = append(view.HealthLog, ipc.Check(check))
	}
	return view
}
