package daemon

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"tvsctl/dockerops"
	"tvsctl/ipc"
	"tvsctl/systemd"
)

// unitService is a service of a project's file whose replicas are the instances of a
// template unit, each named after the port on 127.0.0.1 that it listens on:
//
//	[services.webapp]
//	unit          = "tvsapp@.service"
//	base_port     = 35000                      # of the first one, the others follow
//	max           = 16                         # that there may be, which is also the default
//	min           = 1                          # optional, as are all that follow
//	database      = "tvsapp-storage.service"   # what it depends on
//	drain         = "30s"                      # how long requests in flight may take to end
//	ready_timeout = "60s"                      # how long one without Type=notify may take to listen
//	match         = "PORT ([0-9]+)"            # finds its port in a page, for tvsctl verify
type unitService struct {
	Unit         string `toml:"unit"`
	BasePort     int    `toml:"base_port"`
	Min          int    `toml:"min"`
	Max          int    `toml:"max"`
	Database     string `toml:"database"`
	Drain        string `toml:"drain"`
	ReadyTimeout string `toml:"ready_timeout"`
	Match        string `toml:"match"`

	drain, readyTimeout time.Duration
}

const (
	defaultInstances    = 16
	defaultUnitReady    = 60 * time.Second
	defaultUnitMatch    = `PORT[:=]?\s*(?:</?[a-z]+>\s*)*([0-9]+)`
	maxInstanceDuration = time.Hour
)

// check completes what the file says of a service, or says what is wrong with it.
func (u *unitService) check(name string) (err error) {
	if !dockerops.ValidServiceName(name) {
		return fmt.Errorf("%q is not the name of a service", name)
	}
	if full, err := systemd.UnitName(u.Unit); err != nil || full != u.Unit || !systemd.Template(u.Unit) || !strings.HasSuffix(u.Unit, ".service") {
		return fmt.Errorf("services.%s.unit: %q is not the name of a template such as app@.service", name, u.Unit)
	}
	if u.Max == 0 {
		u.Max = defaultInstances
	}
	switch {
	case u.Max < 1 || u.Max > ipc.MaxReplicas:
		return fmt.Errorf("services.%s.max: %d is not a number of instances from 1 to %d", name, u.Max, ipc.MaxReplicas)
	case u.Min < 0 || u.Min > u.Max:
		return fmt.Errorf("services.%s.min: %d is not a number of instances from 0 to %d", name, u.Min, u.Max)
	case u.BasePort < 1 || u.last() > 65535:
		return fmt.Errorf("services.%s.base_port: %d is not a port with room for %d instances", name, u.BasePort, u.Max)
	}
	if u.Database != "" {
		if full, err := systemd.UnitName(u.Database); err != nil || full != u.Database || systemd.Template(u.Database) {
			return fmt.Errorf("services.%s.database: %q is not the full name of a unit", name, u.Database)
		}
	}
	if u.Match == "" {
		u.Match = defaultUnitMatch
	}
	if _, err := regexp.Compile(u.Match); err != nil {
		return fmt.Errorf("services.%s.match: %q is not a regular expression", name, u.Match)
	}
	if u.drain, err = readSpan(u.Drain, dockerops.DefaultDrain); err != nil {
		return fmt.Errorf("services.%s.drain: %v", name, err)
	}
	if u.readyTimeout, err = readSpan(u.ReadyTimeout, defaultUnitReady); err != nil {
		return fmt.Errorf("services.%s.ready_timeout: %v", name, err)
	}
	u.readyTimeout = cmp.Or(u.readyTimeout, defaultUnitReady)
	return nil
}

