package systemd

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strconv"
	"time"

	"github.com/godbus/dbus/v5"
)

// Job is a change of a unit's state.
type Job struct {
	Verb string `json:"verb"` // start, stop, restart, reload, isolate
	// Before is what the unit was before: by it a job whose end nobody heard of is judged.
	Before Mark `json:"before"`
	// NoBlock is whether the job is only queued.
	NoBlock bool `json:"no_block,omitempty"`
	// Sent is whether the manager may have been asked already.
	Sent bool `json:"-"`
}

// Mark is a unit at one moment, as far as a later one must be told from it.
type Mark struct {
	Unit       string    `json:"unit"`
	Active     bool      `json:"active"`
	Invocation string    `json:"invocation,omitempty"`
	Checked    time.Time `json:"checked,omitzero"` // its conditions
	At         time.Time `json:"at"`
}

// Mark returns what Do must know of a unit before a job.
func (u *Unit) Mark() Mark {
	return Mark{Unit: u.ID, Active: u.Active(), Invocation: u.Invocation, Checked: u.ConditionAt, At: time.Now()}
}

const (
	// jobLook is how often the manager is asked whether it still has the job, whose end
	// may have been told while it was restarted.
	jobLook = time.Second
	// maxUnheard bounds how often a reload is asked for again whose end nobody told.
	maxUnheard = 10
	// settle is for how long a service whose start is over with the fork must go on.
	settle = 300 * time.Millisecond
)

// verbs are the manager's methods, the modes of their jobs (systemd.unit's D-Bus page,
// org.freedesktop.systemd1(5)) and the types that these have.
var verbs = map[string]struct {
	method, mode string
	types        []string
}{
	"start":   {"StartUnit", "replace", []string{"start"}},
	"stop":    {"StopUnit", "replace", []string{"stop"}},
	"restart": {"RestartUnit", "replace", []string{"restart", "start"}},
	"reload":  {"ReloadUnit", "replace", []string{"reload"}},
	"isolate": {"StartUnit", "isolate", []string{"start"}},
}

// Do has the manager run a job, follows it to its end and judges what came of the unit,
// which it returns. When the bus is lost meanwhile it looks at the unit, and asks again
// only for what has not happened. A *FailedError says why a job failed.
func (u *Units) Do(ctx context.Context, j Job) (after *Unit, err error) {
	r := &run{Job: j}
	if err := u.persist(ctx, func(b *bus) error { return r.carry(ctx, b) }); err != nil {
		return nil, err
	}
	if j.NoBlock {
		return r.after, nil
	}
	failed := judge(j.Verb, j.Before, r.after, r.result)
	if failed == nil {
		return r.after, nil
	}
	if r.result == "dependency" {
		u.blame(ctx, failed, r.after)
	}
	return r.after, failed
}

// run is a job under way, over the losses of the bus.
type run struct {
	Job
	job     dbus.ObjectPath // once it is known
	result  string          // of the job; empty where nobody heard it
	known   bool            // it was there before this connection
	unheard int             // how many jobs ended so
	after   *Unit
}

func (r *run) doing() string { return r.Verb + " " + r.Before.Unit }

// carry goes on with the job on a connection, from where it stands.
func (r *run) carry(ctx context.Context, b *bus) error {
	if r.Sent && r.job == "" {
		now, own, err := b.withJob(ctx, r.Before.Unit, r.Verb)
		switch {
		case err != nil:
			return err
		case own:
			r.job = now.job
		case happened(r.Verb, r.Before, now):
			r.after = now
			return nil
		case now.forgotten() && r.recall(ctx, now):
			r.after = now
			return nil
		}
	}
	watcher, stop, err := b.watch(ctx, unitPath(r.Before.Unit))
	if err != nil {
		return err
	}
	defer stop()
	ended, err := r.join(ctx, b)
	if err != nil {
		return err
	}
	defer b.forget(r.job, ended)
	if !r.NoBlock {
		if err := r.wait(ctx, b, ended); err != nil {
			return err
		}
	}
	return r.look(ctx, b, watcher)
}

