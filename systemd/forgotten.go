package systemd

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/godbus/dbus/v5"
)

// The manager forgets a unit that is not up and that nobody refers to as soon as its job is
// over, and with it how it ended. What it told before tells that, or else the journal.

// forgotten reports whether nothing is known of a unit's last run.
func (u *Unit) forgotten() bool {
	return u.ActiveState == "inactive" && u.Invocation == "" && u.ConditionAt.IsZero()
}

// telling are the properties that say how a run ended.
var telling = []string{"InvocationID", "ConditionResult", "ConditionTimestamp", "AssertResult", "AssertTimestamp", "Result", "ExecMainCode", "ExecMainStatus"}

// remember gives a unit what a watcher was told of it.
func (b *bus) remember(u *Unit, w *watcher) {
	b.mu.Lock()
	told := newUnit(u.path, w.seen)
	b.mu.Unlock()
	u.Invocation = told.Invocation
	u.Condition, u.ConditionAt, u.Assert, u.AssertAt = told.Condition, told.ConditionAt, told.Assert, told.AssertAt
	if told.Result != "" {
		u.Result, u.ExitCode, u.ExitStatus = told.Result, told.ExitCode, told.ExitStatus
	}
}

// recall gives a unit what the journal has of the last job, and reports whether that is
// one since the mark.
func (r *run) recall(ctx context.Context, u *Unit) bool {
	if r.Before.At.IsZero() {
		return false
	}
	entry, err := lastJob(ctx, r.Before.Unit, r.Before.At, verbs[r.Verb].types)
	if err != nil || entry == nil {
		return false
	}
	if r.result == "" {
		r.result, _ = entry.JobResult.(string)
	}
	if u.Invocation, _ = entry.About.(string); u.Invocation == "" { // it did not run
		u.Condition, u.ConditionAt = false, time.Now()
	}
	return true
}

// unitPath returns a unit's object path, as sd_bus_path_encode(3) makes it.
func unitPath(name string) dbus.ObjectPath {
	var path strings.Builder
	path.WriteString("/org/freedesktop/systemd1/unit/")
	for i, c := range []byte(name) {
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
		if letter || i > 0 && c >= '0' && c <= '9' {
			path.WriteByte(c)
		} else {
			fmt.Fprintf(&path, "_%02x", c)
		}
	}
	return dbus.ObjectPath(path.String())
}
