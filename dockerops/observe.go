package dockerops

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
)

// Project is one compose project as it was at one moment.
type Project struct {
	Name     string
	Services []Service // sorted by name
	// Backends are the services that an nginx balances, by name.
	Backends map[string]Backend
	Files    Files // as compose noted them on its containers
}

// Files says where a project's compose files are.
type Files struct {
	Directory string   `json:"directory" toml:"directory"`
	Compose   []string `json:"files" toml:"files"`
	Env       []string `json:"env_files,omitempty" toml:"env_files"`
	Profiles  []string `json:"profiles,omitempty" toml:"profiles"`
	// Owner is the uid that the directory had when tvsctl up -f declared the project; nil
	// where that is not known: of a file of root's, or of a state from before it was kept.
	Owner *uint32 `json:"owner,omitempty" toml:"-"`
}

// Service is one service of a project.
type Service struct {
	Name     string
	Settings Settings
	// DependsOn are the services that must run for it, sorted. One that only has
	// to have completed is a job, and not among them.
	DependsOn []string
	Replicas  []Replica // sorted by number
	// Retired are those that a rollout has replaced and not yet removed.
	Retired []Replica
	// Spec is what a new replica is made from: that of the newest replica, or
	// the kept one when there is no replica. Nil where Units is set.
	Spec *Spec
	// Limits are those that were asked for beside what the spec says.
	Limits LimitSet
	// Units is set where the replicas are units of systemd.
	Units *Units
}

// Replica is one container of a service, or one unit.
type Replica struct {
	ID       string // of a unit its name
	Name     string
	Number   int
	State    string // created, running, paused, restarting, removing, exited, dead
	Health   string // empty without a health check, else starting, healthy, unhealthy
	ExitCode int
	Restarts bool // its restart policy starts it again when it fails
	Created  time.Time
	Started  time.Time
	Finished time.Time

	Image      string // as the container names it
	ImageID    string
	Hostname   string
	ConfigHash string
	HostPorts  []HostPort
	Port       int // where it listens, if not where all of its service do
	// Networks are the addresses by network name, "" while it does not run.
	Networks map[string]string
	// HostNetwork is set when it shares the host's network.
	HostNetwork bool
	// ReadyTimeout is how long its health check may take to say healthy.
	ReadyTimeout time.Duration
	Limits       Limits
}

// HostPort is a published TCP port.
type HostPort struct {
	IP        string
	Port      int
	Container int
}

// Running reports whether the replica's process runs.
func (r *Replica) Running() bool { return r.State == "running" }

// ShortID is the form in which docker ps prints the id. That of a unit is its name.
func (r *Replica) ShortID() string {
	if r.ID == r.Name {
		return r.ID
	}
	return r.ID[:min(12, len(r.ID))]
}

// Service returns the named service, or nil.
func (p *Project) Service(name string) *Service {
	for i := range p.Services {
		if p.Services[i].Name == name {
			return &p.Services[i]
		}
	}
	return nil
}

// ServiceNames returns the services that are not an nginx of ours, sorted.
func (p *Project) ServiceNames() []string {
	var names []string
	for _, s := range p.Services {
		if len(s.Settings.Balances) == 0 {
			names = append(names, s.Name)
		}
	}
	return names
}

// Nginx returns the services that carry tvs.nginx.
func (p *Project) Nginx() []*Service {
	var found []*Service
	for i := range p.Services {
		if len(p.Services[i].Settings.Balances) > 0 {
			found = append(found, &p.Services[i])
		}
	}
	return found
}

// Empty reports whether the project has no containers at all. One of units is never empty.
func (p *Project) Empty() bool {
	return !p.OfUnits() && !slices.ContainsFunc(p.Services, func(s Service) bool { return len(s.Replicas) > 0 })
}

// Address returns the replica's address on a network that it shares with one
// of the given peers, or on any when a peer is on the host's network or none is
// given. It returns "" when there is none.
func (r *Replica) Address(peers []Replica) string {
	anywhere := len(peers) == 0 || slices.ContainsFunc(peers, func(p Replica) bool { return p.HostNetwork })
	if r.HostNetwork && anywhere {
		return "127.0.0.1"
	}
	for _, name := range slices.Sorted(maps.Keys(r.Networks)) {
		shared := slices.ContainsFunc(peers, func(p Replica) bool { _, on := p.Networks[name]; return on })
		if address := r.Networks[name]; address != "" && (anywhere || shared) {
			return address
		}
	}
	return ""
}

// Endpoint returns the address and port at which the peers reach the replica, or "". Port
// is that of its service.
func (r *Replica) Endpoint(peers []Replica, port int) string {
	if address := r.Address(peers); address != "" {
		return net.JoinHostPort(address, strconv.Itoa(cmp.Or(r.Port, port)))
	}
	return ""
}

