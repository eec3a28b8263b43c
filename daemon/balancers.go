package daemon

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"tvsctl/dockerops"
	"tvsctl/nginx"
)

// balancer is one running nginx and what is known of it. What findBalancers sets
// belongs to whoever publishes; the rest is guarded by the site's mu.
type balancer struct {
	name     string // replica or unit
	service  string // compose service; empty for a unit
	state    string
	since    time.Time
	backends []dockerops.Backend
	peers    []dockerops.Replica // itself; none for a unit, which reaches every address
	control  control

	met bool // facts and published hold
	// seen is whether they are those of an earlier life of the daemon. Who only looks is told
	// them: the guard asks nginx itself right after a start, which takes as long as the start.
	seen      bool
	facts     nginx.Facts
	published map[string][]byte // the files in force, by name; nil when that is not known
	problem   string            // of the last attempt to reach it or to publish
}

// control is how one nginx is worked: nginx.Container or nginx.Host.
type control interface {
	Facts(ctx context.Context) (nginx.Facts, error)
	Publish(ctx context.Context, files map[string][]byte) error
	Reload(ctx context.Context) error
	Test(ctx context.Context) (ok bool, output []string, err error)
	Drain(ctx context.Context) error
	Writable(ctx context.Context) error
}

// executor runs programs in one container.
type executor struct {
	engine *dockerops.Engine
	id     string
}

func (e executor) Start(ctx context.Context, argv []string) (nginx.Process, error) {
	x, err := e.engine.StartExec(ctx, e.id, argv)
	if err != nil {
		return nil, err // not a nil *Exec in a Process that is not nil
	}
	return x, nil
}

// findBalancers returns the nginx that run now, sorted by name, those that were
// known with what is known of them.
func (s *site) findBalancers(ctx context.Context, p *dockerops.Project, host *hostNginx) ([]*balancer, error) {
	found := map[string]*balancer{}
	for _, service := range p.Nginx() {
		for _, r := range service.Replicas {
			if !r.Running() {
				continue
			}
			found[r.ID+"@"+r.Started.String()] = &balancer{name: r.Name, service: service.Name, state: r.State, since: r.Started,
				backends: service.Settings.Balances, peers: []dockerops.Replica{r},
				control: &nginx.Container{Label: r.Name, Dir: service.Settings.UpstreamDir, Exec: executor{s.d.engine, r.ID}}}
		}
	}
	if host != nil {
		state, err := s.d.units.State(ctx, host.Unit)
		if err != nil {
			return nil, err
		}
		if state.MainPID != 0 {
			found[fmt.Sprintf("%s@%d", host.Unit, state.MainPID)] = &balancer{name: host.Unit, state: state.ActiveState, since: state.Since,
				backends: host.backends,
				control:  &nginx.Host{Label: host.Unit, Dir: path.Clean(host.Upstreams), Unit: unit{s.d, host.Unit}}}
		}
	}
	seen := s.d.state.project(s.name).Seen
	s.mu.Lock()
	defer s.mu.Unlock()
	for key, fresh := range found {
		if old := s.balancers[key]; old != nil {
			old.state, old.backends, old.peers = fresh.state, fresh.backends, fresh.peers
			found[key] = old
		} else if before, known := seen[key]; known {
			fresh.seen, fresh.facts, fresh.published = true, before.Facts, before.Published
		}
	}
	s.balancers = found
	return sortBalancers(found), nil
}

func sortBalancers(found map[string]*balancer) []*balancer {
	return slices.SortedFunc(maps.Values(found), func(a, b *balancer) int { return strings.Compare(a.name, b.name) })
}

// meet asks an nginx that is new, was restarted, or was reloaded by somebody's
// command what it has in force. What a start script wrote is not what we would:
// names in it were resolved at its start and may be stale by now.
func (s *site) meet(ctx context.Context, b *balancer) error {
	s.mu.Lock()
	met := b.met
	s.mu.Unlock()
	if met {
		return nil
	}
	facts, err := b.control.Facts(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		b.problem = err.Error()
		return err
	}
	b.met, b.problem, b.facts, b.published = true, "", facts, nil
	present := map[string][]byte{}
	for _, backend := range b.backends {
		name := nginx.Upstream{Name: backend.Service}.File()
		contents, there := facts.Files[name]
		if !there {
			return nil
		}
		present[name] = contents
	}
	b.published = present
	return nil
}

