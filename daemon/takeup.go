package daemon

import (
	"context"
	"maps"
	"sync"

	"tvsctl/dockerops"
	"tvsctl/nginx"
)

// leaving returns the replicas that an operation which is taken up lets retire.
type leaving func(p *dockerops.Project) []dockerops.Replica

// takeUp holds back, before the guard looks, what an earlier life of an operation made, and
// lets holdLeaving do so with what has left nginx.
func (s *site) takeUp(o *operation) {
	s.mu.Lock()
	defer s.mu.Unlock()
	decided := o.job.Decided
	switch {
	case decided == nil:
		for _, r := range s.d.state.project(s.name).Rollouts {
			if r.Operation == o.record.ID && !r.Back {
				s.leaving = r.leaving
			}
		}
	case decided.Restart == nil: // of a restart what is new is as what was there
		s.leaving = decided.leaving
		maps.Copy(s.heldAbove, decided.Highest)
		for id, ran := range decided.Before {
			if !ran {
				s.held[id] = false
			}
		}
	}
}

// leaving are the replicas that a change stops or removes.
func (d *decided) leaving(p *dockerops.Project) (list []dockerops.Replica) {
	for name, goal := range d.Goals {
		service := p.Service(name)
		if service == nil {
			continue
		}
		stays := map[string]bool{}
		for _, r := range service.Within(goal.Count) {
			stays[r.ID] = goal.Running
		}
		for _, r := range service.Replicas {
			if !stays[r.ID] {
				list = append(list, r)
			}
		}
	}
	return list
}

func (r *rollout) leaving(p *dockerops.Project) (list []dockerops.Replica) {
	if service := p.Service(r.Service); service != nil {
		list = keep(service.Replicas, func(replica dockerops.Replica) bool {
			_, old := r.Old[replica.ID]
			return old
		})
	}
	return list
}

// holdLeaving keeps out what no nginx serves any more because an earlier life of the operation
// has let it retire: Docker may be about to end it, and says that it runs until then.
func (s *site) holdLeaving(ctx context.Context, p *dockerops.Project, running []*balancer) {
	s.mu.Lock()
	leaves := s.leaving
	s.leaving = nil
	s.mu.Unlock()
	if leaves == nil {
		return
	}
	var group sync.WaitGroup
	for _, b := range running {
		group.Go(func() { _ = s.meet(ctx, b) }) // it is met again before it is published to
	}
	group.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	served := map[string]bool{}
	for _, b := range running {
		if b.published == nil {
			return // what it serves is not known
		}
		for _, contents := range b.published {
			if upstream, err := nginx.ParseUpstream(contents); err == nil {
				for _, server := range upstream.Servers {
					served[server.Replica] = true
				}
			}
		}
	}
	for _, r := range leaves(p) {
		if !served[r.Name] {
			s.held[r.ID] = false
		}
	}
}
