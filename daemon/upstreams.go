package daemon

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"tvsctl/dockerops"
)

// hold are the containers that stay out of the upstreams, and whether each retires; and by
// service the highest number of those that do not stay out.
type hold struct {
	ids   map[string]bool
	above map[string]int
}

func (h hold) of(r dockerops.Replica, service string) (held, retires bool) {
	above, some := h.above[service]
	retires, held = h.ids[r.ID]
	return held || some && r.Number > above, retires
}

// holding returns what is held now.
func (s *site) holding() hold {
	s.mu.Lock()
	defer s.mu.Unlock()
	return hold{maps.Clone(s.held), maps.Clone(s.heldAbove)}
}

// choose returns the replicas that should serve, for each balanced service. What was held
// before they were observed stays out too: it may have been stopped and removed since,
// and its hold be over.
func (s *site) choose(ctx context.Context, p *dockerops.Project, before hold) map[string][]dockerops.Replica {
	members := map[string][]dockerops.Replica{}
	for name := range p.Backends {
		members[name] = nil
		service := p.Service(name)
		if service == nil {
			continue
		}
		s.look(ctx, service.Replicas, p.Probe(name))
		now, held := s.holding(), map[string]bool{}
		for _, r := range service.Replicas {
			was, retired := before.of(r, name)
			if is, retires := now.of(r, name); was || is {
				held[r.ID] = retired || retires
			}
		}
		s.mu.Lock()
		members[name] = eligible(service.Replicas, held, s.listening)
		s.mu.Unlock()
	}
	return members
}

// eligible returns the replicas that should serve: those that are ready, and where
// none is, those that are unhealthy, for a failing shared dependency must not empty
// the upstream. Where there are none of these either, those whose port has not been seen
// open yet: without them nginx would answer 502 until the next look, though they may
// listen by now. One that has ended or retires never serves. One that is held until it joins
// does so before its time where it is ready and nobody else is.
func eligible(replicas []dockerops.Replica, held map[string]bool, listening map[string]time.Time) []dockerops.Replica {
	var ready, standIns, unhealthy, unseen []dockerops.Replica
	for _, r := range replicas {
		since, seen := listening[r.ID]
		isReady := r.Health == "healthy" || r.Health == "" && seen && since.Equal(r.Started)
		retires, isHeld := held[r.ID]
		switch {
		case !r.Running() || retires || isHeld && !isReady:
		case isHeld:
			standIns = append(standIns, r)
		case isReady:
			ready = append(ready, r)
		case r.Health == "unhealthy":
			unhealthy = append(unhealthy, r)
		case r.Health == "":
			unseen = append(unseen, r)
		}
	}
	switch {
	case len(ready) > 0:
		return ready
	case len(standIns) > 0:
		return standIns
	case len(unhealthy) > 0:
		return unhealthy
	}
	return unseen
}

// look probes the running replicas without a health check whose port was not yet
// seen open since they started.
func (s *site) look(ctx context.Context, replicas []dockerops.Replica, probe dockerops.Probe) {
	var group sync.WaitGroup
	for _, r := range replicas {
		if s.listens(r) || !r.Running() || r.Health != "" {
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

// listens reports whether the replica's port was seen open since it started.
func (s *site) listens(r dockerops.Replica) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	since, ok := s.listening[r.ID]
	return ok && since.Equal(r.Started)
}

// awaited reports whether a running replica is not yet ready by its port, so that
// only another look can tell.
func (s *site) awaited(p *dockerops.Project) bool {
	for name := range p.Backends {
		service, probe := p.Service(name), p.Probe(name)
		if service == nil {
			continue
		}
		for _, r := range service.Replicas {
			if r.Running() && r.Health == "" && r.Address(probe.Peers) != "" && !s.listens(r) {
				return true
			}
		}
	}
	return false
}

// tell writes to the journal who joined and left the upstreams since last time.
func (s *site) tell(members map[string][]dockerops.Replica) {
	now, ids := map[string][]string{}, map[string]bool{}
	for service, replicas := range members {
		for _, r := range replicas {
			now[service] = append(now[service], r.Name)
			ids[r.ID] = true
		}
	}
	s.mu.Lock()
	before := s.serving
	s.serving, s.members = now, ids
	s.mu.Unlock()
	for _, service := range slices.Sorted(maps.Keys(members)) {
		if before != nil && slices.Equal(now[service], before[service]) {
			continue
		}
		sentence := fmt.Sprintf("nginx serves %s from %s.", service, strings.Join(now[service], ", "))
		if len(now[service]) == 0 {
			sentence = fmt.Sprintf("nginx serves %s from nobody and answers 502.", service)
		}
		s.d.log.info(eventUpstream, sentence, fields{"TVS_PROJECT": s.name, "TVS_SERVICE": service,
			"TVS_MEMBERS": strings.Join(now[service], " ")})
	}
}