// knows reports whether there is something to tell of an nginx without asking it.
func (s *site) knows(b *balancer) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return b.met || b.seen
}

// keepSeen keeps what is in force for the next life of the daemon.
func (s *site) keepSeen() {
	s.mu.Lock()
	seen := map[string]seenNginx{}
	for key, b := range s.balancers {
		if b.met && b.published != nil {
			seen[key] = seenNginx{b.facts, b.published}
		}
	}
	s.mu.Unlock()
	// A next life without it asks nginx.
	_ = s.d.state.update(s.name, func(k *projectState) { k.Seen = seen })
}

// forget makes the next look ask every nginx anew.
func (s *site) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, b := range s.balancers {
		b.met, b.seen = false, false
	}
}

// publishTo gives one nginx its files, unless it has them.
func (s *site) publishTo(ctx context.Context, b *balancer, files map[string][]byte) error {
	s.mu.Lock()
	same, facts := b.published != nil && maps.EqualFunc(b.published, files, slices.Equal), b.facts
	s.mu.Unlock()
	if same {
		return nil
	}
	var err error
	if facts.Includes {
		all := maps.Clone(files)
		if facts.NeedsGrace {
			all[nginx.GraceFile] = nginx.Grace()
		}
		err = b.control.Publish(ctx, all)
	} else {
		err = b.control.Reload(ctx)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		// It may have come to some of it: what is in force has to be found out again.
		if b.published = nil; !errors.Is(ctx.Err(), context.Canceled) {
			b.problem = err.Error()
		}
		return err
	}
	b.problem, b.published = "", files
	return nil
}

// render makes the files of one nginx, with addresses that it can reach.
func (b *balancer) render(project string, members map[string][]dockerops.Replica) map[string][]byte {
	files := map[string][]byte{}
	for _, backend := range b.backends {
		u := nginx.Upstream{Name: backend.Service, Project: project}
		for _, r := range members[backend.Service] {
			if endpoint := r.Endpoint(b.peers, backend.Port); endpoint != "" {
				u.Servers = append(u.Servers, nginx.Server{Address: endpoint, Replica: r.Name})
			}
		}
		files[u.File()] = u.Render()
	}
	return files
}

// publicationPatience is how long a reader waits for a publication under way before
// it takes what was known before.
const publicationPatience = time.Second

// lockForLook locks as lock does, but waits neither for long, nor for a guard that asks
// nginx for the first time what an earlier life knew.
func (s *site) lockForLook(ctx context.Context) bool {
	patience := time.NewTimer(publicationPatience)
	defer patience.Stop()
	ticker := time.NewTicker(publicationPatience / 100)
	defer ticker.Stop()
	for {
		select {
		case s.publishing <- struct{}{}:
			return true
		case <-ticker.C:
			if s.remembers() {
				return false
			}
		case <-patience.C:
			return false
		case <-ctx.Done():
			return false
		}
	}
}

// remembers reports whether what an earlier life knew is all that there is to tell.
func (s *site) remembers() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	asked := len(s.balancers) > 0
	for _, b := range s.balancers {
		asked = asked && b.seen && !b.met
	}
	return asked
}

// balancersNow returns the running nginx, with what is in force in them. One that
// cannot be asked has its problem.
func (s *site) balancersNow(ctx context.Context, p *dockerops.Project, host *hostNginx) ([]*balancer, error) {
	if !s.lockForLook(ctx) {
		s.mu.Lock()
		defer s.mu.Unlock()
		return sortBalancers(s.balancers), nil
	}
	defer s.unlock()
	running, err := s.findBalancers(ctx, p, host)
	if err != nil {
		return nil, err
	}
	var group sync.WaitGroup
	for _, b := range running {
		if s.knows(b) {
			continue
		}
		group.Go(func() { _ = s.meet(ctx, b) }) // its error is b's problem
	}
	group.Wait()
	return running, nil
}