// join returns the channel on which the result of the job comes. It has the manager begin
// the job unless that has, or had, it already.
func (r *run) join(ctx context.Context, b *bus) (chan string, error) {
	if r.known = r.job != ""; !r.known {
		r.Sent = true
		job, ended, err := b.begin(ctx, r.doing(), manager+"."+verbs[r.Verb].method, r.Before.Unit, verbs[r.Verb].mode)
		r.job = job
		return ended, err
	}
	if err := b.follow(ctx); err != nil {
		return nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.await(r.job), nil
}

// hasJob reports whether the manager still has a job.
func (b *bus) hasJob(ctx context.Context, job dbus.ObjectPath) (bool, error) {
	var id dbus.Variant
	err := b.call(ctx, "look at a job", job, properties+".Get", []any{busName + ".Job", "Id"}, &id)
	if gone(err) {
		return false, nil
	}
	return err == nil, err
}

func gone(err error) bool {
	var refused *RefusedError
	return errors.As(err, &refused) && refused.Problem == Gone
}

// withJob returns a unit, and whether the job that it has is one of the verb.
func (b *bus) withJob(ctx context.Context, name, verb string) (unit *Unit, own bool, err error) {
	for {
		if unit, err = b.unit(ctx, name); err != nil || unit.Job == 0 {
			return unit, false, err
		}
		var kind string
		err = b.call(ctx, "look at a job", unit.job, properties+".Get", []any{busName + ".Job", "JobType"}, &kind)
		if !gone(err) {
			return unit, slices.Contains(verbs[verb].types, kind), err
		}
		// It has ended since, and the unit is another than it was in the middle of it.
	}
}

// happened reports whether a unit shows that the job was done, or tried, since before.
func happened(verb string, before Mark, now *Unit) bool {
	ran := now.Invocation != before.Invocation || now.ConditionAt.After(before.Checked)
	switch verb {
	case "start":
		return now.Active() || ran
	case "stop":
		return !now.Active() && !now.Changing()
	case "restart":
		return ran || before.Active && !now.Active()
	case "isolate":
		return now.Active() && !before.Active
	}
	return false // a reload leaves no trace
}

// wait returns when the job has ended, with its result if it was told.
func (r *run) wait(ctx context.Context, b *bus, ended chan string) error {
	look := time.NewTicker(jobLook)
	defer look.Stop()
	// What an earlier connection began may have ended since.
	now := make(chan struct{}, 1)
	if r.known {
		now <- struct{}{}
	}
	for {
		select {
		case <-now:
		case r.result = <-ended:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		case <-b.conn.Context().Done():
			return fmt.Errorf("cannot %s: %w", r.doing(), errLost)
		case <-look.C:
		}
		if there, err := b.hasJob(ctx, r.job); there || err != nil {
			if err != nil {
				return err
			}
			continue
		}
		var told bool
		if r.result, told = b.forget(r.job, ended); told {
			return nil
		}
		b.resubscribe()
		if r.Verb != "reload" {
			return nil // the unit will tell
		}
		if told, err := lastJob(ctx, r.Before.Unit, r.Before.At, verbs[r.Verb].types); err == nil && told != nil {
			r.result, _ = told.JobResult.(string)
			return nil
		}
		if r.unheard++; r.unheard > maxUnheard {
			return fmt.Errorf("cannot %s: its job has ended, and nobody told how", r.doing())
		}
		// Nothing of the unit tells of it: ask again.
		r.job = ""
		return fmt.Errorf("cannot %s: %w (its job has gone)", r.doing(), errLost)
	}
}

// look takes the unit as the job left it. A service whose start is over with the fork is
// watched a little longer.
func (r *run) look(ctx context.Context, b *bus, w *watcher) (err error) {
	if r.after, err = b.unit(ctx, r.Before.Unit); err != nil || r.NoBlock {
		return err
	}
	now := r.after
	if now.forgotten() {
		if b.remember(now, w); now.forgotten() {
			r.recall(ctx, now)
		}
		return nil
	}
	forked := now.Type == "simple" || now.Type == "exec" || now.Type == "idle"
	if !forked || r.Verb != "start" && r.Verb != "restart" || !now.Active() || now.Invocation == r.Before.Invocation {
		return nil
	}
	timer := time.NewTimer(settle)
	defer timer.Stop()
	for over, patience := false, 3; ; {
		asked := time.Now()
		if r.after, err = b.unit(ctx, r.Before.Unit); err != nil || !r.after.Active() {
			return err
		}
		late := time.Since(asked) > settle/3
		if over && (!late || patience == 0) {
			return nil
		}
		if late {
			// A manager that executes itself anew has yet to hear of what ended meanwhile.
			timer.Reset(settle)
			over, patience = false, patience-1
		}
		select {
		case <-w.changed:
		case <-timer.C:
			over = true
		case <-b.conn.Context().Done():
			return fmt.Errorf("cannot %s: %w", r.doing(), errLost)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Cancel has the manager cancel the job of a verb that a unit has, if it still waits for
// another: what runs is not ended by that. It reports whether it did.
func (u *Units) Cancel(ctx context.Context, unit, verb string) (canceled bool, err error) {
	err = u.persist(ctx, func(b *bus) error {
		canceled = false
		now, own, err := b.withJob(ctx, unit, verb)
		if err != nil || !own {
			return err
		}
		var state string
		err = b.call(ctx, "look at a job", now.job, properties+".Get", []any{busName + ".Job", "State"}, &state)
		if gone(err) || err == nil && state != "waiting" {
			return nil
		} else if err != nil {
			return err
		}
		id, err := strconv.ParseUint(path.Base(string(now.job)), 10, 32)
		if err != nil {
			return fmt.Errorf("cannot cancel job %s: %v", now.job, err)
		}
		canceled = true
		return b.call(ctx, "cancel the job of "+unit, managerPath, manager+".CancelJob", []any{uint32(id)})
	})
	return canceled, err
}

// ResetFailed takes back that a unit failed.
func (u *Units) ResetFailed(ctx context.Context, unit string) error {
	return u.persist(ctx, func(b *bus) error {
		return b.call(ctx, "reset "+unit, managerPath, manager+".ResetFailedUnit", []any{unit})
	})
}
