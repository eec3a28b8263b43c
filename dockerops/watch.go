package dockerops

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/docker/docker/api/types/events"
	"github.com/docker/docker/api/types/filters"
)

// watches tells subscribers when to look at a container or project again. It
// carries no contents: an event that was coalesced or missed is made up for by
// the next look.
type watches struct {
	mu          sync.Mutex
	subscribers map[string]map[chan struct{}]bool // by project name, container id, or "" for all
	connected   bool
	connections int
	losses      int // how often an engine that was followed went away
	stop        context.CancelFunc
	details     map[string]known // by container id
	events      int              // counts them
}

const (
	reconnectFirst = 50 * time.Millisecond
	reconnectMost  = time.Second
)

// Worse is the key of those events of a project by which a replica may have become
// worse: all but those of a new one.
func Worse(project string) string { return "worse:" + project }

// grows are the events of a replica that comes to be.
var grows = map[events.Action]bool{events.ActionCreate: true, events.ActionStart: true, events.ActionAttach: true}

// Subscribe returns a channel that gets a value when something may have changed
// for the key: a project's name, Worse of it, a container's id, or "" for any. While the
// engine is away nothing comes; when it is back, every subscriber is told.
func (e *Engine) Subscribe(key string) (changed <-chan struct{}, cancel func()) {
	w, c := &e.watches, make(chan struct{}, 1)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.subscribers == nil {
		w.subscribers = map[string]map[chan struct{}]bool{}
	}
	if w.subscribers[key] == nil {
		w.subscribers[key] = map[chan struct{}]bool{}
	}
	w.subscribers[key][c] = true
	if w.stop == nil {
		ctx, stop := context.WithCancel(context.Background())
		w.stop = stop
		go e.follow(ctx)
	}
	return c, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if delete(w.subscribers[key], c); len(w.subscribers[key]) == 0 {
			delete(w.subscribers, key)
		}
		if len(w.subscribers) == 0 && w.stop != nil {
			w.stop()
			w.stop, w.connected, w.details = nil, false, nil
		}
	}
}

// Connections counts how often the engine's events began to be followed: it was away
// between two of them.
func (e *Engine) Connections() int {
	e.watches.mu.Lock()
	defer e.watches.mu.Unlock()
	return e.watches.connections
}

// losses counts how often the engine went away while its events were followed.
func (e *Engine) losses() int {
	e.watches.mu.Lock()
	defer e.watches.mu.Unlock()
	return e.watches.losses
}

// follow reads the engine's events until ctx ends, over and over.
func (e *Engine) follow(ctx context.Context) {
	wait := reconnectFirst
	for ctx.Err() == nil {
		// The first ping that is answered proves the engine; events alone do not
		// answer before something happens.
		if err := e.Ping(ctx); err == nil {
			messages, errs := e.api.Events(ctx, events.ListOptions{Filters: filters.NewArgs(
				filters.Arg("type", string(events.ContainerEventType)), filters.Arg("label", labelProject))})
			e.watches.connection(ctx, true)
			wait = reconnectFirst
			e.watches.pump(messages, errs)
			e.watches.connection(ctx, false)
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
		case <-timer.C:
		}
		wait = min(2*wait, reconnectMost)
	}
}

func (w *watches) pump(messages <-chan events.Message, errs <-chan error) {
	for {
		select {
		case m := <-messages:
			// Execs are our own doing most of the time, and change nothing.
			if !strings.HasPrefix(string(m.Action), "exec_") && m.Action != "top" {
				project := m.Actor.Attributes[labelProject]
				w.forget(m.Actor.ID)
				w.tell(project, m.Actor.ID, "")
				if !grows[m.Action] {
					w.tell(Worse(project))
				}
			}
		case <-errs:
			return
		}
	}
}

func (w *watches) forget(id string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.events++
	delete(w.details, id)
}

func (w *watches) tell(keys ...string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, key := range keys {
		for c := range w.subscribers[key] {
			select {
			case c <- struct{}{}:
			default: // it has not yet looked since the last one
			}
		}
	}
}

func (w *watches) connection(ctx context.Context, up bool) {
	w.mu.Lock()
	if ctx.Err() == nil {
		w.connected = up
		if up {
			w.connections++
		} else {
			w.losses++
		}
		w.details = nil
		w.events++
	}
	var keys []string
	for key := range w.subscribers {
		keys = append(keys, key)
	}
	w.mu.Unlock()
	w.tell(keys...)
}
