package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"tvsctl/ipc"
	"tvsctl/systemd"
)

// unitKind is the kind of the jobs that change a unit. They have no project, wait for no
// turn, and a later life of the daemon ends them by looking at the unit.
const unitKind = "unit"

// unitJob is what an operation on a unit has to do.
type unitJob struct {
	systemd.Job
	// Target is the unit whose files are changed, where the job is that of the helper.
	Target string `json:"target,omitempty"`
}

// launchUnit records a change of a unit and begins it at once. What is asked for is on disk
// before systemd hears of it.
func (d *Daemon) launchUnit(ctx context.Context, verb, unit string, j unitJob) (ipc.Operation, error) {
	who, _ := peerOf(ctx)
	text, err := json.Marshal(j)
	if err != nil {
		return ipc.Operation{}, err
	}
	record := newRecord("", verb, verb+" "+unit, who)
	record.Unit = unit
	audit, _ := asked(ctx)
	if audit == nil {
		return ipc.Operation{}, &ipc.Error{Code: ipc.CodeInternal, Message: "cannot " + record.Summary + ": nobody has decided on it"}
	}
	o := newOperation(d.log, record, job{Kind: unitKind, Request: text, Audit: audit})
	release, err := d.reserve(o, who)
	if err != nil {
		return ipc.Operation{}, err
	}
	defer release()
	if err := d.state.record(o.snapshot(), &o.job); err != nil {
		return ipc.Operation{}, &ipc.Error{Code: ipc.CodeState, Message: "cannot " + record.Summary + ": " + err.Error(), Hint: stateHint}
	}
	d.log.notice(eventRequested, fmt.Sprintf("%s asks to %s.", record.User, record.Summary), o.decided())
	return d.admitUnit(o), nil
}

func (d *Daemon) admitUnit(o *operation) ipc.Operation {
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
	o.update(func(r *ipc.Operation) { r.State, r.Started = ipc.OperationRunning, time.Now() })
	d.showStatus()
	running := o.snapshot()
	go d.conductUnit(o)
	return running
}

// conductUnit runs a change of a unit to its end. A daemon that ends does not wait for it:
// it may be the reason for that end. The next life looks what came of it.
func (d *Daemon) conductUnit(o *operation) {
	defer d.activity.end()
	ctx, stop := d.untilStopping(o.ctx)
	defer stop()
	result, err := d.changeUnit(ctx, o)
	if err != nil && ctx.Err() != nil && o.ctx.Err() == nil {
		d.leave(o)
		return
	}
	d.conclude(o, result, err)
}

// untilStopping returns a context that ends also when the daemon is told to end.
func (d *Daemon) untilStopping(parent context.Context) (context.Context, context.CancelFunc) {
	ctx, stop := context.WithCancel(parent)
	go func() {
		select {
		case <-d.stopping:
			stop()
		case <-ctx.Done():
		}
	}()
	return ctx, stop
}

// changeUnit does what the operation is for, and says what came of it.
func (d *Daemon) changeUnit(ctx context.Context, o *operation) (result string, err error) {
	var j unitJob
	if err := json.Unmarshal(o.job.Request, &j); err != nil {
		return "", fmt.Errorf("cannot read the kept request: %v", err)
	}
	j.Sent = o.resumed
	ended := o.unitStep(ipc.Step{Kind: j.Verb, Target: j.Before.Unit, Text: j.Verb + " " + j.Before.Unit})
	defer func() { ended(err) }()
	o.begun = true
	after, err := d.units.Do(ctx, j.Job)
	var failed *systemd.FailedError
	switch {
	case errors.As(err, &failed):
		return "", d.explain(ctx, failed)
	case err != nil && o.ctx.Err() != nil:
		return "", d.cancelUnit(o, j)
	case err != nil:
		return "", err
	case j.Target != "":
		return d.unitFileResult(ctx, j.Target)
	case j.NoBlock:
		return fmt.Sprintf("the job to %s %s is queued", j.Verb, j.Before.Unit), nil
	}
	return outcomeOf(j.Job, after), nil
}

func outcomeOf(j systemd.Job, after *systemd.Unit) string {
	text := fmt.Sprintf("%s is %s (%s)", after.ID, after.ActiveState, after.SubState)
	if j.Verb == "stop" {
		if after.ActiveState == "failed" && after.Failure() != "" {
			return fmt.Sprintf("%s is stopped, and failed: %s", after.ID, after.Failure())
		}
		return after.ID + " is stopped"
	}
	if !after.Active() && j.Verb != "reload" {
		return after.ID + " ran to its end"
	}
	return text
}

// cancelUnit takes the job of a canceled operation back from systemd.
func (d *Daemon) cancelUnit(o *operation, j unitJob) error {
	ctx, cancel := context.WithTimeout(d.life, requestDeadline)
	defer cancel()
	if err := d.units.Cancel(ctx, j.Before.Unit, j.Verb); err != nil {
		return err
	}
	return context.Cause(o.ctx)
}

const (
	// failureLines is how many lines of the journal explain a failure.
	failureLines = 10
	// journalPause is how long the last lines of a process may be on their way to the journal.
	journalPause = 200 * time.Millisecond
)

// explain adds to a failure what the journal has of the run that failed.
func (d *Daemon) explain(ctx context.Context, failed *systemd.FailedError) error {
	code, hint := ipc.CodeUnitFailed, "see tvsctl unit status "+failed.Of
	if failed.Superseded {
		code = ipc.CodeConflict
	}
	if failed.Invocation != "" {
		pause(ctx, journalPause)
	}
	lines, err := systemd.LastLines(ctx, failed.Invocation, failureLines)
	if err != nil {
		lines = []string{err.Error()}
	}
	return &ipc.Error{Code: code, Message: failed.Error(), Hint: hint, Detail: lines}
}

// unitStep tells of the one step of a change of a unit; the returned function of its end.
func (o *operation) unitStep(step ipc.Step) func(err error) {
	set := func(change func(*ipc.Step)) {
		o.mu.Lock()
		defer o.mu.Unlock()
		change(&step)
		o.record.Steps = []ipc.Step{step}
		now := step
		o.emit(ipc.Event{Kind: ipc.EventStep, Step: &now})
	}
	set(func(s *ipc.Step) { s.ID, s.State, s.Started = 1, ipc.StepRunning, time.Now() })
	return func(err error) {
		set(func(s *ipc.Step) {
			s.State, s.Ended = ipc.StepDone, time.Now()
			if err != nil {
				s.State, s.Error = ipc.StepFailed, describeError(err).Message
			}
		})
	}
}

// where says in which project an operation is, for sentences; nothing of one on a unit.
func where(record ipc.Operation) string {
	if record.Project == "" {
		return ""
	}
	return " in project " + record.Project
}
