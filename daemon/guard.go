package daemon

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync/atomic"
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
	// lookAround is how often it does without an event: for files of projects.
	lookAround = 30 * time.Second
	// A replica that does not listen yet is tried again after lookAgainFirst, then
	// ever later up to lookAgainMost; a publication that failed after retryAfter.
	lookAgainFirst = 50 * time.Millisecond
	lookAgainMost  = time.Second
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
	again := d.againChannel("")
	guarded := map[string]guardian{}
	restored, unitsRestored := -1, false
	var declared atomic.Pointer[declaredProjects]
	var unitChanged <-chan struct{}
	for {
		looked := d.health.begin("the guard", 2*(guardDeadline+restoreDeadline)+slack)
		files := d.readDeclared()
		if declared.Store(&files); len(files.units) > 0 && unitChanged == nil {
			unitChanged, _ = d.followUnits(ctx, func(unit string) bool { return declared.Load().concerns(unit) })
		}
		unitsRestored = unitsRestored || d.restoreUnits(ctx, files.units)
		units := d.runningUnits(ctx, files.units)
		d.guardOnly(ctx, guarded, beside(units, containersOf(guarded, files.units))) // which waits for no Docker
		projects, err := d.managedProjects(ctx, files.hostNginx)
		if ctx.Err() != nil {
			return
		}
		if err != nil && d.needsNoDocker(ctx) {
			d.setDocker(nil)
		} else {
			d.setDocker(err)
		}
		if err == nil {
			if n := d.engine.Connections(); n != restored && d.restore(ctx) {
				restored = n
			}
			d.guardOnly(ctx, guarded, beside(units, projects))
		}
		d.guardReady()
		d.state.catchUp()
		looked()
		select {
		case <-ctx.Done():
			return
		case <-time.After(lookAround):
		case <-again:
		case <-unitChanged:
			if !pause(ctx, discover) {
				return
			}
		case <-changed:
			if !pause(ctx, discover) {
				return
			}
		}
	}
}

// guardian is the guard of one project.
type guardian struct {
	follows string // what units
	stop    context.CancelFunc
}

// containersOf are the projects among the guarded that are not of units, with what they follow.
func containersOf(guarded map[string]guardian, units map[string]projectConfig) map[string]string {
	containers := map[string]string{}
	for name, g := range guarded {
		if _, is := units[name]; !is {
			containers[name] = g.follows
		}
	}
	return containers
}

// beside adds to the projects of units those of containers.
func beside(units, containers map[string]string) map[string]string {
	all := maps.Clone(containers)
	maps.Copy(all, units)
	return all
}

// guardOnly starts a guard for each of the projects, which come with what units they
// follow, and ends those of others.
func (d *Daemon) guardOnly(ctx context.Context, guarded map[string]guardian, projects map[string]string) {
	for name, g := range guarded {
		if follows, is := projects[name]; !is || follows != g.follows {
			g.stop()
			delete(guarded, name)
		}
	}
	for name, follows := range projects {
		if guarded[name].stop != nil {
			continue
		}
		own, stop := context.WithCancel(ctx)
		guarded[name] = guardian{follows, stop}
		d.activity.begin()
		d.guards.Go(func() {
			defer d.activity.end()
			d.site(name).guard(own)
		})
	}
}

// managedProjects are those with an nginx of ours, or whose nginx is the host's, in
// which something runs, or has ended for a reason that is not yet known; with the unit of
// the host's nginx.
func (d *Daemon) managedProjects(ctx context.Context, hostNginx map[string]string) (map[string]string, error) {
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
	managed := maps.Clone(hostNginx)
	for _, name := range names {
		managed[name] = hostNginx[name]
	}
	maps.DeleteFunc(managed, func(name, _ string) bool {
		return counts[name][1] == 0 && !d.site(name).unsettled.Load()
	})
	return managed, nil
}

// guard keeps one project's upstreams right: on every event of its containers it
// looks and publishes what differs.
func (s *site) guard(ctx context.Context) {
	changed, worse, cancel := s.events(ctx)
	defer cancel()
	again := s.d.againChannel(s.name)
	var watch watcher
	defer func() {
		s.unsettled.Store(false)
		if s.d.life.Err() == nil {
			// Nothing runs any more, and nginx may not have heard of it yet.
			last, stop := context.WithTimeout(s.d.life, guardDeadline)
			_ = s.sync(last)
			stop()
		}
		watch.settle(s)
		s.keepSeen()
	}()
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
			if s.changing() {
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

// events returns channels that get a value when something of the project has changed, and
// when it may have become worse.
func (s *site) events(ctx context.Context) (changed, worse <-chan struct{}, cancel func()) {
	own, stop := context.WithCancel(ctx)
	config, err := readProjectConfig(s.d.config.ProjectDir, s.name)
	if err == nil && len(config.Services) > 0 {
		changed, worse = s.d.followUnits(own, config.concerns)
		return changed, worse, stop
	}
	changed, cancelAll := s.d.engine.Subscribe(s.name)
	worse, cancelWorse := s.d.engine.Subscribe(dockerops.Worse(s.name))
	if err == nil && config.Nginx != nil {
		nginxChanged, _ := s.d.followUnits(own, config.concerns)
		changed = either(own, changed, nginxChanged)
	}
	return changed, worse, func() {
		stop()
		cancelAll()
		cancelWorse()
	}
}

// either returns a channel that gets a value after one of the others has, until ctx ends.
func either(ctx context.Context, a, b <-chan struct{}) <-chan struct{} {
	both := make(chan struct{}, 1)
	go func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-a:
			case <-b:
			}
			select {
			case both <- struct{}{}:
			default:
			}
		}
	}()
	return both
}

// guardOnce looks once, and returns when to look again without an event; 0: never.
func (s *site) guardOnce(life context.Context, watch *watcher) time.Duration {
	defer s.d.health.begin("the guard of project "+s.name, guardDeadline+slack)()
	ctx, cancel := context.WithTimeout(life, guardDeadline)
	defer cancel()
	if err := s.sync(ctx); err != nil {
		if life.Err() == nil && !errors.Is(err, dockerops.ErrUnavailable) && err.Error() != watch.failed {
			watch.failed = err.Error()
			s.d.log.warning(eventNginx, fmt.Sprintf("Cannot keep the upstreams of %s right: %v; trying again.", s.name, err),
				fields{"TVS_PROJECT": s.name})
		}
		return retryAfter
	}
	watch.failed = ""
	kept := s.d.state.project(s.name)
	p, _, err := s.d.observe(ctx, s.name)
	if err != nil {
		return retryAfter
	}
	s.keepSpecs(watch, kept, p)
	wait := watch.note(s, p)
	if s.awaited(p) {
		watch.patience = min(max(2*watch.patience, lookAgainFirst), lookAgainMost)
		return watch.patience
	}
	watch.patience = 0
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
