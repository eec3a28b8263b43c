package daemon

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"

	"tvsctl/dockerops"
	"tvsctl/ipc"
	"tvsctl/nginx"
	"tvsctl/policy"
)

func getVersion(d *Daemon, r *http.Request) (any, error) {
	v := ipc.Version{Version: d.config.Version, Go: runtime.Version()}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, setting := range info.Settings {
			if setting.Key == "vcs.revision" {
				v.Commit = setting.Value
			}
		}
	}
	// Without Docker the daemon's own version is still an answer.
	v.Engine, v.EngineAPI, _ = d.engine.Version(r.Context())
	return v, nil
}

func getProjects(d *Daemon, r *http.Request) (any, error) {
	list, err := d.listProjects(r.Context())
	return slices.DeleteFunc(list, func(p ipc.ProjectSummary) bool { return !d.sees(r.Context(), p.Name) }), err
}

// listProjects returns the projects that have containers or are declared. Where Docker
// cannot be asked they are those of units, if there are any.
func (d *Daemon) listProjects(ctx context.Context) ([]ipc.ProjectSummary, error) {
	list, _, err := d.findProjects(ctx)
	return list, err
}

// findProjects is listProjects, and tells why Docker could not be asked.
func (d *Daemon) findProjects(ctx context.Context) (list []ipc.ProjectSummary, unasked, err error) {
	units := d.readDeclared().units
	counts, err := d.countContainers(ctx, len(units) > 0)
	if err != nil && len(units) == 0 {
		return nil, err, err
	}
	if err != nil {
		list, failure := d.listUnits(ctx, nil, units)
		return list, err, failure
	}
	declared := append(d.state.declared(), configuredProjects(d.config.ProjectDir)...)
	for _, name := range declared {
		if _, there := counts[name]; !there {
			counts[name] = [2]int{}
		}
	}
	list = []ipc.ProjectSummary{}
	for name, n := range counts {
		if _, is := units[name]; is {
			continue
		}
		list = append(list, ipc.ProjectSummary{Name: name, Replicas: n[0], Running: n[1], Declared: slices.Contains(declared, name)})
	}
	list, err = d.listUnits(ctx, list, units)
	return list, nil, err
}

// countContainers asks Docker for its projects; not for long where there are others.
func (d *Daemon) countContainers(ctx context.Context, others bool) (map[string][2]int, error) {
	if others {
		brief, cancel := context.WithTimeout(ctx, askPatience)
		defer cancel()
		ctx = brief
	}
	return d.engine.Projects(ctx)
}

// listUnits adds to a list the projects of units.
func (d *Daemon) listUnits(ctx context.Context, list []ipc.ProjectSummary, units map[string]projectConfig) ([]ipc.ProjectSummary, error) {
	for name, config := range units {
		p, err := d.observeUnits(ctx, name, config, d.state.project(name))
		if err != nil {
			return nil, err
		}
		n, running := instanceCounts(p)
		list = append(list, ipc.ProjectSummary{Name: name, Replicas: n, Running: running})
	}
	slices.SortFunc(list, func(a, b ipc.ProjectSummary) int { return cmp.Compare(a.Name, b.Name) })
	return list, nil
}

// toldStatus is a status with its encoding.
type toldStatus struct {
	status ipc.Status
	text   json.RawMessage
}

// getStatus is what is asked most, and by many at once: they share an observation, and
// its encoding.
func getStatus(d *Daemon, r *http.Request) (any, error) {
	name := r.PathValue("project")
	told, err := d.statuses.ask(r.Context(), name, func(ctx context.Context) (any, error) {
		p, host, err := d.observe(ctx, name)
		if err != nil {
			return nil, err
		}
		if _, declared, _ := d.files(p); p.Empty() && !declared {
			return nil, unknownProject(name)
		}
		status := d.status(ctx, p, host)
		text, err := json.Marshal(status)
		return toldStatus{status, text}, err
	})
	if err != nil {
		return nil, err
	}
	return d.narrowed(r.Context(), told.(toldStatus)), nil
}

