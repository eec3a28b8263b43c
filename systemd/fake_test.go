package systemd

import (
	"fmt"
	"path"
	"testing"

	"github.com/godbus/dbus/v5"

	"tvsctl/systemd/managertest"
)

// fake is a service manager on a bus of its own: what its units do is the test's.
type fake struct {
	managertest.Bus
	// ask answers a job: the path's unit is changed as the test likes, and the job ended
	// by end, now or later.
	ask func(f *fake, method, unit string, job uint32) *dbus.Error

	units map[string]props
	jobs  map[uint32]string // unit
	last  uint32
	calls []string
}

func newFakeBus(t *testing.T) *fake {
	t.Helper()
	f := &fake{units: map[string]props{}, jobs: map[uint32]string{}}
	f.Answer = f.answer
	f.Serve(t)
	return f
}

// drop ends all connections, as a bus that is restarted does.
func (f *fake) drop() {
	f.Lock()
	defer f.Unlock()
	f.Drop()
}

// set adds or changes a unit.
func (f *fake) set(name string, values map[string]any) {
	f.Lock()
	defer f.Unlock()
	f.put(name, values)
}

func (f *fake) put(name string, values map[string]any) {
	if f.units[name] == nil {
		f.units[name] = props{"Id": dbus.MakeVariant(name), "LoadState": dbus.MakeVariant("loaded"),
			"ActiveState": dbus.MakeVariant("inactive"), "SubState": dbus.MakeVariant("dead"), "Result": dbus.MakeVariant("success")}
	}
	changed := map[string]dbus.Variant{}
	for key, value := range values {
		changed[key] = dbus.MakeVariant(value)
		f.units[name][key] = changed[key]
	}
	f.Signal(unitPath(name), properties, "PropertiesChanged", unitIface, changed, []string{})
}

// end ends a job. The lock is held.
func (f *fake) end(job uint32, result string) {
	unit := f.jobs[job]
	delete(f.jobs, job)
	if f.units[unit] != nil {
		delete(f.units[unit], "Job")
	}
	f.Signal(managerPath, manager, "JobRemoved", job, jobPath(job), unit, result)
}

func jobPath(job uint32) dbus.ObjectPath {
	return dbus.ObjectPath(fmt.Sprintf("/org/freedesktop/systemd1/job/%d", job))
}

func (f *fake) count(call string) (n int) {
	f.Lock()
	defer f.Unlock()
	for _, c := range f.calls {
		if c == call {
			n++
		}
	}
	return n
}

func refusal(name, text string) *dbus.Error { return dbus.NewError(name, []any{text}) }

// answer answers a call. The lock is held.
func (f *fake) answer(member string, at dbus.ObjectPath, args []any) ([]any, *dbus.Error) {
	switch member {
	case "Subscribe":
		return nil, nil
	case "GetAll":
		for name, p := range f.units {
			if unitPath(name) == at {
				return []any{map[string]dbus.Variant(p)}, nil
			}
		}
		return []any{map[string]dbus.Variant{"Id": dbus.MakeVariant("none.service"), "LoadState": dbus.MakeVariant("not-found"), "ActiveState": dbus.MakeVariant("inactive")}}, nil
	case "Get":
		var job uint32
		fmt.Sscan(path.Base(string(at)), &job)
		if f.jobs[job] == "" {
			return nil, refusal("org.freedesktop.DBus.Error.UnknownObject", "no such job")
		}
		if args[1] == "JobType" {
			return []any{dbus.MakeVariant("start")}, nil
		}
		return []any{dbus.MakeVariant(job)}, nil
	}
	unit, _ := args[0].(string)
	f.calls = append(f.calls, member+" "+unit)
	f.last++
	job := f.last
	f.jobs[job] = unit
	if f.units[unit] != nil {
		f.units[unit]["Job"] = dbus.MakeVariant(struct {
			ID   uint32
			Path dbus.ObjectPath
		}{job, jobPath(job)})
	}
	if failed := f.ask(f, member, unit, job); failed != nil {
		delete(f.jobs, job)
		return nil, failed
	}
	return []any{jobPath(job)}, nil
}
