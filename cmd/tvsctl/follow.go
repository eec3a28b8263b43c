package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"

	"github.com/spf13/cobra"

	"tvsctl/ipc"
)

// changeFlags are what every change has.
type changeFlags struct{ dryRun, detach bool }

func (f *changeFlags) addDryRun(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&f.dryRun, "dry-run", false, "print the plan, change nothing")
}

func (f *changeFlags) addDetach(cmd *cobra.Command) {
	cmd.Flags().BoolVarP(&f.detach, "detach", "d", false, "print the operation's id, do not wait for it")
}

func (f *changeFlags) add(cmd *cobra.Command) {
	f.addDryRun(cmd)
	f.addDetach(cmd)
}

// reconnects is how often a client goes on following after tvsctld was lost.
const reconnects = 3

// change asks for a change of the project and follows it to its end. The
// request itself must say the same about a dry run as f.
func (a *app) change(ctx context.Context, resource string, request any, f changeFlags) error {
	path := ipc.ProjectPath(a.project, resource)
	if f.dryRun {
		var plan ipc.Plan
		if err := a.client().Post(ctx, path, request, &plan); err != nil {
			return err
		}
		a.show(plan, func(w io.Writer) { writePlan(w, &plan) })
		return nil
	}
	var operation ipc.Operation
	if err := a.client().Post(ctx, path, request, &operation); err != nil {
		return err
	}
	if f.detach {
		if a.json {
			writeJSON(a.stdout, operation)
		} else {
			fmt.Fprintln(a.stdout, operation.ID) // also with --quiet: it was asked for
		}
		return nil
	}
	return a.follow(ctx, &operation)
}

// writePlan prints the steps with the numbers of those that they wait for.
func writePlan(w io.Writer, plan *ipc.Plan) {
	if len(plan.Steps) == 0 {
		fmt.Fprintf(w, "%s: nothing to do\n", clean(plan.Summary))
		return
	}
	fmt.Fprintf(w, "%s:\n", clean(plan.Summary))
	var t table
	for _, step := range plan.Steps {
		after := ""
		for i, id := range step.Needs {
			if i == 0 {
				after = "after "
			} else {
				after += ", "
			}
			after += fmt.Sprint(id)
		}
		t.add(fmt.Sprintf("%3d", step.ID), step.Text, after)
	}
	t.write(w)
}

// progress shows an operation while it runs.
type progress interface {
	event(ipc.Event)
	note(string)
	close()
}

func (a *app) newProgress() progress {
	_, _, stdout := a.stdoutSize()
	_, _, stderr := a.stderrSize()
	switch {
	case a.quiet || a.json:
		return silent{}
	case stdout && stderr && a.env("TERM") != "dumb":
		return a.newLive()
	}
	return &lines{w: a.stdout, seen: map[int]bool{}}
}

// follow shows an operation until it is finished; its failure is the error.
func (a *app) follow(ctx context.Context, operation *ipc.Operation) error {
	id := operation.ID
	show := a.newProgress()
	if operation.State == ipc.OperationQueued && !a.quiet && !a.json {
		if other := a.ahead(ctx, operation); other != nil {
			show.note(fmt.Sprintf("waiting for operation %s of %s: %s", other.ID, other.User, other.Summary))
		}
	}
	done, err := a.client().Follow(ctx, id, show.event)
	var lost *ipc.Error
	for range reconnects {
		if !errors.As(err, &lost) || lost.Code != ipc.CodeUnreachable {
			break
		}
		// The operation goes on in the next life of the daemon, which connecting starts.
		show.note("lost tvsctld; following again")
		done, err = a.client().Follow(ctx, id, show.event)
	}
	show.close()
	if err != nil {
		if errors.Is(err, context.Canceled) && errors.As(context.Cause(ctx), new(interrupt)) {
			fmt.Fprintf(a.stderr, "operation %s goes on; follow it again: tvsctl ops %s --follow\n", id, id)
		}
		return err
	}
	if a.json {
		// The event stream's operation has no steps.
		var full ipc.Operation
		if err := a.client().Get(ctx, operationPath(id), &full); err == nil {
			done = &full
		}
		writeJSON(a.stdout, done)
	}
	if done.State == ipc.OperationFailed {
		if done.Error == nil {
			return failuref("cannot %s: operation %s failed without a reason", done.Summary, id)
		}
		return done.Error
	}
	if !a.json {
		result := done.Result
		if result == "" {
			result = done.Summary
		}
		fmt.Fprintf(a.out(), "%s (%s)\n", clean(result), operationSpan(a, done))
	}
	return nil
}

// ahead returns the operation that a queued one waits for. A queued operation
// may have got its turn by now, then there is none.
func (a *app) ahead(ctx context.Context, operation *ipc.Operation) *ipc.Operation {
	var list []ipc.Operation
	if err := a.client().Get(ctx, "/operations?project="+url.QueryEscape(operation.Project), &list); err != nil {
		return nil
	}
	for i := range list {
		if list[i].State == ipc.OperationRunning && list[i].ID != operation.ID {
			return &list[i]
		}
	}
	return nil
}

func operationPath(id string) string { return "/operations/" + url.PathEscape(id) }

// operationSpan says how long an operation ran, without its time in the queue.
func operationSpan(a *app, operation *ipc.Operation) string {
	from := operation.Started
	if from.IsZero() && operation.State.Finished() {
		from = operation.Queued
	}
	return span(a.now(), from, operation.Ended)
}

type silent struct{}

func (silent) event(ipc.Event) {}
func (silent) note(string)     {}
func (silent) close()          {}

// lines prints a plain line for each step that ended, for pipes and logs.
type lines struct {
	w    io.Writer
	seen map[int]bool
}

func (l *lines) note(text string) { fmt.Fprintln(l.w, clean(text)) }
func (l *lines) close()           {}

func (l *lines) event(event ipc.Event) {
	if event.Kind == ipc.EventLog {
		fmt.Fprintln(l.w, clean(event.Line))
		return
	}
	step := event.Step
	if event.Kind != ipc.EventStep || step == nil || l.seen[step.ID] {
		return
	}
	switch step.State {
	case ipc.StepDone:
		text := clean(step.Text)
		if !step.Started.IsZero() && !step.Ended.IsZero() {
			text += " (" + took(step.Ended.Sub(step.Started)) + ")"
		}
		fmt.Fprintln(l.w, text)
	case ipc.StepFailed:
		fmt.Fprintf(l.w, "failed: %s: %s\n", clean(step.Text), oneLine(step.Error))
	default:
		return
	}
	l.seen[step.ID] = true
}