// narrowed leaves of a status what the caller may see: its services, operations, and what
// is wrong with other projects.
func (d *Daemon) narrowed(ctx context.Context, told toldStatus) any {
	who, status := d.subjectOf(ctx), told.status // which others read: nothing in it is written to
	sees := func(service string) bool {
		return d.policy().Sees(who, policy.Target{Project: status.Project, Service: service})
	}
	unseen := d.problemsUnseen(ctx)
	status.Services = keep(status.Services, func(s ipc.Service) bool { return sees(s.Name) })
	status.Operations = keep(status.Operations, func(o ipc.Operation) bool { return d.showsOperation(ctx, o) })
	status.Problems = keep(status.Problems, func(problem string) bool { return !slices.Contains(unseen, problem) })
	if len(status.Services) == len(told.status.Services) && len(status.Operations) == len(told.status.Operations) && len(status.Problems) == len(told.status.Problems) {
		return told.text
	}
	status.Nginx = slices.Clone(status.Nginx)
	for i := range status.Nginx {
		status.Nginx[i].Upstreams = keep(status.Nginx[i].Upstreams, func(u ipc.Upstream) bool { return sees(u.Service) })
	}
	return status
}

func keep[T any](list []T, wanted func(T) bool) []T {
	return slices.DeleteFunc(slices.Clone(list), func(t T) bool { return !wanted(t) })
}

// status describes a project that was just observed.
func (d *Daemon) status(ctx context.Context, p *dockerops.Project, host *hostNginx) ipc.Status {
	s, kept := d.site(p.Name), d.state.project(p.Name)
	status := ipc.Status{Project: p.Name, Operations: d.runningIn(p.Name), Nginx: []ipc.Nginx{}, Services: []ipc.Service{},
		Problems: d.problems()}
	if files, _, err := d.files(p); err == nil {
		if err := files.Unreadable(); err != nil {
			status.Problems = append(status.Problems, "cannot tell what only docker compose can do for "+p.Name+": "+err.Error())
		}
	}
	status.Nginx = append(status.Nginx, s.nginxStatus(ctx, p, host, &status)...)
	serving := map[string]bool{}
	for _, n := range status.Nginx {
		for _, u := range n.Upstreams {
			for _, server := range u.Servers {
				serving[server.Replica] = true
			}
		}
	}
	for i := range p.Services {
		if len(p.Services[i].Settings.Balances) == 0 {
			status.Services = append(status.Services, s.serviceStatus(ctx, p, &p.Services[i], kept, serving))
		}
	}
	status.Entry = entryURL(p, host)
	status.State = overall(status)
	return status
}

// overall is stopped when no replica of a balanced service runs (of any service,
// where none is balanced), up when all that is desired is ready, else degraded.
func overall(status ipc.Status) ipc.State {
	anyBalanced := slices.ContainsFunc(status.Services, func(s ipc.Service) bool { return s.Balanced })
	running, complete := 0, true
	for _, s := range status.Services {
		if s.Balanced || !anyBalanced {
			running += s.Running
			complete = complete && s.Ready >= s.Desired
		}
	}
	for _, n := range status.Nginx {
		complete = complete && (n.State == "running" || n.State == "active")
	}
	switch {
	case running == 0:
		return ipc.StateStopped
	case complete:
		return ipc.StateUp
	}
	return ipc.StateDegraded
}

func (s *site) serviceStatus(ctx context.Context, p *dockerops.Project, service *dockerops.Service, kept projectState, serving map[string]bool) ipc.Service {
	backend, isBalanced := p.Backends[service.Name]
	status := ipc.Service{Name: service.Name, Balanced: isBalanced, Port: backend.Port, Match: service.Settings.Match,
		Desired: len(service.Replicas), Replicas: []ipc.Replica{}, Problems: service.Settings.Problems}
	if n, ok := kept.Desired[service.Name]; ok {
		status.Desired = n
	}
	probe := p.Probe(service.Name)
	ready := map[string]bool{}
	for _, r := range s.readyOf(ctx, p, service.Name, service.Replicas) {
		ready[r.ID] = true
	}
	hashes := map[string]bool{}
	for _, r := range service.Replicas {
		hashes[r.ConfigHash] = true
		replica := describeReplica(r, ready[r.ID])
		replica.Serving = serving[r.Name]
		switch endpoint := r.Endpoint(probe.Peers, backend.Port); {
		case isBalanced && endpoint != "":
			replica.Address = endpoint
		case isBalanced && r.Running():
			status.Problems = append(status.Problems, r.Name+" is on no network on which its nginx reaches it")
			fallthrough
		default:
			replica.Address = r.Address(nil)
		}
		if r.Running() {
			status.Running++
		}
		status.Replicas = append(status.Replicas, replica)
	}
	status.Ready = len(ready)
	if r := kept.Rollouts[service.Name]; r != nil {
		status.Rollout = &ipc.Rollout{Operation: r.Operation, Summary: r.Summary, Count: r.Count, Paused: r.Paused}
		if r.Failure != nil {
			status.Rollout.Failure = r.Failure.Message
		}
		for _, replica := range service.Replicas {
			if replica.Number > r.Above && replica.Running() {
				status.Rollout.New++
			}
		}
	} else if len(hashes) > 1 {
		status.Problems = append(status.Problems, "its replicas were made from different configurations")
	}
	if is, want, asked := kept.drift(service); asked && is != want && !s.changing() && status.Rollout == nil {
		status.Problems = append(status.Problems, fmt.Sprintf("drift: %d desired, but somebody else made it %d; tvsctl scale %s N settles it",
			want, is, service.Name))
	}
	return status
}

