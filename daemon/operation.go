package daemon

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"tvsctl/dockerops"
	"tvsctl/ipc"
)

// operation is one change while it runs: its record, and the events that tell
// how it came to be so.
type operation struct {
	log    *logbook
	job    job
	done   chan struct{} // closed when the outcome is known
	ctx    context.Context
	cancel context.CancelCauseFunc

	mu     sync.Mutex
	record ipc.Operation
	events []ipc.Event
	more   chan struct{} // closed when there is a further event
	// resumed is whether the record's steps are those of an earlier life.
	resumed bool
	// begun is whether it has had, or may have had, a side effect.
	begun bool
}

// maxQueued bounds how many operations of one project run or wait for their turn.
const maxQueued = 32

// maxEvents bounds what is kept of a talkative child for those who follow late.
const maxEvents = 5000

// newOperation makes a live operation of a record.
func newOperation(log *logbook, record ipc.Operation, j job) *operation {
	ctx, cancel := context.WithCancelCause(context.Background())
	return &operation{log: log, job: j, record: record, ctx: ctx, cancel: cancel,
		done: make(chan struct{}), more: make(chan struct{})}
}

func newRecord(project, verb, summary string, who peer) ipc.Operation {
	id := make([]byte, 4)
	_, _ = rand.Read(id) // never fails (crypto/rand)
	return ipc.Operation{ID: hex.EncodeToString(id), Project: project, Verb: verb, Summary: summary,
		User: who.name(), UID: who.UID, State: ipc.OperationQueued, Queued: time.Now()}
}

// snapshot returns the operation as it stands.
func (o *operation) snapshot() ipc.Operation {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.copy()
}

func (o *operation) copy() ipc.Operation {
	record := o.record
	record.Steps = slices.Clone(record.Steps)
	return record
}

// eventsFrom returns the events from the given one on, and a channel that is
// closed when there are more.
func (o *operation) eventsFrom(n int) ([]ipc.Event, <-chan struct{}) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.events[min(n, len(o.events)):]), o.more
}

// emit adds an event. mu is held.
func (o *operation) emit(e ipc.Event) {
	if len(o.events) >= maxEvents && e.Kind == ipc.EventLog {
		return
	}
	e.Time = time.Now()
	o.events = append(o.events, e)
	close(o.more)
	o.more = make(chan struct{})
}

// update changes the record and tells those who follow.
func (o *operation) update(change func(*ipc.Operation)) {
	o.mu.Lock()
	defer o.mu.Unlock()
	change(&o.record)
	record := o.record
	record.Steps = nil // they have events of their own
	o.emit(ipc.Event{Kind: ipc.EventOperation, Operation: &record})
}

// line passes on what a child wrote.
func (o *operation) line(text string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.emit(ipc.Event{Kind: ipc.EventLog, Line: text})
}

// planned announces the steps of a plan. What Apply reports of them goes to the
// returned function.
func (o *operation) planned(steps []ipc.Step) dockerops.Progress {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.resumed {
		o.record.Steps = nil // those of the plan of an earlier life
		o.resumed = false
	}
	before := len(o.record.Steps) // of an earlier plan
	for _, s := range steps {
		s.ID += before
		s.Needs = slices.Clone(s.Needs)
		for i := range s.Needs {
			s.Needs[i] += before
		}
		o.record.Steps = append(o.record.Steps, s)
		o.emit(ipc.Event{Kind: ipc.EventStep, Step: &s})
	}
	return func(step dockerops.Step, ended bool, err error) {
		step.ID += before
		o.progress(step, ended, err)
	}
}

// progress takes over what Apply reports.
func (o *operation) progress(step dockerops.Step, ended bool, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	i := slices.IndexFunc(o.record.Steps, func(s ipc.Step) bool { return s.ID == step.ID })
	if i < 0 { // a step that takes something back
		o.record.Steps = append(o.record.Steps, describeStep(step))
		i = len(o.record.Steps) - 1
	}
	s := &o.record.Steps[i]
	switch {
	case !ended:
		s.State, s.Started = ipc.StepRunning, time.Now()
	case err == dockerops.ErrSkipped:
		s.State, s.Ended = ipc.StepSkipped, time.Now()
	case err != nil:
		s.State, s.Ended, s.Error = ipc.StepFailed, time.Now(), err.Error()
	default:
		s.State, s.Ended = ipc.StepDone, time.Now()
	}
	now := *s
	o.emit(ipc.Event{Kind: ipc.EventStep, Step: &now})
	if ended {
		o.logStep(now)
	}
}

func (o *operation) logStep(s ipc.Step) {
	took := s.Ended.Sub(s.Started)
	f := o.fields()
	f["TVS_STEP"], f["TVS_SERVICE"], f["TVS_REPLICA"] = s.Kind, s.Service, s.Target
	f["TVS_DURATION_MS"] = strconv.FormatInt(took.Milliseconds(), 10)
	switch s.State {
	case ipc.StepFailed:
		o.log.warning(eventStep, fmt.Sprintf("Failed to %s after %s: %s.", s.Text, seconds(took), s.Error), f)
	case ipc.StepDone:
		o.log.info(eventStep, fmt.Sprintf("Done in %s: %s.", seconds(took), s.Text), f)
	}
}

