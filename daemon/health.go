package daemon

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"tvsctl/systemd"
)

// Bounds on what cannot take long. An engine that hangs is no reason to end: calls to
// it have deadlines, and the guard's own time is longer by slack.
const (
	slack       = 30 * time.Second
	acceptLimit = 10 * time.Second
	lookEvery   = time.Second // at a part that is late
)

// health feeds systemd's watchdog while the daemon's vital parts make progress; that
// the main loop turns says nothing of them. Whoever looks at a part that is stuck may
// be held up by it, so the main loop only asks, and a goroutine of its own looks.
type health struct {
	feed    func()
	asked   chan struct{}
	looking atomic.Value // string: the part that is looked at; "" when all were seen

	mu    sync.Mutex
	tasks map[*task]bool
}

// task is a piece of work that has ended by its due time unless it is stuck.
type task struct {
	part string
	due  time.Time
}

func newHealth() *health {
	h := &health{feed: systemd.Alive, asked: make(chan struct{}), tasks: map[*task]bool{}}
	h.looking.Store("")
	return h
}

// begin notes that a part works, for limit at most, until it calls end.
func (h *health) begin(part string, limit time.Duration) (end func()) {
	t := &task{part: part, due: time.Now().Add(limit)}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.tasks[t] = true
	return func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		delete(h.tasks, t)
	}
}

// late returns a part that should have ended its work, or "".
func (h *health) late() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	for t := range h.tasks {
		if time.Now().After(t.due) {
			return t.part
		}
	}
	return ""
}

// ask makes the watchdog be fed if all is well. It does not wait: it reports false while
// the answer to an earlier question is still looked for.
func (h *health) ask() bool {
	select {
	case h.asked <- struct{}{}:
		return true
	default:
		return false
	}
}

// answer feeds the watchdog each time that it is asked, once pass has gone through
// every lock and no part is late, until ctx ends.
func (h *health) answer(ctx context.Context, pass func(looking func(part string))) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-h.asked:
		}
		pass(func(part string) { h.looking.Store(part) })
		for part := h.late(); part != ""; part = h.late() {
			h.looking.Store(part)
			if !pause(ctx, lookEvery) {
				return
			}
		}
		h.looking.Store("")
		h.feed()
	}
}

// passLocks takes each of the locks that requests, guards and operations need, none of
// which is held while anything outside is waited for but the disk.
func (d *Daemon) passLocks(looking func(part string)) {
	looking("the daemon")
	d.mu.Lock()
	sites, running := slices.Collect(maps.Values(d.sites)), slices.Collect(maps.Values(d.running))
	d.mu.Unlock()
	looking("the state")
	d.state.lastEpoch()
	for _, s := range sites {
		looking("project " + s.name)
		s.containers()
	}
	for _, o := range running {
		looking("operation " + o.job.Kind)
		o.snapshot()
	}
	looking("the count of what is active")
	d.activity.quiet()
}

// askHealth is called by the main loop, as often as systemd wants to hear of it.
func (d *Daemon) askHealth() {
	if part := d.health.looking.Load(); !d.health.ask() && part != "" {
		d.log.error(eventStuck, fmt.Sprintf("tvsctld makes no progress: %v is stuck. systemd will start it again.", part), nil)
	}
}