func readSpan(text string, otherwise time.Duration) (time.Duration, error) {
	if text == "" {
		return otherwise, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 || d > maxInstanceDuration {
		return 0, fmt.Errorf("%q is not a duration from 0s to 1h such as 30s", text)
	}
	return d, nil
}

// last is the highest port of an instance.
func (u *unitService) last() int { return u.BasePort + u.Max - 1 }

// instance returns the port of an instance of the service, or 0.
func (u *unitService) instance(unit string) int {
	before, after, _ := strings.Cut(u.Unit, "@")
	text, is := strings.CutPrefix(unit, before+"@")
	port, err := strconv.Atoi(strings.TrimSuffix(text, after))
	if !is || err != nil || port < u.BasePort || port > u.last() || (&dockerops.Units{Unit: u.Unit, Base: port}).Name(port) != unit {
		return 0
	}
	return port
}

// checkServices completes the services of a project's file and the nginx that balances
// them, or says what is wrong with them.
func (c *projectConfig) checkServices() error {
	if len(c.Compose) > 0 {
		return fmt.Errorf("a project has compose files or services of units, not both")
	}
	names := slices.Sorted(maps.Keys(c.Services))
	for i, name := range names {
		u := c.Services[name]
		if err := u.check(name); err != nil {
			return err
		}
		for _, before := range names[:i] {
			if other := c.Services[before]; u.BasePort <= other.last() && other.BasePort <= u.last() {
				return fmt.Errorf("services %s and %s have ports in common", before, name)
			}
		}
		if u.Database != "" && c.Services[databaseName(u.Database)] != nil {
			return fmt.Errorf("services.%s.database: %s is also the name of a service", name, databaseName(u.Database))
		}
	}
	if c.Nginx == nil {
		return nil
	}
	balanced := names
	if c.Nginx.Balances != "" {
		balanced = strings.Split(strings.ReplaceAll(c.Nginx.Balances, " ", ""), ",")
	}
	for _, name := range balanced {
		if c.Services[name] == nil {
			return fmt.Errorf("nginx.balances: there is no service %q; the port is that of each instance", name)
		}
		c.Nginx.backends = append(c.Nginx.backends, dockerops.Backend{Service: name})
	}
	return nil
}

// databaseName is the name by which a database unit is a service.
func databaseName(unit string) string { return strings.TrimSuffix(unit, ".service") }

// concerns reports whether the project looks different when a unit changes.
func (c *projectConfig) concerns(unit string) bool {
	if c.Nginx != nil && c.Nginx.Unit == unit {
		return true
	}
	for _, u := range c.Services {
		if u.Database == unit || u.instance(unit) != 0 {
			return true
		}
	}
	return false
}

// observeUnits takes a snapshot of a project whose services are units: the instances
// that are desired, and all others that run.
func (d *Daemon) observeUnits(ctx context.Context, name string, c projectConfig, kept projectState) (*dockerops.Project, error) {
	p := &dockerops.Project{Name: name, Backends: map[string]dockerops.Backend{}}
	var patterns []string
	for _, u := range c.Services {
		before, after, _ := strings.Cut(u.Unit, "@")
		patterns = append(patterns, before+"@*"+after)
	}
	listed, err := d.units.List(ctx, patterns)
	if err != nil {
		return nil, err
	}
	databases := map[string]bool{}
	for _, service := range slices.Sorted(maps.Keys(c.Services)) {
		u := c.Services[service]
		s := dockerops.Service{Name: service, Units: &dockerops.Units{Unit: u.Unit, Base: kept.base(service, u), First: u.BasePort},
			Settings: dockerops.Settings{Min: u.Min, Max: u.Max, Drain: u.drain, ReadyTimeout: u.readyTimeout, Match: u.Match}}
		s.Settings.Max = u.last() - s.Units.Base + 1
		if s.Replicas, s.Settings.Problems, err = d.instances(ctx, &s, u, listed, kept.Desired[service]); err != nil {
			return nil, err
		}
		if u.Database != "" {
			s.DependsOn = []string{databaseName(u.Database)}
			databases[u.Database] = true
		}
		p.Services = append(p.Services, s)
	}
	for unit := range databases {
		found, err := d.units.Unit(ctx, unit)
		if err != nil {
			return nil, err
		}
		s := dockerops.Service{Name: databaseName(unit), Units: &dockerops.Units{Unit: unit}}
		s.Replicas = []dockerops.Replica{readInstance(s.Units.Instance(0), found)}
		if found.LoadState != "loaded" {
			s.Settings.Problems = []string{fmt.Sprintf("%s is %s", unit, found.LoadState)}
		}
		p.Services = append(p.Services, s)
	}
	slices.SortFunc(p.Services, func(a, b dockerops.Service) int { return strings.Compare(a.Name, b.Name) })
	return p, nil
}

// instances looks at those of a service that are desired, and at those that run beside
// them. What systemd has not in memory does not run.
func (d *Daemon) instances(ctx context.Context, s *dockerops.Service, u *unitService, listed []systemd.Listed, desired int) (replicas []dockerops.Replica, problems []string, err error) {
	// The first one is looked at in any case: it tells whether the template is there.
	loaded := map[int]*systemd.Unit{s.Units.Base: nil}
	for _, l := range listed {
		if port := u.instance(l.ID); port != 0 {
			loaded[port] = nil
		}
	}
	var group sync.WaitGroup
	var mu sync.Mutex
	for port := range maps.Clone(loaded) {
		group.Go(func() {
			found, failed := d.units.Unit(ctx, s.Units.Name(port))
			mu.Lock()
			defer mu.Unlock()
			if loaded[port] = found; failed != nil {
				err = failed
			}
		})
	}
	group.Wait()
	if err != nil {
		return nil, nil, err
	}
	var enabled []string
	for port := u.BasePort; port <= u.last(); port++ {
		r, wanted := s.Units.Instance(port), port >= s.Units.Base && port < s.Units.Base+desired
		found := loaded[port]
		if found != nil {
			r = readInstance(r, found)
			if found.FileState == "enabled" || found.FileState == "enabled-runtime" {
				enabled = append(enabled, r.Name)
			}
			switch {
			case found.LoadState == "not-found" && port == s.Units.Base:
				problems = append(problems, "there is no unit file "+u.Unit)
			case found.LoadState != "loaded" && found.LoadState != "not-found" && wanted:
				problems = append(problems, fmt.Sprintf("%s is %s", r.Name, found.LoadState))
			}
		}
		if wanted || r.Running() || r.State == "restarting" {
			replicas = append(replicas, r)
		}
	}
	if problem := portProblem(u.BasePort, u.last()); problem != "" {
		problems = append(problems, problem)
	}
	if len(enabled) > 0 {
		problems = append(problems, fmt.Sprintf("systemd starts %s at boot, however many are desired: systemctl disable %[1]s, tvsctld starts those that are", strings.Join(enabled, " ")))
	}
	return replicas, problems, nil
}

// readInstance says of a unit what is said of a container, in the same words.
func readInstance(r dockerops.Replica, u *systemd.Unit) dockerops.Replica {
	r.Created, r.Started, r.Finished = u.ActiveSince, u.ActiveSince, u.InactiveSince
	notify := strings.HasPrefix(u.Type, "notify")
	switch u.ActiveState {
	case "active", "reloading", "refreshing":
		if r.State = "running"; notify {
			r.Health = "healthy"
		}
	case "activating":
		if r.State, r.Health = "running", "starting"; strings.HasPrefix(u.SubState, "auto-restart") {
			r.State, r.Health = "restarting", ""
		}
	case "deactivating":
		r.State = "stopping"
	case "failed":
		r.State = "exited"
	default:
		if !u.InactiveSince.IsZero() {
			r.State = "exited"
		}
	}
	if r.ExitCode = u.ExitStatus; u.ExitCode > 1 { // by a signal, which a shell and Docker add to 128
		r.ExitCode += 128
	}
	return r
}

// stands reports whether a unit was not simply stopped: it runs, is about to, or failed.
func stands(r dockerops.Replica) bool {
	return r.State != "created" && (r.State != "exited" || r.ExitCode != 0)
}

// drift returns how many replicas of a service there are, and how many were asked for;
// asked is whether any number was.
func (k projectState) drift(s *dockerops.Service) (is, want int, asked bool) {
	want, asked = k.Desired[s.Name]
	if s.Units == nil {
		return len(s.Replicas), want, asked
	}
	if k.Stopped[s.Name] {
		want = 0
	}
	for _, r := range s.Replicas {
		if stands(r) && (want > 0 || r.Running()) {
			is++
		}
	}
	return is, want, asked
}

// base is the port of the first instance.
func (k projectState) base(service string, u *unitService) int {
	if base := k.Bases[service]; base >= u.BasePort && base <= u.last() {
		return base
	}
	return u.BasePort
}

// instanceCounts returns how many instances a project of units has, and how many run. The
// databases are nothing to guard.
func instanceCounts(p *dockerops.Project) (n, running int) {
	if p == nil {
		return 0, 0
	}
	for _, s := range p.Services {
		for _, r := range s.Replicas {
			if s.Units.Base > 0 {
				if n++; r.Running() || r.State == "restarting" {
					running++
				}
			}
		}
	}
	return n, running
}
