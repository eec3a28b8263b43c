package systemd

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"
)

// runs makes a unit active, with an invocation of its own.
func (f *fake) runs(unit string, job uint32) {
	f.put(unit, map[string]any{"ActiveState": "active", "SubState": "running", "InvocationID": []byte{byte(job >> 8), byte(job)}})
}

func do(t *testing.T, u *Units, verb, unit string) (*Unit, error) {
	t.Helper()
	before, err := u.Unit(t.Context(), unit)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	return u.Do(ctx, Job{Verb: verb, Before: before.Mark()})
}

// A job can end before its path is known, and everybody on the bus may say that it did.
func TestJobEndsBeforeItsPathIsKnown(t *testing.T) {
	f := newFakeBus(t)
	f.set("a.service", nil)
	f.ask = func(f *fake, _, unit string, job uint32) *dbus.Error {
		f.runs(unit, job)
		f.end(job, "done")
		f.SignalFrom(":1.66", managerPath, manager, "JobRemoved", job, jobPath(job), unit, "canceled")
		return nil
	}
	u := new(Units)
	defer u.Close()
	after, err := do(t, u, "start", "a.service")
	if err != nil || after.ActiveState != "active" {
		t.Errorf("%+v, %v", after, err)
	}
}

// Each of many jobs at once ends with its own result.
func TestManyJobs(t *testing.T) {
	f := newFakeBus(t)
	const n = 300
	for i := range n {
		f.set(fmt.Sprintf("u%d.service", i), nil)
	}
	var all []uint32
	f.ask = func(f *fake, _, unit string, job uint32) *dbus.Error {
		all = append(all, job)
		if len(all) < n {
			return nil
		}
		for _, job := range all { // all at once, in the middle of a reply
			unit := f.jobs[job]
			if strings.HasSuffix(unit, "7.service") {
				f.put(unit, map[string]any{"ActiveState": "failed", "SubState": "failed", "Result": "exit-code", "ExecMainCode": int32(1), "ExecMainStatus": int32(job)})
				f.end(job, "failed")
			} else {
				f.runs(unit, job)
				f.end(job, "done")
			}
		}
		return nil
	}
	u := new(Units)
	defer u.Close()
	var group sync.WaitGroup
	for i := range n {
		group.Go(func() {
			name := fmt.Sprintf("u%d.service", i)
			after, err := do(t, u, "start", name)
			if i%10 == 7 {
				var failed *FailedError
				if !errors.As(err, &failed) || failed.Unit != name || !strings.Contains(failed.Text, "exited with status") {
					t.Errorf("%s: %v", name, err)
				}
			} else if err != nil || after.ID != name || !after.Active() {
				t.Errorf("%s: %+v, %v", name, after, err)
			}
		})
	}
	group.Wait()
	if b := u.shared; len(b.jobs) != 0 || len(b.ended) != 0 || len(b.watchers) != 0 {
		t.Errorf("left: %v, %v, %v", b.jobs, b.ended, b.watchers)
	}
}

func TestLostBus(t *testing.T) {
	for _, c := range []struct {
		name string
		// lose is called with the job; it drops the connections and may change the unit.
		lose  func(f *fake, unit string, job uint32)
		verb  string
		times int // that the manager is asked
		says  string
	}{
		{"the job goes on, and ends later", func(f *fake, unit string, job uint32) {
			time.AfterFunc(300*time.Millisecond, func() {
				f.Lock()
				defer f.Unlock()
				f.runs(unit, job)
				f.end(job, "done")
			})
		}, "start", 1, ""},
		{"the job ends meanwhile, well", func(f *fake, unit string, job uint32) {
			f.runs(unit, job)
			f.end(job, "done")
		}, "start", 1, ""},
		{"the job ends meanwhile, badly", func(f *fake, unit string, job uint32) {
			f.put(unit, map[string]any{"ActiveState": "failed", "SubState": "failed", "Result": "signal", "ExecMainCode": int32(2), "ExecMainStatus": int32(9), "InvocationID": []byte{9}})
			f.end(job, "failed")
		}, "start", 1, "its process was killed by SIGKILL"},
		{"the manager never heard of it", func(f *fake, unit string, job uint32) {
			if job == 1 {
				delete(f.jobs, job)
				delete(f.units[unit], "Job")
				return
			}
			f.runs(unit, job)
			f.end(job, "done")
		}, "start", 2, ""},
		{"a stop that is done", func(f *fake, unit string, job uint32) { f.end(job, "done") }, "stop", 1, ""},
		{"a reload leaves no trace", func(f *fake, unit string, job uint32) {
			f.put(unit, map[string]any{"ActiveState": "active"})
			f.end(job, "done")
		}, "reload", 2, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFakeBus(t)
			f.set("a.service", nil)
			first := true
			f.ask = func(f *fake, _, unit string, job uint32) *dbus.Error {
				if first {
					f.Drop()
				}
				c.lose(f, unit, job)
				first = false
				return nil
			}
			u := new(Units)
			defer u.Close()
			start := time.Now()
			_, err := do(t, u, c.verb, "a.service")
			if took := time.Since(start); took >= jobLook {
				t.Errorf("it took %v: what ended meanwhile is to be seen at once", took)
			}
			if c.says == "" && err != nil || c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says)) {
				t.Errorf("err %v", err)
			}
			method := map[string]string{"start": "StartUnit", "stop": "StopUnit", "reload": "ReloadUnit"}[c.verb]
			if n := f.count(method + " a.service"); n != c.times {
				t.Errorf("asked %d times, not %d", n, c.times)
			}
		})
	}
}