func describeReplica(r dockerops.Replica, ready bool) ipc.Replica {
	replica := ipc.Replica{Number: r.Number, Name: r.Name, ID: r.ShortID(), Hostname: r.Hostname, Image: r.Image,
		State: r.State, Health: r.Health, Ready: ready, Created: r.Created, Since: r.Started}
	switch {
	case ready:
	case r.Running() && r.Health == "":
		replica.Problem = "does not accept connections"
	case r.Running():
		replica.Problem = r.Health
	case r.State == "exited" || r.State == "dead":
		replica.Since, replica.ExitCode = r.Finished, &r.ExitCode
		replica.Problem = fmt.Sprintf("exited with code %d", r.ExitCode)
	}
	return replica
}

// nginxStatus describes every nginx of the project, running or not.
func (s *site) nginxStatus(ctx context.Context, p *dockerops.Project, host *hostNginx, status *ipc.Status) []ipc.Nginx {
	running, err := s.balancersNow(ctx, p, host)
	if err != nil {
		status.Problems = append(status.Problems, "cannot look at nginx: "+err.Error())
	}
	list := []ipc.Nginx{}
	for _, b := range running {
		list = append(list, s.describeBalancer(b))
	}
	for _, service := range p.Nginx() {
		for _, r := range service.Replicas {
			if !slices.ContainsFunc(list, func(n ipc.Nginx) bool { return n.Name == r.Name }) {
				n := ipc.Nginx{Name: r.Name, Service: service.Name, State: r.State, Since: r.Started, Upstreams: []ipc.Upstream{}}
				if !r.Running() {
					n.Since = r.Finished
				}
				list = append(list, n)
			}
		}
	}
	if host != nil && len(running) == 0 {
		list = append(list, ipc.Nginx{Name: host.Unit, State: "inactive", Upstreams: []ipc.Upstream{}})
	}
	for i := range list {
		if service := p.Service(list[i].Service); service != nil {
			list[i].Problems = append(list[i].Problems, service.Settings.Problems...)
		}
	}
	return list
}

func (s *site) describeBalancer(b *balancer) ipc.Nginx {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := ipc.Nginx{Name: b.name, Service: b.service, State: b.state, Since: b.since, Version: b.facts.Version,
		Upstreams: []ipc.Upstream{}, Problems: slices.Clone(b.facts.Problems)}
	if b.problem != "" {
		n.Problems = append(n.Problems, b.problem)
	}
	if !b.facts.Includes {
		return n
	}
	for _, backend := range b.backends {
		file := nginx.Upstream{Name: backend.Service}.File()
		contents, there := b.published[file]
		if !there {
			continue
		}
		u := ipc.Upstream{Service: backend.Service, File: file, Generation: nginx.Generation(contents), Servers: []ipc.Server{}}
		if parsed, err := nginx.ParseUpstream(contents); err == nil {
			for _, server := range parsed.Servers {
				u.Servers = append(u.Servers, ipc.Server{Address: server.Address, Replica: server.Replica})
			}
		}
		n.Upstreams = append(n.Upstreams, u)
	}
	return n
}

// entryURL is where the project is reached from this host: the first published
// port of its nginx, or the host's own nginx.
func entryURL(p *dockerops.Project, host *hostNginx) string {
	for _, service := range p.Nginx() {
		for _, r := range service.Replicas {
			for _, port := range r.HostPorts {
				ip := port.IP
				if ip == "" || ip == "0.0.0.0" || ip == "::" {
					ip = "127.0.0.1"
				} else if strings.Contains(ip, ":") {
					ip = "[" + ip + "]"
				}
				return fmt.Sprintf("http://%s:%d/", ip, port.Port)
			}
			if r.HostNetwork && r.Running() {
				return "http://127.0.0.1/"
			}
		}
	}
	if host != nil {
		return host.URL
	}
	return ""
}
