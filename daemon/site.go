package daemon

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"tvsctl/dockerops"
	"tvsctl/nginx"
)

// site is what the daemon knows of one project while it lives: whose turn it is to
// change it, and what its nginx serve.
type site struct {
	d    *Daemon
	name string
	// active is whether an operation has its turn.
	active atomic.Bool
	// publishing holds a value from observing to the end of the publication, so that
	// an older view never replaces a newer one.
	publishing chan struct{}
	// unsettled is whether the guard has yet to decide why a replica ended.
	unsettled atomic.Bool

	mu        sync.Mutex
	last      <-chan struct{}      // closed when the operation that came last is over
	held      map[string]bool      // containers that stay out of the upstreams, and whether they retire
	heldAbove map[string]int       // and by service those with a higher number
	listening map[string]time.Time // by container: the start after which its port was seen open
	balancers map[string]*balancer // by instance: container id and start, or unit and main pid
	serving   map[string][]string  // by service: the replicas in the upstreams, as last told
	members   map[string]bool      // the containers of those; nil while that is not known
}

// site returns the project's site, which it makes.
func (d *Daemon) site(name string) *site {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := d.sites[name]
	if s == nil {
		s = &site{d: d, name: name, publishing: make(chan struct{}, 1),
			held: map[string]bool{}, heldAbove: map[string]int{}, listening: map[string]time.Time{}, balancers: map[string]*balancer{}}
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
	kept := d.state.project(name)
	if len(config.Services) > 0 {
		p, err := d.observeUnits(ctx, name, config, kept)
		if err == nil && config.Nginx != nil {
			for _, backend := range config.Nginx.backends {
				p.Backends[backend.Service] = backend
			}
		}
		return p, config.Nginx, err
	}
	p, err := d.engine.Observe(ctx, name, kept.Specs)
	if err != nil {
		return nil, nil, err
	}
	for name, set := range kept.Limits {
		if service := p.Service(name); service != nil {
			service.Limits = set
		}
	}
	for _, r := range kept.Rollouts {
		switch {
		case !r.Paused:
			p.Retire(r.Service, r.Stopped(p))
		case !r.abandoned(p):
			p.Retire(r.Service, r.Retired)
		}
	}
	if config.Nginx != nil {
		for _, backend := range config.Nginx.backends {
			p.Backends[backend.Service] = backend
		}
	}
	// A kept spec is a service while nginx balances it or somebody scaled it to none;
	// else the service was removed from the compose file.
	p.Services = slices.DeleteFunc(p.Services, func(s dockerops.Service) bool {
		_, balanced := p.Backends[s.Name]
		count, asked := kept.Desired[s.Name]
		return len(s.Replicas) == 0 && !balanced && !(asked && count == 0)
	})
	return p, config.Nginx, nil
}

// changing reports whether an operation has its turn.
func (s *site) changing() bool { return s.active.Load() }

// enqueue puts an operation in line. It returns a channel that is closed when those
// before it are over; the operation closes over when it is.
func (s *site) enqueue(over <-chan struct{}) (before <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if before = s.last; before == nil {
		none := make(chan struct{})
		close(none)
		before = none
	}
	s.last = over
	return before
}

// lock begins a publication; unlock ends it.
func (s *site) lock(ctx context.Context) error {
	select {
	case s.publishing <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *site) unlock() { <-s.publishing }

// Hold keeps containers out of the upstreams until an operation publishes or ends.
func (s *site) Hold(ids ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, id := range ids {
		s.held[id] = false
	}
}

// HoldNew does so for the replicas of a service that will get numbers above one.
func (s *site) HoldNew(service string, above int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.heldAbove[service] = above
}

// holdMade holds back what an earlier life of an operation made.
func (s *site) holdMade(d *decided) {
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.Copy(s.heldAbove, d.Highest)
	for id, ran := range d.Before {
		if !ran {
			s.held[id] = false
		}
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
	s.held, s.heldAbove = map[string]bool{}, map[string]int{}
	s.mu.Unlock()
	for _, c := range s.containers() {
		c.Release()
	}
	s.d.lookAgain(s.name)
}

// Publish makes every running nginx serve the ready replicas, with those that
// join and without those that retire. When one refuses, the others go back too.
func (s *site) Publish(ctx context.Context, join, retire []string) error {
	// A look that began before the exchange and chose after it would leave out both.
	if err := s.lock(ctx); err != nil {
		return err
	}
	err, notBack := s.exchange(ctx, join, retire)
	s.unlock()
	if err == nil || notBack != nil && len(s.containers()) < 2 {
		return err // the one that refuses goes on refusing, and has what it had
	}
	// An nginx that served what joined has left it: it finishes the requests that it has
	// sent there.
	back, cancel := context.WithTimeout(context.WithoutCancel(ctx), dockerops.DefaultDrain)
	defer cancel()
	if drainErr := s.Drain(back); drainErr != nil && !errors.Is(drainErr, context.DeadlineExceeded) {
		s.d.log.warning(eventNginx, "Cannot drain what is taken back: "+drainErr.Error()+".", fields{"TVS_PROJECT": s.name})
	}
	return err
}

// exchange publishes with other holds, and without them again when that fails. The caller
// has the lock.
func (s *site) exchange(ctx context.Context, join, retire []string) (err, notBack error) {
	s.mu.Lock()
	before, beforeAbove := maps.Clone(s.held), maps.Clone(s.heldAbove)
	for _, id := range join {
		delete(s.held, id)
	}
	for _, id := range retire {
		s.held[id] = true
	}
	clear(s.heldAbove)
	s.mu.Unlock()
	if err = s.syncLocked(ctx); err == nil {
		return nil, nil
	}
	s.mu.Lock()
	s.held, s.heldAbove = before, beforeAbove
	s.mu.Unlock()
	back, cancel := context.WithTimeout(context.WithoutCancel(ctx), dockerops.DefaultDrain)
	defer cancel()
	return err, s.syncLocked(back)
}

// Withdraw lets no nginx serve what is about to be taken back, and drains those that did
// because nobody else was ready.
func (s *site) Withdraw(ctx context.Context, ids ...string) error {
	if err := s.lock(ctx); err != nil {
		return err
	}
	s.mu.Lock()
	served := s.members == nil
	for _, id := range ids {
		s.held[id] = true
		served = served || s.members[id]
	}
	s.mu.Unlock()
	var err error
	if served {
		err = s.syncLocked(ctx)
	}
	s.unlock()
	if err != nil || !served {
		return err
	}
	return s.Drain(ctx)
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

// sync makes the upstreams what they should be now. It reloads only an nginx whose
// files change, and one that cannot be reached does not hold up the others.
func (s *site) sync(ctx context.Context) error {
	if err := s.lock(ctx); err != nil {
		return err
	}
	defer s.unlock()
	return s.syncLocked(ctx)
}

// syncLocked is sync for who has the lock.
func (s *site) syncLocked(ctx context.Context) error {
	before := s.holding()
	p, host, err := s.d.observe(ctx, s.name)
	if err != nil {
		return err
	}
	running, err := s.findBalancers(ctx, p, host)
	if err != nil {
		return err
	}
	members := s.choose(ctx, p, before)
	errs := make([]error, len(running))
	var group sync.WaitGroup
	for i, b := range running {
		group.Go(func() {
			if errs[i] = s.meet(ctx, b); errs[i] == nil {
				errs[i] = s.publishTo(ctx, b, b.render(p.Name, members))
			}
		})
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
