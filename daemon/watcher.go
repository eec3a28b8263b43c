package daemon

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"tvsctl/dockerops"
)

// watcher tells what changes between two looks at a project.
type watcher struct {
	failed      string        // why the last publication failed
	unkept      bool          // whether it was told that the specs cannot be kept
	patience    time.Duration // until a replica that does not listen is tried again
	connections int           // of the engine, at the last look
	looked      bool
	last        map[string]dockerops.Replica
	ended       map[string]time.Time // by container: since when
	drift       map[string]*drift    // by service
}

// drift is a count that nobody asked tvsctl for.
type drift struct {
	count int
	since time.Time
	told  bool
}

// note writes to the journal which replicas ended or fell ill and whose count is not
// what is desired, and keeps in the state which of them ended for good while Docker
// went on. It returns when it wants to be called again; 0: at the next event.
func (w *watcher) note(s *site, p *dockerops.Project) time.Duration {
	now := map[string]dockerops.Replica{}
	if w.ended == nil {
		w.ended, w.drift = map[string]time.Time{}, map[string]*drift{}
	}
	// What ended with Docker itself is nobody's intention.
	n := s.d.engine.Connections()
	if n != w.connections {
		w.connections, w.last = n, nil
		clear(w.ended)
	}
	changing, first := s.changing(), !w.looked
	w.looked = true
	for _, service := range p.Services {
		for _, r := range service.Replicas {
			now[r.ID] = r
			was, known := w.last[r.ID]
			if r.Running() {
				delete(w.ended, r.ID)
			}
			if service.Units == nil && first && n == 1 && !known && !r.Running() && r.Finished.After(s.d.born) {
				w.ended[r.ID] = time.Now() // before the guard of the project looked at all
			}
			if !known || changing {
				continue
			}
			f := fields{"TVS_PROJECT": p.Name, "TVS_SERVICE": service.Name, "TVS_REPLICA": r.Name}
			switch {
			case was.Running() && !r.Running():
				if service.Units == nil { // a unit comes back with the next boot, whoever stopped it
					w.ended[r.ID] = time.Now()
				}
				s.d.log.warning(eventReplica, fmt.Sprintf("Replica %s ended with code %d.", r.Name, r.ExitCode), f)
			case was.Health == "healthy" && r.Health == "unhealthy":
				s.d.log.warning(eventReplica, fmt.Sprintf("Replica %s is unhealthy.", r.Name), f)
			case r.Health == "healthy" && was.Health != "healthy":
				s.d.log.info(eventReplica, fmt.Sprintf("Replica %s is healthy.", r.Name), f)
			}
		}
	}
	w.last = now
	wait := w.keepEnded(s)
	if !changing {
		wait = soonest(wait, w.noteDrift(s, p))
	}
	return wait
}

// soonest returns the shorter of two waits, of which 0 is none.
func soonest(a, b time.Duration) time.Duration {
	if a == 0 || b == 0 {
		return a + b
	}
	return min(a, b)
}

// noteDrift writes to the journal when a count has been another than the desired one
// for long enough to be somebody's doing rather than on its way.
func (w *watcher) noteDrift(s *site, p *dockerops.Project) time.Duration {
	const settled = 2 * time.Second
	kept, wait := s.d.state.project(p.Name), time.Duration(0)
	for _, service := range p.Services {
		n, want, asked := kept.drift(&service)
		if !asked || n == want || kept.Rollouts[service.Name] != nil {
			delete(w.drift, service.Name)
			continue
		}
		seen := w.drift[service.Name]
		if seen == nil || seen.count != n {
			seen = &drift{count: n, since: time.Now()}
			w.drift[service.Name] = seen
		}
		if left := settled - time.Since(seen.since); left > 0 {
			wait = soonest(wait, left)
		} else if !seen.told {
			seen.told = true
			s.d.log.notice(eventDrift, fmt.Sprintf("Somebody else made it %d %s of %s, where %d are desired.", n, plural(n, "replica"), service.Name, want),
				fields{"TVS_PROJECT": p.Name, "TVS_SERVICE": service.Name})
		}
	}
	return wait
}

// keepEnded keeps in the state which replicas ended for good: restore leaves them so.
func (w *watcher) keepEnded(s *site) time.Duration {
	var exited []string
	var wait time.Duration
	for id, since := range w.ended {
		r, there := w.last[id]
		if !there || r.Running() {
			delete(w.ended, id)
			continue
		}
		if r.State == "restarting" { // it ended by itself, and Docker starts it again
			w.ended[id] = time.Now()
			continue
		}
		if left := intention - time.Since(since); left > 0 {
			wait = soonest(wait, left)
			continue
		}
		exited = append(exited, id)
	}
	if settled := wait == 0; s.unsettled.Swap(!settled) && settled {
		s.d.lookAgain("") // whether there is still something to guard
	}
	w.keepExited(s, exited)
	return wait
}

// settle decides at once what the guard will not see any more: the daemon ends
// before Docker does, so what has ended by now was ended by somebody.
func (w *watcher) settle(s *site) {
	if len(w.ended) > 0 && s.d.engine.Connections() == w.connections {
		w.keepExited(s, slices.Collect(maps.Keys(w.ended)))
	}
}

// keepExited adds to the kept ones, and forgets those that run again or are gone.
func (w *watcher) keepExited(s *site, exited []string) {
	kept := s.d.state.project(s.name).Exited
	for _, id := range kept {
		if r, there := w.last[id]; there && !r.Running() && !slices.Contains(exited, id) {
			exited = append(exited, id)
		}
	}
	slices.Sort(exited)
	if slices.Equal(exited, kept) {
		return
	}
	var names []string
	for _, id := range exited {
		if !slices.Contains(kept, id) {
			names = append(names, w.last[id].Name)
		}
	}
	slices.Sort(names)
	if len(names) > 0 {
		s.d.log.notice(eventDrift, fmt.Sprintf("Somebody stopped %s: tvsctld leaves them so.", strings.Join(names, ", ")),
			fields{"TVS_PROJECT": s.name})
	}
	if err := s.d.state.update(s.name, func(k *projectState) { k.Exited = exited }); err != nil {
		s.d.log.error(eventState, "Cannot keep which replicas ended: "+err.Error(), fields{"TVS_PROJECT": s.name})
	}
}
