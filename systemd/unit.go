package systemd

import (
	"context"
	"encoding/hex"
	"fmt"
	"path"
	"time"

	"github.com/godbus/dbus/v5"
)

// Unit is one unit as the manager knows it, at one moment.
type Unit struct {
	ID          string // its name; an alias was resolved
	Names       []string
	Description string
	LoadState   string // loaded, not-found, masked, bad-setting, error, …
	LoadError   string
	ActiveState string // active, reloading, inactive, failed, activating, deactivating
	SubState    string
	FileState   string // enabled, disabled, static, masked, …; empty without a file
	Preset      string
	Fragment    string // the unit file
	DropIns     []string
	NeedReload  bool // the files changed since they were read
	Documents   []string
	Invocation  string // of this or the last run, in hexadecimal; empty before the first

	Changed       time.Time // when the state changed last
	ActiveSince   time.Time
	InactiveSince time.Time

	// Job is the one that is queued or runs; 0 when there is none.
	Job  uint32
	path dbus.ObjectPath
	job  dbus.ObjectPath

	// Conditions and Asserts are those that did not hold when it was last to be started, or
	// could be.
	Condition, Assert     bool
	Conditions, Asserts   []string  // "ConditionPathExists=/etc/x"
	ConditionAt, AssertAt time.Time // when they were checked

	CanStart, CanStop, CanReload, CanIsolate bool
	IgnoreOnIsolate                          bool

	// The rest is of services, and partly of other types.
	Type          string
	Result        string // success, exit-code, signal, timeout, …
	MainPID       int
	ExitCode      int // how the main process ended: 1 exited, 2 killed, 3 dumped core
	ExitStatus    int // its status, or the signal
	StatusText    string
	Restarts      int
	StartTimeout  time.Duration
	StopTimeout   time.Duration
	RemainsActive bool
	Tasks, Memory uint64 // 0: not known
	CPU           time.Duration
	Commands      []Command // that failed

	// related are other units, by the property that names them.
	related map[string][]string
}

// Command is a command of a service that ended badly.
type Command struct {
	Setting string // ExecStartPre
	Path    string
	Code    int // as Unit.ExitCode
	Status  int
}

// props are the properties of a unit by name.
type props map[string]dbus.Variant

func property[T any](p props, name string) T {
	value, _ := p[name].Value().(T)
	return value
}

func (p props) time(name string) time.Time {
	if usec := property[uint64](p, name); usec > 0 {
		return time.UnixMicro(int64(usec))
	}
	return time.Time{}
}

// unset is what systemd says for a number that it does not know, and for no limit.
const unset = 1<<64 - 1

func (p props) number(name string) uint64 {
	if n := property[uint64](p, name); n != unset {
		return n
	}
	return 0
}

func (p props) span(name string) time.Duration {
	return time.Duration(min(p.number(name), uint64(1<<53))) * time.Microsecond
}

// Unit loads a unit and looks at it. A unit that is not there has the LoadState not-found.
func (u *Units) Unit(ctx context.Context, name string) (found *Unit, err error) {
	err = u.persist(ctx, func(b *bus) error {
		found, err = b.unit(ctx, name)
		return err
	})
	return found, err
}

func (b *bus) unit(ctx context.Context, name string) (*Unit, error) {
	// Looking at the path loads the unit too, as LoadUnit would, and resolves an alias.
	return b.unitAt(ctx, "look at "+name, unitPath(name), "")
}

// unitAt reads the properties of an interface of a unit, "" for all.
func (b *bus) unitAt(ctx context.Context, doing string, at dbus.ObjectPath, iface string) (*Unit, error) {
	var reply []any
	if err := b.call(ctx, doing, at, properties+".GetAll", []any{iface}, &reply); err != nil {
		return nil, err
	}
	p, ok := reply[0].(map[string]dbus.Variant)
	if !ok {
		return nil, fmt.Errorf("cannot %s: systemd answered %T", doing, reply[0])
	}
	return newUnit(at, p), nil
}

