package daemon

import (
	"context"

	"tvsctl/ipc"
	"tvsctl/policy"
)

// toldOperation is an operation as the caller is told of it: why it failed without lines
// of a log that the caller may not read.
func (d *Daemon) toldOperation(ctx context.Context, o ipc.Operation) ipc.Operation {
	if o.Error == nil || o.Error.Log == nil || d.readsExcerpt(ctx, o.Project, *o.Error.Log) {
		return o
	}
	o.Error = withoutLog(o.Error)
	return o
}

// toldProgress is an event of an operation as the caller is told of it.
func (d *Daemon) toldProgress(ctx context.Context, e ipc.Event) ipc.Event {
	if e.Operation != nil {
		o := d.toldOperation(ctx, *e.Operation)
		e.Operation = &o
	}
	return e
}

// readsExcerpt reports whether the caller may read the log that an excerpt is of. Where it
// is not known of which service it is, that is for who may read those of the whole project.
func (d *Daemon) readsExcerpt(ctx context.Context, project string, e ipc.Excerpt) bool {
	if e.Unit != "" {
		return d.readsUnit(ctx, e.Unit)
	}
	about := policy.Target{Project: project, Service: e.Service}
	return allows(d.policy(), d.subjectOf(ctx), []policy.Request{{Verb: policy.Logs, Target: about}})
}

// readsUnit reports whether the caller may read the log of a unit. It is no refusal.
func (d *Daemon) readsUnit(ctx context.Context, id string) bool {
	return allows(d.policy(), d.subjectOf(ctx), logsOfUnit(id))
}

// excerptOf says of which log some lines are, if there are any.
func excerptOf(lines []string, of ipc.Excerpt) *ipc.Excerpt {
	if of.Lines = len(lines); of.Lines == 0 {
		return nil
	}
	return &of
}

// withoutLog is an error without the lines of a log in it.
func withoutLog(e *ipc.Error) *ipc.Error {
	if e.Log == nil {
		return e
	}
	told := *e // which others may hold
	told.Detail = e.Detail[:max(0, len(e.Detail)-e.Log.Lines)]
	told.Log = nil
	return &told
}
