package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"tvsctl/fault"
	"tvsctl/ipc"
	"tvsctl/systemd"
)

// unitKind is the kind of the jobs that change a unit. They have no project, wait for no
// turn, and a later life of the daemon ends them by looking at the unit.
const unitKind = "unit"

// unitJob is what an operation on a unit has to do.
type unitJob struct {
	systemd.Job
	// Boot is the life of the machine in which it was asked for.
	Boot string `json:"boot,omitempty"`
	// Target is the unit whose files are changed, where the job is that of the helper.
	Target string `json:"target,omitempty"`
}

// launchUnit records a change of a unit and begins it at once. What is asked for is on disk
// before systemd hears of it.
func (d *Daemon) launchUnit(ctx context.Context, verb, unit string, j unitJob) (ipc.Operation, error) {
	who, _ := peerOf(ctx)
	j.Boot = bootID()
	text, err := json.Marshal(j)
	if err != nil {
		return ipc.Operation{}, err
	}
	record := newRecord("", verb, verb+" "+unit, who)
	record.Unit = unit
	audit, _, _ := asked(ctx)
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
		return ipc.Operation{}, notBegun(record.Summary, err)
	}
	d.log.notice(eventRequested, fmt.Sprintf("%s asks to %s.", record.User, record.Summary), o.decided())
	return d.admitUnit(o), nil
}

func (d *Daemon) admitUnit(o *operation) ipc.Operation {
	d.enter(o)
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
	if o.resumed && j.Boot != "" && j.Boot != bootID() {
		// To ask for it again could start the machine again, and again.
		return "", &ipc.Error{Code: ipc.CodeUnitFailed, Message: "cannot tell what came of it: the machine was started again since",
			Hint: "see tvsctl unit status " + o.record.Unit}
	}
	j.Sent = o.resumed
	ended := o.unitStep(ipc.Step{Kind: o.record.Verb, Target: o.record.Unit, Text: o.record.Summary})
	defer func() {
		if err == nil || ctx.Err() == nil || o.ctx.Err() != nil { // else the next life ends it
			ended(err)
		}
	}()
	o.begun = true
	after, err := d.doUnit(ctx, j.Job)
	if err != nil && o.ctx.Err() != nil && !errors.As(err, new(*systemd.FailedError)) {
		return d.cancelUnit(o, j)
	}
	return d.unitOutcome(ctx, o, j, after, err)
}

// doUnit has systemd do a job, and returns the unit as it is then.
func (d *Daemon) doUnit(ctx context.Context, j systemd.Job) (after *systemd.Unit, err error) {
	err = fault.Do("unit "+j.Verb, func() (err error) {
		after, err = d.units.Do(ctx, j)
		return err
	})
	return after, err
}

// unitOutcome says what came of a change, or why it failed.
func (d *Daemon) unitOutcome(ctx context.Context, o *operation, j unitJob, after *systemd.Unit, err error) (string, error) {
	var failed *systemd.FailedError
	switch {
	case errors.As(err, &failed):
		if j.Target != "" {
			failed.Unit, failed.Verb, failed.Text = j.Target, o.record.Verb, failed.Of+" did not do it: "+failed.Text
		}
		return "", d.explain(ctx, failed)
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

// cancelUnit takes back what a canceled operation began, where that is possible: a job that
// waits, and the start of a unit that was down. Else it follows the job to its end.
func (d *Daemon) cancelUnit(o *operation, j unitJob) (string, error) {
	ctx, stop := d.untilStopping(d.life)
	defer stop()
	var canceled bool
	err := fault.Do("unit cancel", func() (err error) {
		canceled, err = d.units.Cancel(ctx, j.Before.Unit, j.Verb)
		return err
	})
	switch {
	case err != nil:
		return "", err
	case canceled:
		return "", context.Cause(o.ctx)
	case j.Verb == "start" && !j.Before.Active && j.Target == "":
		now, err := d.units.Unit(ctx, j.Before.Unit)
		if err == nil {
			_, err = d.doUnit(ctx, systemd.Job{Verb: "stop", Before: now.Mark()})
		}
		if err != nil {
			return "", err
		}
		return "", context.Cause(o.ctx)
	}
	j.Sent = true
	after, err := d.doUnit(ctx, j.Job)
	return d.unitOutcome(ctx, o, j, after, err)
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
	lines, err := systemd.LastLines(ctx, failed.Of, failed.Invocation, failureLines)
	if err != nil {
		lines = []string{err.Error()}
	}
	return &ipc.Error{Code: code, Message: failed.Error(), Hint: hint, Detail: lines, Log: excerptOf(lines, ipc.Excerpt{Unit: failed.Of})}
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