// What the manager forgets with the end of a job was told before.
func TestForgotten(t *testing.T) {
	for _, c := range []struct {
		name   string
		values map[string]any
		says   string
	}{
		{"a oneshot that ran", map[string]any{"InvocationID": []byte{1}, "ConditionResult": true, "ConditionTimestamp": uint64(time.Now().Add(time.Hour).UnixMicro())}, ""},
		{"a condition", map[string]any{"ConditionResult": false, "ConditionTimestamp": uint64(time.Now().Add(time.Hour).UnixMicro())}, "its condition ConditionPathExists=!/x is not met"},
	} {
		f := newFakeBus(t)
		type condition struct {
			Kind            string
			Trigger, Negate bool
			Parameter       string
			State           int32
		}
		fresh := map[string]any{"Type": "oneshot", "Conditions": []condition{{"ConditionPathExists", false, true, "/x", 0}}}
		f.set("a.service", fresh)
		f.ask = func(f *fake, _, unit string, job uint32) *dbus.Error {
			f.put(unit, c.values)
			f.end(job, "done")
			delete(f.units, unit)
			f.put(unit, fresh)
			return nil
		}
		u := new(Units)
		_, err := do(t, u, "start", "a.service")
		u.Close()
		if c.says == "" && err != nil || c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says)) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// A service whose start is over with the fork is looked at a little longer.
func TestFailsAfterItsStart(t *testing.T) {
	f := newFakeBus(t)
	f.set("a.service", map[string]any{"Type": "simple"})
	f.ask = func(f *fake, _, unit string, job uint32) *dbus.Error {
		f.runs(unit, job)
		f.end(job, "done")
		time.AfterFunc(50*time.Millisecond, func() {
			f.set(unit, map[string]any{"ActiveState": "failed", "SubState": "failed", "Result": "exit-code", "ExecMainCode": int32(1), "ExecMainStatus": int32(3)})
		})
		return nil
	}
	u := new(Units)
	defer u.Close()
	if _, err := do(t, u, "start", "a.service"); err == nil || !strings.Contains(err.Error(), "its process exited with status 3") {
		t.Errorf("err %v", err)
	}
}

func TestRefusals(t *testing.T) {
	f := newFakeBus(t)
	f.set("a.service", nil)
	u := new(Units)
	defer u.Close()
	for name, problem := range map[string]Problem{
		"org.freedesktop.systemd1.NoSuchUnit": NoSuchUnit, "org.freedesktop.systemd1.UnitMasked": Other,
		"org.freedesktop.DBus.Error.AccessDenied": Denied, "org.freedesktop.DBus.Error.InteractiveAuthorizationRequired": Denied,
	} {
		f.Lock()
		f.ask = func(*fake, string, string, uint32) *dbus.Error { return refusal(name, "No.") }
		f.Unlock()
		_, err := do(t, u, "start", "a.service")
		var refused *RefusedError
		if !errors.As(err, &refused) || refused.Problem != problem || err.Error() != "cannot start a.service: No" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Waiting survives a restart of the bus.
func TestWait(t *testing.T) {
	f := newFakeBus(t)
	f.set("a.service", map[string]any{"ActiveState": "active"})
	u := new(Units)
	defer u.Close()
	if _, err := u.Unit(t.Context(), "a.service"); err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(100*time.Millisecond, f.drop)
	time.AfterFunc(500*time.Millisecond, func() { f.set("a.service", map[string]any{"ActiveState": "inactive"}) })
	ctx, cancel := context.WithTimeout(t.Context(), lookAgain*3/5)
	defer cancel()
	now, err := u.Wait(ctx, "a.service", func(u *Unit) bool { return u.ActiveState == "inactive" })
	if err != nil || now.ActiveState != "inactive" {
		t.Errorf("%+v, %v", now, err)
	}
}

// A job whose path is known, and that ends while the bus is away, is seen to have ended at
// once when it is back: it may soon be away again.
func TestEndsWhileTheBusIsAway(t *testing.T) {
	f := newFakeBus(t)
	f.set("a.service", nil)
	f.ask = func(_ *fake, _, unit string, job uint32) *dbus.Error {
		time.AfterFunc(100*time.Millisecond, func() {
			f.drop()
			f.Lock()
			defer f.Unlock()
			f.runs(unit, job)
			f.end(job, "done")
		})
		return nil
	}
	u := new(Units)
	defer u.Close()
	start := time.Now()
	if after, err := do(t, u, "start", "a.service"); err != nil || !after.Active() || time.Since(start) >= jobLook {
		t.Errorf("after %v: %+v, %v", time.Since(start), after, err)
	}
}

// A job that an earlier life asked for can end while the unit is looked at.
func TestJobEndsWhileItIsLookedAt(t *testing.T) {
	f := newFakeBus(t)
	const job = 7
	f.set("a.service", map[string]any{"ActiveState": "activating", "SubState": "start", "InvocationID": []byte{7}, "Job": struct {
		ID   uint32
		Path dbus.ObjectPath
	}{job, jobPath(job)}})
	f.Lock()
	f.jobs[job] = "a.service"
	answer := f.Answer
	f.Answer = func(member string, at dbus.ObjectPath, args []any) ([]any, *dbus.Error) {
		if member == "Get" && f.jobs[job] != "" {
			f.runs("a.service", job)
			f.end(job, "done")
		}
		return answer(member, at, args)
	}
	f.Unlock()
	u := new(Units)
	defer u.Close()
	after, err := u.Do(t.Context(), Job{Verb: "restart", Before: Mark{Unit: "a.service", Active: true, Invocation: "06"}, Sent: true})
	if err != nil || after.ActiveState != "active" || f.last != 0 {
		t.Errorf("%+v, %v, %d further jobs", after, err, f.last)
	}
}
