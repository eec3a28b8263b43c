package daemon

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"tvsctl/dockerops"
	"tvsctl/nginx"
)

// site is what the daemon knows of one project while it lives: whose turn it is to
// change it, and what its nginx serve.
type site struct {
	d    *Daemon
	name string
	// turn holds a value while an operation changes the project; senders wait in line.
	turn chan struct{}

	// publishing holds a value from observing to the end of the publication, so that
	// an older view never replaces a newer one.
	publishing chan struct{}

	mu        sync.Mutex
	held      map[string]bool      // containers that stay out of the upstreams
	listening map[string]time.Time // by container: the start after which its port was seen open
	balancers map[string]*balancer // by instance: container id and start, or unit and main pid
	members   map[string][]nginx.Server
}

// balancer is one running nginx and what is known of it.
type balancer struct {
	name    string // replica or unit
	service string // compose service; empty for a unit
	state   string
	since   time.Time
	control control
	facts   nginx.Facts
	// published are the files in force, by name.
	published map[string][]byte
	problem   string // of the last attempt to publish
}

// control is how one nginx is worked: nginx.Container or nginx.Host.
type control interface {
	Facts(ctx context.Context) (nginx.Facts, error)
	Publish(ctx context.Context, files map[string][]byte) error
	Reload(ctx context.Context) error
	Test(ctx context.Context) (ok bool, output []string, err error)
	Drain(ctx context.Context) error
}

// site returns the project's site, which it makes.
func (d *Daemon) site(name string) *site {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := d.sites[name]
	if s == nil {
		s = &site{d: d, name: name, turn: make(chan struct{}, 1), publishing: make(chan struct{}, 1), held: map[string]bool{},
			listening: map[string]time.Time{}, balancers: map[string]*balancer{}}
		d.sites[name] = s
	}
	return s
}

// observe takes a snapshot of a project. The second result is the host's nginx
// of its configuration, if any.
func (d *Daemon) observe(ctx context.Context, name string) (*dockerops.Project, *hostNginx, error) {
	config, err := readProjectConfig(d.config.ProjectDir, name)
	if err != nil {
		return nil, nil, err
	}
	p, err := d.engine.Observe(ctx, name, d.state.project(name).Specs)
	if err != nil {
		return nil, nil, err
	}
	if config.Nginx != nil {
		for _, backend := range config.Nginx.backends {
			p.Backends[backend.Service] = backend
		}
	}
	return p, config.Nginx, nil
}

// Hold keeps containers out of the upstreams until an operation publishes or ends.
func (s *site) Hold(ids ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, id := range ids {
		s.held[id] = true
	}
}

// Prepare starts what the nginx that are known will need for the publication.
func (s *site) Prepare(ctx context.Context) {
	for _, c := range s.containers() {
		c.Prepare(ctx)
	}
}

func (s *site) containers() []*nginx.Container {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []*nginx.Container
	for _, b := range s.balancers {
		if c, ok := b.control.(*nginx.Container); ok {
			list = append(list, c)
		}
	}
	return list
}

// releaseAll lets every container be judged by its readiness alone.
func (s *site) releaseAll() {
	s.mu.Lock()
	s.held = map[string]bool{}
	s.mu.Unlock()
	for _, c := range s.containers() {
		c.Release()
	}
	s.d.lookAgain(s.name)
}

// Publish makes every running nginx serve the ready replicas, with those that
// join and without those that retire.
func (s *site) Publish(ctx context.Context, join, retire []string) error {
	s.mu.Lock()
	before := maps.Clone(s.held)
	for _, id := range join {
		delete(s.held, id)
	}
	for _, id := range retire {
		s.held[id] = true
	}
	s.mu.Unlock()
	err := s.sync(ctx)
	if err != nil {
		// What joined is about to be taken back: it must not slip in by the guard.
		s.mu.Lock()
		s.held = before
		s.mu.Unlock()
	}
	return err
}

// sync makes the upstreams what they should be now. It reloads only an nginx whose
// files change.
func (s *site) sync(ctx context.Context) error {
	s.publishing <- struct{}{}
	defer func() { <-s.publishing }()
	p, host, err := s.d.observe(ctx, s.name)
	if err != nil {
		return err
	}
	running, err := s.findBalancers(ctx, p, host)
	if err != nil {
		return err
	}
	members := s.choose(ctx, p)
	errs := make([]error, len(running))
	var group sync.WaitGroup
	for i, b := range running {
		group.Go(func() { errs[i] = s.publishTo(ctx, b, s.render(p, host, b, members)) })
	}
	group.Wait()
	for _, err := range errs {
		if err != nil {
			return err // one nginx's refusal is enough to say
		}
	}
	if len(running) > 0 {
		s.tell(members)
	}
	return nil
}

func (s *site) publishTo(ctx context.Context, b *balancer, files map[string][]byte) error {
	if b.published != nil && maps.EqualFunc(b.published, files, slices.Equal) {
		return nil
	}
	var err error
	if b.facts.Includes {
		all := maps.Clone(files)
		if b.facts.NeedsGrace {
			all[nginx.GraceFile] = nginx.Grace()
		}
		err = b.control.Publish(ctx, all)
	} else {
		err = b.control.Reload(ctx)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		b.problem = err.Error()
		return err
	}
	b.problem, b.published = "", files
	return nil
}

