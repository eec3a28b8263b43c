package systemd

import (
	"context"
	"fmt"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// FailedError says why a unit did not become what a job was to make of it.
type FailedError struct {
	Unit string
	Verb string
	Text string // "its process exited with status 3"
	// Superseded is whether another job took the place of this one.
	Superseded bool
	// Of is the unit whose failure it is, and Invocation the run of it that failed, by which
	// the journal has its lines; empty where nothing ran.
	Of         string
	Invocation string
}

func (e *FailedError) Error() string { return fmt.Sprintf("cannot %s %s: %s", e.Verb, e.Unit, e.Text) }

// judge says what a job came to, from what the unit was before and is now and, where it
// was heard, the result of the job. A job that is done is not yet a unit that runs.
func judge(verb string, before Mark, now *Unit, result string) *FailedError {
	failed := &FailedError{Unit: before.Unit, Verb: verb, Of: before.Unit}
	ran := now.Invocation != before.Invocation
	if ran {
		failed.Invocation = now.Invocation
	}
	switch result {
	case "canceled":
		failed.Superseded, failed.Text = true, "another job took its place, or somebody canceled it"
		return failed
	case "dependency":
		failed.Text = "a unit that it needs failed"
		return failed
	case "timeout":
		failed.Text = "its job took longer than it may (JobTimeoutSec=)"
		return failed
	case "assert":
		failed.Text = unmet("assert", now.Asserts)
		return failed
	case "unsupported":
		failed.Text = "this system cannot have units of its type"
		return failed
	case "once":
		failed.Text = "it may be started only once, and was"
		return failed
	case "invalid", "collected", "frozen", "concurrency":
		failed.Text = "its job ended " + result
		return failed
	}
	switch verb {
	case "stop":
		if now.Active() {
			failed.Text = "it is " + now.ActiveState + " again"
			return failed
		}
		return nil
	case "reload":
		if result != "failed" && (now.Active() || now.Changing()) {
			return nil
		}
		failed.Invocation = now.Invocation
	case "restart":
		if now.Active() && !ran && before.Active && before.Invocation != "" {
			failed.Text = "it goes on as before"
			return failed
		}
	}
	if verb != "reload" && now.Active() {
		return nil
	}
	failed.Text = reason(before, now)
	if failed.Text == "" {
		return nil
	}
	return failed
}

// reason says why a unit is not active; empty when it ran to its end as it should.
func reason(before Mark, now *Unit) string {
	switch {
	case !now.ConditionAt.IsZero() && !now.Condition && now.ConditionAt.After(before.Checked):
		return unmet("condition", now.Conditions)
	case now.Result == "exec-condition":
		return "it was skipped: " + ended(now) + ", and that is its condition (ExecCondition=)"
	case now.Result != "" && now.Result != "success":
		text := failure(now)
		if now.SubState == "auto-restart" || now.SubState == "auto-restart-queued" {
			text += "; systemd starts it again by and by (Restart=)"
		}
		return text
	case now.ActiveState == "failed":
		return "it failed"
	case now.ActiveState == "inactive" && now.Invocation != before.Invocation && now.Invocation != "":
		return "" // it had something to do, and did it
	}
	return "it is " + now.ActiveState + " (" + now.SubState + ")"
}

func unmet(what string, list []string) string {
	switch len(list) {
	case 0:
		return "what it asserts, or its condition, is not met"
	case 1:
		return "its " + what + " " + list[0] + " is not met"
	}
	return "one of its " + what + "s is not met: " + strings.Join(list, ", ")
}

// Failure says in words why the unit failed the last time; empty when it did not.
func (u *Unit) Failure() string {
	if u.Result == "" || u.Result == "success" || u.Active() {
		return ""
	}
	return failure(u)
}

// failure says what the Result of a unit means (org.freedesktop.systemd1(5)).
func failure(u *Unit) string {
	switch u.Result {
	case "exit-code", "signal", "core-dump":
		return ended(u)
	case "timeout":
		if u.StartTimeout == 0 {
			return "it took longer than it may"
		}
		return fmt.Sprintf("it was not ready within %s (TimeoutStartSec=)", brief(u.StartTimeout))
	case "protocol":
		if u.Type == "notify" || u.Type == "notify-reload" {
			return "its process ended without telling systemd that it is ready (Type=" + u.Type + ")"
		}
		return "it did not do what its type asks for (Type=" + u.Type + ")"
	case "watchdog":
		return "it did not send its signs of life in time (WatchdogSec=)"
	case "start-limit-hit":
		return "it was started too often in a short time (StartLimitBurst=); reset-failed lets it start again"
	case "trigger-limit-hit":
		return "it was triggered too often in a short time (TriggerLimitBurst=); reset-failed lets it start again"
	case "oom-kill":
		return "the kernel ended it for want of memory"
	case "resources":
		return "systemd could not make what it needs (resources)"
	case "service-start-limit-hit":
		return "the service that it triggers was started too often"
	}
	return "it ended with result " + u.Result
}

// ended says how the process of a unit that made it fail ended.
func ended(u *Unit) string {
	for _, c := range u.Commands {
		if c.Setting != "ExecStart" {
			return "its " + c.Setting + "= (" + c.Path + ") " + died(c.Code, c.Status)
		}
	}
	switch {
	case u.ExitCode != 0:
		return "its process " + died(u.ExitCode, u.ExitStatus)
	case len(u.Commands) > 0:
		return "its process " + died(u.Commands[0].Code, u.Commands[0].Status)
	}
	return "a process of it ended badly (" + u.Result + ")"
}

// The codes of a process's end, as waitid(2) has them.
const (
	exited = 1
	killed = 2
	dumped = 3
)

func died(code, status int) string {
	switch code {
	case exited:
		text := fmt.Sprintf("exited with status %d", status)
		if name := exitNames[status]; name != "" {
			text += " (" + name + ")"
		}
		return text
	case killed, dumped:
		name := unix.SignalName(syscall.Signal(status))
		if name == "" {
			name = fmt.Sprintf("signal %d", status)
		}
		if code == dumped {
			return "was killed by " + name + " and dumped core"
		}
		return "was killed by " + name
	}
	return fmt.Sprintf("ended (%d, %d)", code, status)
}

// exitNames are what systemd itself exits with before it has run a program, the more
// frequent of the table in systemd.exec(5).
var exitNames = map[int]string{
	200: "it cannot enter its working directory", 202: "its standard input, output and error cannot be set up",
	203: "its program cannot be executed", 205: "a resource limit cannot be set", 209: "its standard output cannot be set up",
	214: "its scheduling cannot be set", 216: "there is no such group", 217: "there is no such user",
	218: "its capabilities cannot be set", 219: "its control group cannot be set up", 226: "its mount namespace cannot be set up",
	233: "its runtime directory cannot be set up", 238: "its state directory cannot be set up", 239: "its cache directory cannot be set up",
	240: "its log directory cannot be set up", 243: "its credentials cannot be set up",
}

// brief writes a duration as a unit file would: 1m30s, 2h.
func brief(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

// needs are the dependencies without which a unit does not start.
var needs = []string{"Requires", "BindsTo", "Requisite"}

// blameDepth bounds how far the unit is looked for that made all others fail.
const blameDepth = 8

// blame says of a job that failed for a dependency which one it was, and why.
func (u *Units) blame(ctx context.Context, failed *FailedError, now *Unit) {
	seen := map[string]bool{now.ID: true}
	for range blameDepth {
		next := u.culprit(ctx, now, seen)
		if next == nil {
			return
		}
		seen[next.ID] = true
		text := reason(Mark{}, next)
		if next.LoadState != "loaded" && next.LoadState != "" {
			text = "it is " + next.LoadState
		}
		failed.Of, failed.Invocation, failed.Text = next.ID, next.Invocation, fmt.Sprintf("%s, which it needs, failed: %s", next.ID, text)
		if next.ActiveState == "failed" || !next.Condition {
			return
		}
		now = next // it is only down because of another
	}
}

// culprit returns a unit that another needs, and that is not up.
func (u *Units) culprit(ctx context.Context, of *Unit, seen map[string]bool) (worst *Unit) {
	for _, kind := range needs {
		for _, name := range of.related[kind] {
			needed, err := u.Unit(ctx, name)
			if err != nil || needed.Active() || seen[needed.ID] {
				continue
			}
			if worst == nil || needed.ActiveState == "failed" && worst.ActiveState != "failed" {
				worst = needed
			}
		}
	}
	return worst
}
