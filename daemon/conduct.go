package daemon

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"tvsctl/dockerops"
	"tvsctl/ipc"
)

// enter counts an operation among those that the daemon stays for.
func (d *Daemon) enter(o *operation) {
	d.mu.Lock()
	d.admitted++
	o.number = d.admitted
	d.running[o.record.ID] = o
	d.mu.Unlock()
	d.activity.begin()
	select {
	case d.began <- struct{}{}:
	default:
	}
}

// admit lets a recorded operation wait for its turn.
func (d *Daemon) admit(s *site, o *operation) ipc.Operation {
	d.enter(o)
	o.update(func(*ipc.Operation) {})
	queued, over := o.snapshot(), make(chan struct{})
	go d.conduct(s, o, s.enqueue(over), over)
	return queued
}

// conduct runs an operation to its end, whoever has gone meanwhile, or leaves it to the
// next life of the daemon.
func (d *Daemon) conduct(s *site, o *operation, before <-chan struct{}, over chan<- struct{}) {
	defer d.activity.end()
	select {
	case <-before:
	case <-o.ctx.Done():
		if !o.takesBack() {
			d.conclude(o, "", context.Cause(o.ctx))
			<-before
			close(over)
			return
		}
		<-before
	}
	defer close(over)
	if o.ctx.Err() != nil && !o.takesBack() {
		d.conclude(o, "", context.Cause(o.ctx))
		return
	}
	if d.ending() {
		d.leave(o)
		return
	}
	s.active.Store(true)
	o.update(func(r *ipc.Operation) { r.State, r.Started = ipc.OperationRunning, time.Now() })
	d.showStatus()
	stopKeeping := d.keepSteps(o)
	result, err := d.work(s, o)
	stopKeeping()
	s.active.Store(false)
	s.releaseAll()
	if errors.Is(err, errSuspended) {
		d.leave(o)
		return
	}
	d.conclude(o, result, err)
}

// work does what the operation is for.
func (d *Daemon) work(s *site, o *operation) (string, error) {
	if o.resumed && !d.ofUnits(s.name) { // Docker may be on its way too
		if err := d.awaitDocker(o); err != nil {
			return "", err
		}
	}
	return kinds[o.job.Kind](s, o.ctx, o)
}

// errSuspended is the outcome of an operation that the next life of the daemon takes up.
var errSuspended = errors.New("tvsctld ends; it goes on when tvsctld is started again")

// ending reports whether the daemon was told to end.
func (d *Daemon) ending() bool {
	select {
	case <-d.stopping:
		return true
	default:
		return false
	}
}

// leave ends an operation here without an outcome: on disk it is unfinished.
func (d *Daemon) leave(o *operation) {
	d.log.notice(eventResumed, fmt.Sprintf("Leaving it to the next start of tvsctld: %s%s.", o.snapshot().Summary, where(o.snapshot())), o.fields())
	d.mu.Lock()
	delete(d.running, o.record.ID)
	d.mu.Unlock()
	close(o.done)
	o.cancel(nil)
	d.showStatus()
}

// awaitDocker returns when the engine answers, however long that takes: what was begun
// can neither be completed nor taken back without it.
func (d *Daemon) awaitDocker(o *operation) error {
	changed, cancel := d.engine.Subscribe("")
	defer cancel()
	for told := false; d.engine.Ping(context.WithoutCancel(o.ctx)) != nil; told = true {
		if !told {
			o.line("Docker is away; this goes on when it is back")
		}
		select {
		case <-changed:
		case <-time.After(time.Second):
		case <-d.stopping:
			return errSuspended
		}
	}
	return nil
}

// How often what can no longer be taken back is tried, and how long it waits between.
const (
	tries    = 3
	tryAgain = 500 * time.Millisecond
)

