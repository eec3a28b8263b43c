package daemon

import (
	"fmt"
	"slices"
	"time"

	"tvsctl/dockerops"
	"tvsctl/ipc"
	"tvsctl/systemd"
)

const (
	// stopPatience is how long a stop waits for running operations, without their
	// drains; the unit's TimeoutStopSec is longer.
	stopPatience = 80 * time.Second
	// drainPatience is how long it waits for drains beyond that: the longest tvs.drain.
	drainPatience = time.Hour
	// extension is what systemd is asked to wait beyond its own time, every extendEvery.
	extension   = 15 * time.Second
	extendEvery = 5 * time.Second
)

// finish lets running operations come to their end, and their clients hear of it.
// How long that takes is bounded by stopPatience, but for drains: to cut off one would
// fail the requests that it waits for. A daemon that hangs asks for no extension.
func (d *Daemon) finish(g *gate) {
	patience, drains, extended := stopPatience, drainPatience, false
	for {
		next, draining := d.unended()
		if next == nil {
			break
		}
		// After a drain too: it has used up systemd's time for what follows.
		if extended = extended || draining; extended {
			systemd.ExtendTimeout(extension)
		}
		start, timer := time.Now(), time.NewTimer(extendEvery)
		select {
		case <-next.done:
		case <-timer.C:
		}
		timer.Stop()
		if draining {
			drains -= time.Since(start)
		} else {
			patience -= time.Since(start)
		}
		if patience <= 0 || drains <= 0 {
			return
		}
	}
	empty := make(chan struct{})
	go func() {
		g.drained()
		close(empty)
	}()
	select {
	case <-empty:
	case <-time.After(headerTimeout): // a client that sends nothing
	}
}

// unended returns an operation that runs or waits, and whether any of them drains.
func (d *Daemon) unended() (next *operation, draining bool) {
	for _, o := range d.live() {
		next = o
		draining = draining || slices.ContainsFunc(o.snapshot().Steps, func(s ipc.Step) bool {
			return s.Kind == string(dockerops.StepDrain) && s.State == ipc.StepRunning
		})
	}
	return next, draining
}

// showStatus tells systemctl status what runs: the operation that began first. Only those
// who show it wait for systemd.
func (d *Daemon) showStatus() {
	d.showing.Lock()
	defer d.showing.Unlock()
	systemd.Status(d.statusText())
}

func (d *Daemon) statusText() string {
	var running []ipc.Operation
	for _, o := range d.live() {
		if record := o.snapshot(); record.State == ipc.OperationRunning {
			running = append(running, record)
		}
	}
	if len(running) == 0 {
		return "Nothing runs"
	}
	first := slices.MinFunc(running, func(a, b ipc.Operation) int { return a.Started.Compare(b.Started) })
	text := fmt.Sprintf("Running: %s%s, for %s", first.Summary, where(first), first.User)
	if n := len(running) - 1; n > 0 {
		text += fmt.Sprintf(", and %d more", n)
	}
	return text
}