// render makes the files of one nginx: those of the services that it balances.
func (s *site) render(p *dockerops.Project, host *hostNginx, b *balancer, members map[string][]nginx.Server) map[string][]byte {
	files := map[string][]byte{}
	for _, backend := range s.backendsOf(p, host, b) {
		u := nginx.Upstream{Name: backend.Service, Project: p.Name, Servers: members[backend.Service]}
		files[u.File()] = u.Render()
	}
	return files
}

func (s *site) backendsOf(p *dockerops.Project, host *hostNginx, b *balancer) []dockerops.Backend {
	if b.service == "" {
		return host.backends
	}
	return p.Service(b.service).Settings.Balances
}

// Drain returns when no nginx has workers of an older configuration left.
func (s *site) Drain(ctx context.Context) error {
	s.mu.Lock()
	running := slices.Collect(maps.Values(s.balancers))
	s.mu.Unlock()
	errs := make([]error, len(running))
	var group sync.WaitGroup
	for i, b := range running {
		group.Go(func() { errs[i] = b.control.Drain(ctx) })
	}
	group.Wait()
	return errors.Join(errs...)
}

// choose returns the members of each balanced service's upstream.
func (s *site) choose(ctx context.Context, p *dockerops.Project) map[string][]nginx.Server {
	members := map[string][]nginx.Server{}
	for name, backend := range p.Backends {
		members[name] = nil
		service := p.Service(name)
		if service == nil {
			continue
		}
		probe := p.Probe(name)
		s.look(ctx, service.Replicas, probe)
		s.mu.Lock()
		serving := eligible(service.Replicas, s.held, s.listening)
		s.mu.Unlock()
		for _, r := range serving {
			if address := r.Address(probe.Peers); address != "" {
				members[name] = append(members[name], nginx.Server{Address: fmt.Sprintf("%s:%d", address, backend.Port), Replica: r.Name})
			}
		}
	}
	return members
}

// eligible returns the replicas that should serve: those that are ready, and where
// none is, those that are unhealthy, for a failing shared dependency must not empty
// the upstream. One that has ended never serves.
func eligible(replicas []dockerops.Replica, held map[string]bool, listening map[string]time.Time) []dockerops.Replica {
	var ready, unhealthy []dockerops.Replica
	for _, r := range replicas {
		if !r.Running() || held[r.ID] {
			continue
		}
		switch r.Health {
		case "healthy":
			ready = append(ready, r)
		case "unhealthy":
			unhealthy = append(unhealthy, r)
		case "":
			if since, ok := listening[r.ID]; ok && since.Equal(r.Started) {
				ready = append(ready, r)
			}
		}
	}
	if len(ready) == 0 {
		return unhealthy
	}
	return ready
}

// look probes the running replicas without a health check whose port was not yet
// seen open since they started.
func (s *site) look(ctx context.Context, replicas []dockerops.Replica, probe dockerops.Probe) {
	var group sync.WaitGroup
	for _, r := range replicas {
		s.mu.Lock()
		since, known := s.listening[r.ID]
		s.mu.Unlock()
		if !r.Running() || r.Health != "" || known && since.Equal(r.Started) {
			continue
		}
		group.Go(func() {
			if probe.Listens(ctx, r) {
				s.mu.Lock()
				s.listening[r.ID] = r.Started
				s.mu.Unlock()
			}
		})
	}
	group.Wait()
}

// awaited reports whether a running replica is not yet ready by its port, so that
// only another look can tell.
func (s *site) awaited(p *dockerops.Project) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name := range p.Backends {
		service := p.Service(name)
		if service == nil {
			continue
		}
		for _, r := range service.Replicas {
			if since, ok := s.listening[r.ID]; r.Running() && r.Health == "" && !(ok && since.Equal(r.Started)) {
				return true
			}
		}
	}
	return false
}

// tell writes to the journal who joined and left the upstreams since last time.
func (s *site) tell(members map[string][]nginx.Server) {
	s.mu.Lock()
	before := s.members
	s.members = members
	s.mu.Unlock()
	for _, service := range slices.Sorted(maps.Keys(members)) {
		names := func(list []nginx.Server) []string {
			var text []string
			for _, m := range list {
				text = append(text, m.Replica)
			}
			slices.Sort(text)
			return text
		}
		now, then := names(members[service]), names(before[service])
		if before != nil && slices.Equal(now, then) {
			continue
		}
		sentence := fmt.Sprintf("nginx serves %s from %s.", service, strings.Join(now, ", "))
		if len(now) == 0 {
			sentence = fmt.Sprintf("nginx serves %s from nobody and answers 502.", service)
		}
		s.d.log.info(eventUpstream, sentence, fields{"TVS_PROJECT": s.name, "TVS_SERVICE": service,
			"TVS_MEMBERS": strings.Join(now, " ")})
	}
}