// insist does what it is given, and again, with Docker back, when Docker was lost
// meanwhile (and not when a call's own time ran out): things are other by then than they were planned. Where there is no way back
// any more (final, or an UnfinishedError), another failure too is only the first of a few.
func (d *Daemon) insist(o *operation, final bool, do func() error) error {
	for try := 1; ; {
		err := do()
		unfinished := final || errors.As(err, new(*dockerops.UnfinishedError))
		switch {
		case err == nil:
			return nil
		case o.begun && errors.Is(err, dockerops.ErrUnavailable) && !errors.Is(err, dockerops.ErrNoAnswer):
			o.interrupted.Store(true)
			if err := d.awaitDocker(o); err != nil {
				return err
			}
		case unfinished && try < tries && pause(d.life, tryAgain):
			try++
		default:
			return err
		}
	}
}

// keepSteps keeps an operation's steps in the state as they end, beside the work; the
// returned function ends that.
func (d *Daemon) keepSteps(o *operation) (stop func()) {
	ended, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for n := 0; ; {
			events, more := o.eventsFrom(n)
			n += len(events)
			if slices.ContainsFunc(events, func(e ipc.Event) bool { return e.Kind == ipc.EventStep && !e.Step.Ended.IsZero() }) {
				// That it cannot be kept is said with the outcome.
				_ = d.state.record(o.snapshot(), o.jobNow())
			}
			select {
			case <-more:
			case <-ended:
				return
			}
		}
	}()
	return func() {
		close(ended)
		<-stopped
	}
}

// conclude gives an operation its outcome.
func (d *Daemon) conclude(o *operation, result string, err error) {
	record := o.snapshot()
	record.Ended, record.Result, record.State = time.Now(), result, ipc.OperationSucceeded
	switch cause := context.Cause(o.ctx); {
	case cause == nil:
	case err == nil:
		record.Result += "; it was too late to cancel that"
	case describeError(err).Code == ipc.CodeCanceled: // and says what came of it
	case o.begun && o.job.stays():
		err = halted(record, cause, err)
	case o.begun && !errors.Is(err, cause): // it failed by itself, or could not be canceled
	case o.begun:
		err = undone(record, cause, err)
	default:
		err = &ipc.Error{Code: ipc.CodeCanceled, Message: fmt.Sprintf("%s: %v", record.Summary, cause)}
	}
	if err != nil {
		record.State, record.Error = ipc.OperationFailed, describeError(err)
	}
	if err := d.state.record(record, nil); err != nil {
		d.log.error(eventState, "Cannot keep the outcome of an operation: "+err.Error()+".", o.fields())
	}
	d.logOutcome(o, record)
	o.update(func(r *ipc.Operation) { *r = record })
	d.mu.Lock()
	delete(d.running, record.ID)
	d.recent = append(d.recent, o)
	d.recent = d.recent[max(0, len(d.recent)-recentLength):]
	d.mu.Unlock()
	close(o.done)
	o.cancel(nil)
	d.showStatus()
}

// recentLength is how many finished operations keep their events, for a client
// that asks for them only after the end.
const recentLength = 16

func (d *Daemon) logOutcome(o *operation, r ipc.Operation) {
	f := o.fields()
	took := time.Duration(0) // of one that was canceled before its turn
	if !r.Started.IsZero() {
		took = r.Ended.Sub(r.Started)
	}
	f["TVS_DURATION_MS"] = strconv.FormatInt(took.Milliseconds(), 10)
	if r.Error == nil {
		d.log.notice(eventSucceeded, fmt.Sprintf("Succeeded to %s in %s: %s.", r.Summary, seconds(took), r.Result), f)
		return
	}
	f["TVS_ERROR"] = string(r.Error.Code)
	text := fmt.Sprintf("Failed to %s after %s: %s", r.Summary, seconds(took), r.Error.Message)
	d.log.failure(eventFailed, withDetail(text, withoutLog(r.Error)), withDetail(text, r.Error), f)
}

func withDetail(text string, e *ipc.Error) string {
	return strings.Join(append([]string{text}, e.Detail...), "\n")
}
