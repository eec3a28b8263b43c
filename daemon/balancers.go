package daemon

import (
	"context"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"tvsctl/dockerops"
	"tvsctl/nginx"
)

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

// unit is one systemd unit, as nginx.Host wants it.
type unit struct {
	d    *Daemon
	name string
}

func (u unit) Reload(ctx context.Context) error { return u.d.units.Reload(ctx, u.name) }

func (u unit) MainPID(ctx context.Context) (int, error) {
	state, err := u.d.units.State(ctx, u.name)
	return state.MainPID, err
}

// findBalancers returns the nginx that run now. One that was not known, because
// it is new or was restarted, is asked for its facts.
func (s *site) findBalancers(ctx context.Context, p *dockerops.Project, host *hostNginx) ([]*balancer, error) {
	found := map[string]*balancer{}
	for _, service := range p.Nginx() {
		for _, r := range service.Replicas {
			if !r.Running() {
				continue
			}
			key := r.ID + "@" + r.Started.String()
			found[key] = &balancer{name: r.Name, service: service.Name, state: r.State, since: r.Started,
				control: &nginx.Container{Label: r.Name, Dir: service.Settings.UpstreamDir, Exec: executor{s.d.engine, r.ID}}}
		}
	}
	if host != nil {
		state, err := s.d.units.State(ctx, host.Unit)
		if err != nil {
			return nil, err
		}
		if state.MainPID != 0 {
			key := fmt.Sprintf("%s@%d", host.Unit, state.MainPID)
			found[key] = &balancer{name: host.Unit, state: state.ActiveState, since: state.Since,
				control: &nginx.Host{Label: host.Unit, Dir: path.Clean(host.Upstreams), Unit: unit{s.d, host.Unit}}}
		}
	}
	s.mu.Lock()
	known := s.balancers
	s.mu.Unlock()
	for key, fresh := range found {
		if old := known[key]; old != nil {
			found[key] = old
			continue
		}
		if err := s.meet(ctx, p, host, fresh); err != nil {
			return nil, err
		}
	}
	s.mu.Lock()
	s.balancers = found
	s.mu.Unlock()
	return sortBalancers(found), nil
}

func sortBalancers(found map[string]*balancer) []*balancer {
	return slices.SortedFunc(maps.Values(found), func(a, b *balancer) int { return strings.Compare(a.name, b.name) })
}

// meet asks an nginx what it has in force. What a start script wrote is not what
// we would: names in it were resolved at its start and may be stale by now.
func (s *site) meet(ctx context.Context, p *dockerops.Project, host *hostNginx, b *balancer) error {
	facts, err := b.control.Facts(ctx)
	if err != nil {
		return err
	}
	b.facts = facts
	present := map[string][]byte{}
	for _, backend := range s.backendsOf(p, host, b) {
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
