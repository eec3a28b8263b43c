package daemon

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"tvsctl/dockerops"
)

const (
	// settle is how long the guard waits after an event for those that belong to
	// it, so that a burst makes one reload.
	settle = 50 * time.Millisecond
	// settleChanging is how long it leaves new replicas to a running operation,
	// which publishes them itself. What ends or falls ill is never left to one.
	settleChanging = 2 * time.Second
	// discover is how often at most it looks for projects to guard.
	discover = 500 * time.Millisecond
	// lookAgainAfter is how soon a replica that does not listen yet is tried
	// again, and how soon a publication that failed.
	lookAgainAfter = 100 * time.Millisecond
	retryAfter     = 2 * time.Second
	guardDeadline  = 30 * time.Second
	// intention is how long a replica must have ended, with Docker going on,
	// for that to count as what somebody wants.
	intention = 5 * time.Second
)

// guard finds the projects with a managed nginx, and keeps their upstreams right
// until ctx ends.
func (d *Daemon) guard(ctx context.Context) {
	changed, cancel := d.engine.Subscribe("")
	defer cancel()
	guarded := map[string]context.CancelFunc{}
	restored := -1
	for {
		projects, err := d.managedProjects(ctx)
		if err == nil {
			d.setDocker(nil)
			if n := d.engine.Connections(); n != restored {
				restored = n
				d.restore(ctx)
			}
			for name, stop := range guarded {
				if !slices.Contains(projects, name) {
					stop()
					delete(guarded, name)
				}
			}
			for _, name := range projects {
				if guarded[name] == nil {
					own, stop := context.WithCancel(ctx)
					guarded[name] = stop
					d.activity.begin()
					go func() {
						defer d.activity.end()
						d.site(name).guard(own)
					}()
				}
			}
		} else if ctx.Err() == nil {
			d.setDocker(err)
		}
		d.guardReady()
		select {
		case <-ctx.Done():
			return
		case <-changed:
			if !pause(ctx, discover) {
				return
			}
		}
	}
}

// managedProjects are those with a running nginx of ours, or whose nginx is the host's.
func (d *Daemon) managedProjects(ctx context.Context) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, guardDeadline)
	defer cancel()
	names, err := d.engine.NginxProjects(ctx)
	if err != nil {
		return nil, err
	}
	counts, err := d.engine.Projects(ctx)
	if err != nil {
		return nil, err
	}
	for _, name := range configuredProjects(d.config.ProjectDir) {
		config, err := readProjectConfig(d.config.ProjectDir, name)
		if err == nil && config.Nginx != nil && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return slices.DeleteFunc(names, func(name string) bool { return counts[name][1] == 0 }), nil
}

// guard keeps one project's upstreams right: on every event of its containers it
// looks and publishes what differs.
func (s *site) guard(ctx context.Context) {
	changed, cancel := s.d.engine.Subscribe(s.name)
	defer cancel()
	worse, cancelWorse := s.d.engine.Subscribe(dockerops.Worse(s.name))
	defer cancelWorse()
	again := s.d.againChannel(s.name)
	var watch watcher
	for {
		wait := s.guardOnce(ctx, &watch)
		var timer <-chan time.Time
		if wait > 0 {
			timer = time.After(wait)
		}
		select {
		case <-ctx.Done():
			return
		case <-timer:
			continue
		case <-changed:
			if len(s.turn) > 0 {
				select {
				case <-ctx.Done():
				case <-time.After(settleChanging):
				case <-worse:
				case <-again: // the operation has ended
				}
			}
		case <-worse:
		case <-again:
		}
		if !pause(ctx, settle) {
			return
		}
	}
}

