package daemon

import (
	"sync"
	"time"
)

// activity counts what keeps the daemon: open connections, running operations,
// guarded projects. When nothing has for the idle time, expired is signalled.
type activity struct {
	expired chan struct{}

	mu    sync.Mutex
	idle  time.Duration // 0: never
	count int
	timer *time.Timer
}

func newActivity(idle time.Duration) *activity {
	a := &activity{idle: idle, expired: make(chan struct{}, 1)}
	a.rest()
	return a
}

func (a *activity) begin() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.count++; a.count == 1 {
		if a.timer != nil {
			a.timer.Stop()
		}
	}
}

func (a *activity) end() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.count--; a.count == 0 {
		a.rest()
	}
}

// rest starts the idle time. mu is held, or a not yet shared.
func (a *activity) rest() {
	if a.idle > 0 {
		a.timer = time.AfterFunc(a.idle, func() {
			select {
			case a.expired <- struct{}{}:
			default:
			}
		})
	}
}

// setIdle changes the idle time from the next rest on. Something is active.
func (a *activity) setIdle(idle time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.idle = idle
}

// quiet reports whether nothing is active now.
func (a *activity) quiet() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.count == 0
}