// Projects lists the compose projects of the host: name, containers, running ones.
func (e *Engine) Projects(ctx context.Context) (map[string][2]int, error) {
	list, err := e.list(ctx, labelProject)
	if err != nil {
		return nil, err
	}
	projects := map[string][2]int{}
	for _, c := range list {
		counts := projects[c.Labels[labelProject]]
		counts[0]++
		if c.State == "running" {
			counts[1]++
		}
		projects[c.Labels[labelProject]] = counts
	}
	return projects, nil
}

// NginxProjects lists the projects that have a container with tvs.nginx.
func (e *Engine) NginxProjects(ctx context.Context) ([]string, error) {
	list, err := e.list(ctx, labelNginx)
	if err != nil {
		return nil, err
	}
	names := map[string]bool{}
	for _, c := range list {
		if name := c.Labels[labelProject]; name != "" {
			names[name] = true
		}
	}
	return slices.Sorted(maps.Keys(names)), nil
}

func (e *Engine) list(ctx context.Context, label string) ([]container.Summary, error) {
	if err := e.negotiate(ctx); err != nil {
		return nil, explain(err)
	}
	list, err := e.api.ContainerList(ctx, container.ListOptions{All: true, Filters: filters.NewArgs(
		filters.Arg("label", label), filters.Arg("label", labelOneOff+"=False"))})
	return list, explain(err)
}

// Observe takes a snapshot of a project. kept are the create specs to use for
// services that have no replica now.
func (e *Engine) Observe(ctx context.Context, name string, kept map[string]*Spec) (*Project, error) {
	list, err := e.list(ctx, labelProject+"="+name)
	if err != nil {
		return nil, err
	}
	details := make([]*container.InspectResponse, len(list))
	errs := make([]error, len(list))
	var group sync.WaitGroup
	slots := make(chan struct{}, parallel)
	for i, c := range list {
		if details[i] = e.watches.seen(c); details[i] != nil {
			continue
		}
		group.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			details[i], errs[i] = e.inspect(ctx, c)
		})
	}
	group.Wait()
	var present []container.InspectResponse
	for i, detail := range details {
		if isNotFound(errs[i]) {
			continue // removed since it was listed
		}
		if errs[i] != nil {
			return nil, explain(errs[i])
		}
		present = append(present, *detail)
	}
	return assemble(name, present, kept), nil
}

// assemble sorts inspected containers into services.
func assemble(name string, containers []container.InspectResponse, kept map[string]*Spec) *Project {
	p := &Project{Name: name, Backends: map[string]Backend{}}
	newest := map[string]container.InspectResponse{}
	replicas := map[string][]Replica{}
	for _, c := range containers {
		service := c.Config.Labels[labelService]
		replicas[service] = append(replicas[service], readReplica(c))
		if last, ok := newest[service]; !ok || readTime(c.Created).After(readTime(last.Created)) {
			newest[service] = c
		}
	}
	for _, service := range slices.Sorted(maps.Keys(replicas)) {
		list := replicas[service]
		slices.SortFunc(list, func(a, b Replica) int {
			return cmp.Or(cmp.Compare(a.Number, b.Number), cmp.Compare(a.ID, b.ID))
		})
		spec := newSpec(newest[service])
		p.Services = append(p.Services, describe(service, spec, list))
		if files := readFiles(spec.Config.Labels); len(files.Compose) > 0 {
			p.Files = files
		}
	}
	for service, spec := range kept {
		if _, there := replicas[service]; !there && spec != nil && len(containers) > 0 {
			p.Services = append(p.Services, describe(service, spec, nil))
		}
	}
	slices.SortFunc(p.Services, func(a, b Service) int { return cmp.Compare(a.Name, b.Name) })
	for _, nginx := range p.Nginx() {
		for _, backend := range nginx.Settings.Balances {
			if other, is := p.Backends[backend.Service]; is && other.Port != backend.Port {
				nginx.Settings.Problems = append(nginx.Settings.Problems, fmt.Sprintf(
					"another nginx has port %d of %s, and this one %d: only whether %d is open is looked at", other.Port, backend.Service, backend.Port, backend.Port))
			}
			p.Backends[backend.Service] = backend
		}
	}
	return p
}

func describe(name string, spec *Spec, replicas []Replica) Service {
	return Service{Name: name, Replicas: replicas, Spec: spec,
		Settings: readSettings(spec.Config.Labels), DependsOn: readDependencies(spec.Config.Labels[labelDependsOn])}
}

// readDependencies reads "storage:service_started:false,cache:service_healthy:true".
func readDependencies(label string) []string {
	var names []string
	for part := range strings.SplitSeq(label, ",") {
		name, condition, _ := strings.Cut(part, ":")
		if name != "" && !strings.HasPrefix(condition, "service_completed_successfully") {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

func readFiles(labels map[string]string) Files {
	files := Files{Directory: labels[labelWorkingDir]}
	for part := range strings.SplitSeq(labels[labelConfigFiles], ",") {
		if part != "" {
			files.Compose = append(files.Compose, part)
		}
	}
	for part := range strings.SplitSeq(labels[labelEnvFile], ",") {
		if part != "" {
			files.Env = append(files.Env, part)
		}
	}
	return files
}
