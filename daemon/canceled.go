package daemon

import (
	"context"
	"errors"
	"fmt"

	"tvsctl/dockerops"
	"tvsctl/ipc"
)

// stays reports whether what the job has done by the time it is canceled stays done:
// there is nothing that takes it back.
func (j job) stays() bool {
	switch j.Kind {
	case "up", "down", "reload", "restore":
		return true
	}
	return false
}

// takesBack reports whether an operation that is canceled needs its turn nevertheless:
// what an earlier life of the daemon began of it is taken back.
func (o *operation) takesBack() bool { return o.begun && !o.job.stays() }

// mayHaveBegun reports whether an earlier life of the daemon may have begun an operation
// that it left. Most kinds keep what they decide before their first side effect.
func (d *Daemon) mayHaveBegun(o keptOperation) bool {
	switch {
	case o.Job.Kind == unitKind, o.Job.stays(), o.Job.Decided != nil:
		return true
	case o.Job.Kind == "limit":
		return len(o.Steps) > 0
	}
	kept := d.state.project(o.Project)
	for _, r := range kept.Rollouts {
		if r.Operation == o.ID {
			return true
		}
	}
	for _, r := range kept.Replaced {
		if r.Operation == o.ID {
			return true
		}
	}
	return false
}

// halted says how far an operation came that was canceled and is not taken back. Why it
// ended, where not for that alone, is the detail.
func halted(record ipc.Operation, cause, err error) error {
	told := &ipc.Error{Code: ipc.CodeCanceled, Message: fmt.Sprintf("%s: %v; ", record.Summary, cause), Hint: "see tvsctl status"}
	for _, step := range record.Steps {
		switch {
		case step.Started.IsZero():
		case step.State == ipc.StepDone:
			told.Message = fmt.Sprintf("%s: %v; stopped after %q, ", record.Summary, cause, step.Text)
		default:
			told.Message = fmt.Sprintf("%s: %v; stopped in the middle of %q, ", record.Summary, cause, step.Text)
		}
	}
	told.Message += "nothing was taken back"
	if !errors.Is(err, cause) && !errors.Is(err, context.Canceled) {
		why := describeError(err)
		told.Detail, told.Log = append([]string{why.Message}, why.Detail...), why.Log
	}
	return told
}

// undone says that what an operation had begun that was canceled was taken back, or that
// it was not all.
func undone(record ipc.Operation, cause, err error) error {
	rest := "what it had begun was taken back"
	if leftover := (*dockerops.LeftoverError)(nil); errors.As(err, &leftover) {
		rest = leftover.Rest()
	}
	return &ipc.Error{Code: ipc.CodeCanceled, Message: fmt.Sprintf("%s: %v; %s", record.Summary, cause, rest)}
}
