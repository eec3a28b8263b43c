// Package managertest is a service manager on a bus of its own, in the test's process:
// it speaks D-Bus on a socket, and its units start and stop as they are told.
package managertest

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/godbus/dbus/v5"
)

const (
	managerPath  = "/org/freedesktop/systemd1"
	managerIface = "org.freedesktop.systemd1.Manager"
	unitIface    = "org.freedesktop.systemd1.Unit"
	properties   = "org.freedesktop.DBus.Properties"
)

// Manager is the fake. OnJob, if it is set before the first call, says what a job makes
// of a unit and how it ends; nil means what a service does that works. It is called
// without a lock, each time on a goroutine of its own.
type Manager struct {
	OnJob func(verb, unit string) (values map[string]any, result string)

	bus   Bus
	units map[string]map[string]dbus.Variant
	files map[string]map[string]any // by unit or template: the properties that they give
	calls []string
	last  uint32
}

// Start runs a manager until the test ends, and makes it the system's.
func Start(t testing.TB) *Manager {
	t.Helper()
	m := &Manager{units: map[string]map[string]dbus.Variant{}, files: map[string]map[string]any{}}
	m.bus.Answer = m.answer
	m.bus.Serve(t)
	return m
}

// File adds a unit file, or that of a template, with properties of its units.
func (m *Manager) File(name string, values map[string]any) {
	m.bus.Lock()
	defer m.bus.Unlock()
	m.files[name] = values
}

// Set changes a unit, by somebody's doing.
func (m *Manager) Set(unit string, values map[string]any) {
	m.bus.Lock()
	defer m.bus.Unlock()
	m.set(unit, values)
}

// Active returns the units that are active, sorted.
func (m *Manager) Active() []string {
	m.bus.Lock()
	defer m.bus.Unlock()
	var list []string
	for name, u := range m.units {
		if u["ActiveState"].Value() == "active" {
			list = append(list, name)
		}
	}
	slices.Sort(list)
	return list
}

// Calls returns the jobs that were asked for, "start a.service", in their order.
func (m *Manager) Calls() []string {
	m.bus.Lock()
	defer m.bus.Unlock()
	return slices.Clone(m.calls)
}

// load returns a unit, which is in memory from then on. The lock is held.
func (m *Manager) load(name string) map[string]dbus.Variant {
	if m.units[name] == nil {
		before, rest, _ := strings.Cut(name, "@")
		given, there := m.files[name]
		if !there && rest != "" {
			given, there = m.files[before+"@"+path.Ext(rest)]
		}
		u := map[string]dbus.Variant{"Id": dbus.MakeVariant(name), "LoadState": dbus.MakeVariant("loaded"), "Type": dbus.MakeVariant("simple"),
			"ActiveState": dbus.MakeVariant("inactive"), "SubState": dbus.MakeVariant("dead"), "Result": dbus.MakeVariant("success")}
		if !there {
			u["LoadState"] = dbus.MakeVariant("not-found")
		}
		for key, value := range given {
			u[key] = dbus.MakeVariant(value)
		}
		m.units[name] = u
	}
	return m.units[name]
}

// set changes a unit and tells of it. The lock is held.
func (m *Manager) set(name string, values map[string]any) {
	unit, changed := m.load(name), map[string]dbus.Variant{}
	for key, value := range values {
		changed[key] = dbus.MakeVariant(value)
	}
	maps.Copy(unit, changed)
	m.bus.Signal(unitPath(name), properties, "PropertiesChanged", unitIface, changed, []string{})
}

// job begins a job and returns its path. The lock is held.
func (m *Manager) job(verb, unit string) dbus.ObjectPath {
	m.last++
	id, path := m.last, dbus.ObjectPath(fmt.Sprintf("%s/job/%d", managerPath, m.last))
	m.calls = append(m.calls, verb+" "+unit)
	go func() {
		values, result := map[string]any(nil), "done"
		if m.OnJob != nil {
			values, result = m.OnJob(verb, unit)
		}
		m.bus.Lock()
		defer m.bus.Unlock()
		if values == nil && result == "done" {
			values = m.works(verb, unit)
		}
		m.set(unit, values)
		m.bus.Signal(managerPath, managerIface, "JobRemoved", id, path, unit, result)
	}()
	return path
}

// works is what a service that works becomes by a job. The lock is held.
func (m *Manager) works(verb, unit string) map[string]any {
	m.last++
	now := uint64(m.last) * 1_000_000
	if verb == "stop" {
		return map[string]any{"ActiveState": "inactive", "SubState": "dead", "MainPID": uint32(0), "InactiveEnterTimestamp": now}
	}
	if verb == "start" && m.load(unit)["ActiveState"].Value() == "active" || verb == "reload" {
		return nil
	}
	return map[string]any{"ActiveState": "active", "SubState": "running", "Result": "success", "MainPID": m.last, "ActiveEnterTimestamp": now,
		"InvocationID": []byte{byte(m.last >> 8), byte(m.last)}}
}

// listed is ListUnits' structure.
type listed struct {
	ID, Description, Load, Active, Sub, Following string
	Path                                          dbus.ObjectPath
	Job                                           uint32
	JobType                                       string
	JobPath                                       dbus.ObjectPath
}

// answer is what a method returns. The lock is held.
func (m *Manager) answer(member string, at dbus.ObjectPath, args []any) ([]any, *dbus.Error) {
	switch member {
	case "Subscribe":
		return nil, nil
	case "GetAll":
		return []any{m.load(unitName(at))}, nil
	case "ListUnits", "ListUnitsByPatterns":
		list, patterns := []listed{}, []string(nil)
		if len(args) > 1 {
			patterns, _ = args[1].([]string)
		}
		for _, name := range slices.Sorted(maps.Keys(m.units)) {
			matches := func(pattern string) bool { ok, _ := path.Match(pattern, name); return ok }
			if u := m.units[name]; len(patterns) == 0 || slices.ContainsFunc(patterns, matches) {
				list = append(list, listed{ID: name, Load: u["LoadState"].Value().(string), Active: u["ActiveState"].Value().(string),
					Sub: u["SubState"].Value().(string), Path: unitPath(name), JobPath: "/"})
			}
		}
		return []any{list}, nil
	case "StartUnit", "StopUnit", "RestartUnit", "ReloadUnit":
		name, _ := args[0].(string)
		if m.load(name)["LoadState"].Value() == "not-found" {
			return nil, dbus.NewError("org.freedesktop.systemd1.NoSuchUnit", []any{"Unit " + name + " not found."})
		}
		return []any{m.job(strings.ToLower(strings.TrimSuffix(member, "Unit")), name)}, nil
	}
	return nil, dbus.NewError("org.freedesktop.DBus.Error.UnknownMethod", []any{"The fake has no " + member + "."})
}

// unitPath is the object of a unit on the bus (sd_bus_path_encode(3)).
func unitPath(name string) dbus.ObjectPath {
	var text strings.Builder
	for i, c := range []byte(name) {
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || i > 0 && c >= '0' && c <= '9' {
			text.WriteByte(c)
		} else {
			fmt.Fprintf(&text, "_%02x", c)
		}
	}
	return dbus.ObjectPath(managerPath + "/unit/" + text.String())
}

// unitName is the inverse of unitPath.
func unitName(at dbus.ObjectPath) string {
	parts := strings.Split(path.Base(string(at)), "_")
	name := parts[0]
	for _, part := range parts[1:] {
		var c byte
		if _, err := fmt.Sscanf(part[:2], "%02x", &c); err != nil {
			return string(at)
		}
		name += string(rune(c)) + part[2:]
	}
	return name
}