func newUnit(at dbus.ObjectPath, p props) *Unit {
	u := &Unit{path: at, related: map[string][]string{},
		ID: property[string](p, "Id"), Names: property[[]string](p, "Names"), Description: property[string](p, "Description"),
		LoadState: property[string](p, "LoadState"), ActiveState: property[string](p, "ActiveState"), SubState: property[string](p, "SubState"),
		FileState: property[string](p, "UnitFileState"), Preset: property[string](p, "UnitFilePreset"),
		Fragment: property[string](p, "FragmentPath"), DropIns: property[[]string](p, "DropInPaths"),
		NeedReload: property[bool](p, "NeedDaemonReload"), Documents: property[[]string](p, "Documentation"),
		Invocation: hex.EncodeToString(property[[]byte](p, "InvocationID")),
		Changed:    p.time("StateChangeTimestamp"), ActiveSince: p.time("ActiveEnterTimestamp"), InactiveSince: p.time("InactiveEnterTimestamp"),
		Condition: property[bool](p, "ConditionResult"), ConditionAt: p.time("ConditionTimestamp"), Conditions: p.unmet("Conditions"),
		Assert: property[bool](p, "AssertResult"), AssertAt: p.time("AssertTimestamp"), Asserts: p.unmet("Asserts"),
		CanStart: property[bool](p, "CanStart"), CanStop: property[bool](p, "CanStop"), CanReload: property[bool](p, "CanReload"),
		CanIsolate: property[bool](p, "CanIsolate"), IgnoreOnIsolate: property[bool](p, "IgnoreOnIsolate"),
		Type: property[string](p, "Type"), Result: property[string](p, "Result"), MainPID: int(property[uint32](p, "MainPID")),
		ExitCode: int(property[int32](p, "ExecMainCode")), ExitStatus: int(property[int32](p, "ExecMainStatus")),
		StatusText: property[string](p, "StatusText"), Restarts: int(property[uint32](p, "NRestarts")),
		StartTimeout: p.span("TimeoutStartUSec"), StopTimeout: p.span("TimeoutStopUSec"), RemainsActive: property[bool](p, "RemainAfterExit"),
		Tasks: p.number("TasksCurrent"), Memory: p.number("MemoryCurrent"), CPU: time.Duration(p.number("CPUUsageNSec")),
		Commands: p.failedCommands()}
	for name, value := range p {
		// Not all properties: those of many units at a time are a lot of memory.
		if units, ok := value.Value().([]string); ok && len(units) > 0 && relations[name] {
			u.related[name] = units
		}
	}
	_ = p.store("Job", &u.Job, &u.job)
	var name string
	_ = p.store("LoadError", &name, &u.LoadError)
	return u
}

// store takes a structure apart; what has another form is left as it was.
func (p props) store(name string, into ...any) error {
	fields, ok := p[name].Value().([]any)
	if !ok {
		return fmt.Errorf("%s is no structure", name)
	}
	return dbus.Store(fields, into...)
}

// unmet returns the conditions or asserts that did not hold, as a unit file has them; all
// where systemd has forgotten what they were.
func (p props) unmet(name string) (list []string) {
	var untested []string
	for _, fields := range property[[][]any](p, name) {
		var kind, parameter string
		var trigger, negate bool
		var state int32
		if dbus.Store(fields, &kind, &trigger, &negate, &parameter, &state) != nil || state > 0 {
			continue
		}
		marks := ""
		if trigger {
			marks = "|"
		}
		if negate {
			marks += "!"
		}
		if text := kind + "=" + marks + parameter; state < 0 {
			list = append(list, text)
		} else {
			untested = append(untested, text)
		}
	}
	if list == nil {
		return untested
	}
	return list
}

// execSettings are the commands of a service, in the order in which they run.
var execSettings = []string{"ExecCondition", "ExecStartPre", "ExecStart", "ExecStartPost", "ExecReload", "ExecStop", "ExecStopPost"}

func (p props) failedCommands() (list []Command) {
	for _, setting := range execSettings {
		for _, fields := range property[[][]any](p, setting) {
			var program string
			var arguments []string
			var ignore bool
			var started, startedMonotonic, ended, endedMonotonic uint64
			var pid uint32
			var code, status int32
			if dbus.Store(fields, &program, &arguments, &ignore, &started, &startedMonotonic, &ended, &endedMonotonic, &pid, &code, &status) != nil {
				continue
			}
			if !ignore && code != 0 && status != 0 {
				list = append(list, Command{Setting: setting, Path: path.Base(program), Code: int(code), Status: int(status)})
			}
		}
	}
	return list
}

// Active reports whether the unit runs, or is up in its own way.
func (u *Unit) Active() bool {
	return u.ActiveState == "active" || u.ActiveState == "reloading" || u.ActiveState == "refreshing"
}

// Changing reports whether it is on the way to another state.
func (u *Unit) Changing() bool {
	return u.Job != 0 || u.ActiveState == "activating" || u.ActiveState == "deactivating" || u.ActiveState == "reloading"
}

// Missing reports whether there is nothing of that name: no file, and nothing that runs.
func (u *Unit) Missing() bool {
	return u.LoadState == "not-found" && (u.ActiveState == "inactive" || u.ActiveState == "")
}
