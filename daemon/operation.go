package daemon

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"tvsctl/dockerops"
	"tvsctl/ipc"
)

// operation is one change while it runs: its record, and the events that tell
// how it came to be so.
type operation struct {
	log    *logbook
	number int // in the order of coming
	job    job
	done   chan struct{} // closed when the outcome is known
	ctx    context.Context
	cancel context.CancelCauseFunc

	// telling keeps the journal's lines in the order of the events. It is taken before mu,
	// which is not held while anything is told: a journal that hangs then holds up steps,
	// and not those who ask.
	telling sync.Mutex

	mu     sync.Mutex
	record ipc.Operation
	events []ipc.Event
	more   chan struct{} // closed when there is a further event
	// resumed is whether the record's steps are those of an earlier life.
	resumed bool
	// begun is whether it has had, or may have had, a side effect.
	begun bool
	// interrupted is whether the daemon or Docker has gone away in the middle of it.
	interrupted atomic.Bool
}

// maxEvents bounds what is kept of a talkative child for those who follow late.
const maxEvents = 5000

// newOperation makes a live operation of a record.
func newOperation(log *logbook, record ipc.Operation, j job) *operation {
	ctx, cancel := context.WithCancelCause(context.Background())
	return &operation{log: log, job: j, record: record, ctx: ctx, cancel: cancel,
		done: make(chan struct{}), more: make(chan struct{})}
}

// planning is what an operation's look at things before its steps ends with: of one that has
// begun what is next has to be found out, though it was canceled.
func (o *operation) planning(ctx context.Context) context.Context {
	if o.begun {
		return context.WithoutCancel(ctx)
	}
	return ctx
}

func newID() string {
	id := make([]byte, 4)
	_, _ = rand.Read(id) // never fails (crypto/rand)
	return hex.EncodeToString(id)
}

func newRecord(project, verb, summary string, who peer) ipc.Operation {
	return ipc.Operation{ID: newID(), Project: project, Verb: verb, Summary: summary,
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

// jobNow returns the job as it stands.
func (o *operation) jobNow() *job {
	o.mu.Lock()
	defer o.mu.Unlock()
	j := o.job
	return &j
}

// change changes the job, which others keep meanwhile.
func (o *operation) change(do func(*job)) {
	o.mu.Lock()
	defer o.mu.Unlock()
	do(&o.job)
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
	o.telling.Lock()
	defer o.telling.Unlock()
	now, f := o.advance(step, ended, err)
	if ended {
		o.logStep(now, f)
	}
}

// advance notes how far a step has come, and returns it with the fields of its entry.
func (o *operation) advance(step dockerops.Step, ended bool, err error) (ipc.Step, fields) {
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
	return now, o.fields()
}

func (o *operation) logStep(s ipc.Step, f fields) {
	took := s.Ended.Sub(s.Started)
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
	f := fields{"TVS_OPERATION": r.ID, "TVS_VERB": r.Verb,
		"TVS_UID": strconv.FormatUint(uint64(r.UID), 10), "TVS_USER": r.User}
	if r.Unit != "" {
		f["TVS_UNIT"] = r.Unit
	} else {
		f["TVS_PROJECT"] = r.Project
	}
	for key, value := range o.job.Audit {
		if f[key] == "" && key != "TVS_DECISION" { // that is told once
			f[key] = value
		}
	}
	if f["TVS_TARGET"] == "" { // nobody asked for it
		f["TVS_TARGET"] = cmp.Or(r.Unit, r.Project)
	}
	return f
}

// decided are the fields of the entry that tells of the request.
func (o *operation) decided() fields {
	f := o.fields()
	if decision := o.job.Audit["TVS_DECISION"]; decision != "" {
		f["TVS_DECISION"] = decision
	}
	return f
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

const stateHint = "nothing was changed; make room or mend the state directory; where it was read-only, then systemctl restart tvsctld"

// launch records an operation and runs it when the project's turn comes. It
// returns at once, when the request is on disk.
func (d *Daemon) launch(ctx context.Context, s *site, verb, summary string, j job) (ipc.Operation, error) {
	who, _ := peerOf(ctx)
	var services []string
	if j.Audit, j.Most, services = asked(ctx); j.Audit == nil && !who.itself {
		return ipc.Operation{}, &ipc.Error{Code: ipc.CodeInternal, Message: "cannot " + summary + ": nobody has decided on it"}
	}
	record := newRecord(s.name, verb, summary, who)
	record.Services = services
	o := newOperation(d.log, record, j)
	release, err := d.reserve(o, who)
	if err != nil {
		return ipc.Operation{}, err
	}
	defer release()
	if err := d.state.record(o.snapshot(), &o.job); err != nil {
		return ipc.Operation{}, notBegun(summary, err)
	}
	d.log.notice(eventRequested, fmt.Sprintf("%s asks to %s in project %s.", o.record.User, summary, s.name), o.decided())
	return d.admit(s, o), nil
}