func (o *operation) fields() fields {
	r := &o.record
	return fields{"TVS_OPERATION": r.ID, "TVS_PROJECT": r.Project, "TVS_VERB": r.Verb,
		"TVS_UID": strconv.FormatUint(uint64(r.UID), 10), "TVS_USER": r.User}
}

func seconds(d time.Duration) string { return strconv.FormatFloat(d.Seconds(), 'f', 2, 64) + " s" }

func describeStep(s dockerops.Step) ipc.Step {
	return ipc.Step{ID: s.ID, Kind: string(s.Kind), Service: s.Service, Target: s.Replica,
		Needs: s.Needs, State: ipc.StepPending, Text: s.Text()}
}

func describeSteps(plan *dockerops.Plan) []ipc.Step {
	steps := make([]ipc.Step, 0, len(plan.Steps))
	for _, s := range plan.Steps {
		steps = append(steps, describeStep(s))
	}
	return steps
}

const stateHint = "nothing was changed; make room or mend the state directory"

// launch records an operation and runs it when the project's turn comes. It
// returns at once, when the request is on disk.
func (d *Daemon) launch(ctx context.Context, s *site, verb, summary string, j job) (ipc.Operation, error) {
	who, _ := peerOf(ctx)
	o := newOperation(d.log, newRecord(s.name, verb, summary, who), j)
	if n := len(d.runningIn(s.name)); n >= maxQueued {
		return ipc.Operation{}, &ipc.Error{Code: ipc.CodeBusy, Message: fmt.Sprintf("cannot %s: %d operations of project %s wait already", summary, n, s.name),
			Hint: "see tvsctl ops"}
	}
	release, err := d.reserve(o, who)
	if err != nil {
		return ipc.Operation{}, err
	}
	defer release()
	if err := d.state.record(o.snapshot(), &o.job); err != nil {
		return ipc.Operation{}, &ipc.Error{Code: ipc.CodeState, Message: "cannot " + summary + ": " + err.Error(), Hint: stateHint}
	}
	d.log.notice(eventRequested, fmt.Sprintf("%s asks to %s in project %s.", o.record.User, summary, s.name), o.fields())
	return d.admit(s, o), nil
}

// admit lets a recorded operation wait for its turn.
func (d *Daemon) admit(s *site, o *operation) ipc.Operation {
	d.mu.Lock()
	d.running[o.record.ID] = o
	d.mu.Unlock()
	d.activity.begin()
	select {
	case d.began <- struct{}{}:
	default:
	}
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
		d.conclude(o, "", o.ctx.Err())
		<-before
		close(over)
		return
	}
	defer close(over)
	if o.ctx.Err() != nil {
		d.conclude(o, "", o.ctx.Err())
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
	if o.begun { // in an earlier life
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
	d.log.notice(eventResumed, fmt.Sprintf("Leaving it to the next start of tvsctld: %s in project %s.", o.snapshot().Summary, o.snapshot().Project), o.fields())
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
// meanwhile: things are other by then than they were planned. Where there is no way back
// any more (final, or an UnfinishedError), another failure too is only the first of a few.
func (d *Daemon) insist(o *operation, final bool, do func() error) error {
	for try := 1; ; {
		err := do()
		unfinished := final || errors.As(err, new(*dockerops.UnfinishedError))
		switch {
		case err == nil:
			return nil
		case o.begun && errors.Is(err, dockerops.ErrUnavailable):
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
				_ = d.state.record(o.snapshot(), &o.job)
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
	case o.begun:
		err = &ipc.Error{Code: ipc.CodeCanceled, Message: fmt.Sprintf("%s: %v; what it had begun was taken back", record.Summary, cause)}
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
	if len(r.Error.Detail) > 0 {
		text += "\n" + strings.Join(r.Error.Detail, "\n")
	}
	d.log.error(eventFailed, text, f)
}

// findOperation returns a running or recent operation, or a record from the state.
// An id may be shortened while it is unambiguous.
func (d *Daemon) findOperation(id string) (*operation, ipc.Operation, error) {
	d.mu.Lock()
	var live []*operation
	for _, o := range d.running {
		live = append(live, o)
	}
	live = append(live, d.recent...)
	d.mu.Unlock()
	found := map[string]ipc.Operation{}
	var running *operation
	for _, record := range d.state.history() {
		if id != "" && strings.HasPrefix(record.ID, id) {
			found[record.ID] = record
		}
	}
	for _, o := range live {
		if record := o.snapshot(); id != "" && strings.HasPrefix(record.ID, id) {
			found[record.ID], running = record, o
		}
	}
	if len(found) != 1 {
		text := "there is no operation " + strconv.Quote(id)
		if len(found) > 1 {
			text = fmt.Sprintf("%d operations begin with %s", len(found), strconv.Quote(id))
		}
		return nil, ipc.Operation{}, &ipc.Error{Code: ipc.CodeUnknownOperation, Message: text, Hint: "see tvsctl ops"}
	}
	for _, record := range found {
		return running, record, nil
	}
	panic("unreachable")
}

// runningIn returns the unfinished operations of a project, oldest first.
func (d *Daemon) runningIn(project string) []ipc.Operation {
	d.mu.Lock()
	defer d.mu.Unlock()
	list := []ipc.Operation{}
	for _, o := range d.running {
		if record := o.snapshot(); record.Project == project {
			list = append(list, record)
		}
	}
	slices.SortFunc(list, func(a, b ipc.Operation) int { return a.Queued.Compare(b.Queued) })
	return list
}