// guardOnce looks once, and returns when to look again without an event; 0: never.
func (s *site) guardOnce(ctx context.Context, watch *watcher) time.Duration {
	ctx, cancel := context.WithTimeout(ctx, guardDeadline)
	defer cancel()
	if err := s.sync(ctx); err != nil {
		if ctx.Err() == nil && !errors.Is(err, dockerops.ErrUnavailable) && !watch.failed {
			s.d.log.warning(eventNginx, fmt.Sprintf("Cannot keep the upstreams of %s right: %v; trying again.", s.name, err),
				fields{"TVS_PROJECT": s.name})
		}
		watch.failed = true
		return retryAfter
	}
	watch.failed = false
	p, _, err := s.d.observe(ctx, s.name)
	if err != nil {
		return retryAfter
	}
	wait := watch.note(s, p)
	if s.awaited(p) {
		return lookAgainAfter
	}
	return wait
}

// watcher tells what changes between two looks at a project.
type watcher struct {
	failed      bool
	connections int // of the engine, at the last look
	last        map[string]dockerops.Replica
	ended       map[string]time.Time
}

// note writes to the journal which replicas ended or fell ill, and keeps in the
// state which of them ended for good while Docker went on. It returns when it
// wants to be called again; 0: at the next event.
func (w *watcher) note(s *site, p *dockerops.Project) time.Duration {
	now := map[string]dockerops.Replica{}
	if w.ended == nil {
		w.ended = map[string]time.Time{}
	}
	// What ended with Docker itself is nobody's intention.
	if n := s.d.engine.Connections(); n != w.connections {
		w.connections, w.last = n, nil
		clear(w.ended)
	}
	changing := len(s.turn) > 0
	for _, service := range p.Services {
		for _, r := range service.Replicas {
			now[r.ID] = r
			was, known := w.last[r.ID]
			if r.Running() {
				delete(w.ended, r.ID)
			}
			if !known || changing {
				continue
			}
			f := fields{"TVS_PROJECT": p.Name, "TVS_SERVICE": service.Name, "TVS_REPLICA": r.Name}
			switch {
			case was.Running() && !r.Running():
				w.ended[r.ID] = time.Now()
				s.d.log.warning(eventReplica, fmt.Sprintf("Replica %s ended with code %d.", r.Name, r.ExitCode), f)
			case was.Health == "healthy" && r.Health == "unhealthy":
				s.d.log.warning(eventReplica, fmt.Sprintf("Replica %s is unhealthy.", r.Name), f)
			case r.Health == "healthy" && was.Health != "healthy":
				s.d.log.info(eventReplica, fmt.Sprintf("Replica %s is healthy.", r.Name), f)
			}
		}
	}
	w.last = now
	return w.keepEnded(s, p, now)
}

func (w *watcher) keepEnded(s *site, p *dockerops.Project, now map[string]dockerops.Replica) time.Duration {
	var exited []string
	var wait time.Duration
	for id, since := range w.ended {
		r, there := now[id]
		if !there || r.Running() {
			delete(w.ended, id)
			continue
		}
		if left := intention - time.Since(since); left > 0 {
			wait = max(left, time.Millisecond)
			continue
		}
		exited = append(exited, id)
	}
	kept := s.d.state.project(p.Name).Exited
	for _, id := range kept {
		if r, there := now[id]; there && !r.Running() && !slices.Contains(exited, id) {
			exited = append(exited, id)
		}
	}
	slices.Sort(exited)
	if slices.Equal(exited, kept) {
		return wait
	}
	var names []string
	for _, id := range exited {
		if !slices.Contains(kept, id) {
			names = append(names, now[id].Name)
		}
	}
	slices.Sort(names)
	if len(names) > 0 {
		s.d.log.notice(eventDrift, fmt.Sprintf("Somebody stopped %s: tvsctld leaves them so.", strings.Join(names, ", ")),
			fields{"TVS_PROJECT": p.Name})
	}
	if err := s.d.state.update(p.Name, func(k *projectState) { k.Exited = exited }); err != nil {
		s.d.log.error(eventState, "Cannot keep which replicas ended: "+err.Error(), fields{"TVS_PROJECT": p.Name})
	}
	return wait
}

// pause waits; it reports false when ctx ended first.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
