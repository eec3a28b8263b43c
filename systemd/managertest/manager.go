// Package managertest is a service manager on a bus of its own, in the test's process:
// it speaks D-Bus on a socket, and its units start and stop as they are told.
package managertest

import (
	"fmt"
	"maps"
	"net"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
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

	t     *testing.T
	mu    sync.Mutex
	conns map[net.Conn]bool
	units map[string]map[string]dbus.Variant
	files map[string]map[string]any // by unit or template: the properties that they give
	calls []string
	last  uint32
}

// Start runs a manager until the test ends, and makes it the system's.
func Start(t *testing.T) *Manager {
	t.Helper()
	dir, err := os.MkdirTemp("", "bus") // t.TempDir() can be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	m := &Manager{t: t, conns: map[net.Conn]bool{}, units: map[string]map[string]dbus.Variant{}, files: map[string]map[string]any{}}
	listener, err := net.Listen("unix", filepath.Join(dir, "s"))
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path="+filepath.Join(dir, "s"))
	t.Cleanup(func() {
		listener.Close()
		m.Drop()
		os.RemoveAll(dir)
	})
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go m.serve(conn)
		}
	}()
	return m
}

// Drop ends all connections, as a bus does that is restarted.
func (m *Manager) Drop() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for conn := range m.conns {
		conn.Close()
	}
	m.conns = map[net.Conn]bool{}
}

// File adds a unit file, or that of a template, with properties of its units.
func (m *Manager) File(name string, values map[string]any) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.files[name] = values
}

// Set changes a unit, by somebody's doing.
func (m *Manager) Set(unit string, values map[string]any) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.set(unit, values)
}

// Active returns the units that are active, sorted.
func (m *Manager) Active() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
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
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.calls)
}

// load returns a unit, which is in memory from then on. mu is held.
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

// set changes a unit and tells of it. mu is held.
func (m *Manager) set(name string, values map[string]any) {
	unit, changed := m.load(name), map[string]dbus.Variant{}
	for key, value := range values {
		changed[key] = dbus.MakeVariant(value)
	}
	maps.Copy(unit, changed)
	m.signal(unitPath(name), properties, "PropertiesChanged", unitIface, changed, []string{})
}

// job begins a job and returns its path. mu is held.
func (m *Manager) job(verb, unit string) dbus.ObjectPath {
	m.last++
	id, path := m.last, dbus.ObjectPath(fmt.Sprintf("%s/job/%d", managerPath, m.last))
	m.calls = append(m.calls, verb+" "+unit)
	go func() {
		values, result := map[string]any(nil), "done"
		if m.OnJob != nil {
			values, result = m.OnJob(verb, unit)
		}
		m.mu.Lock()
		defer m.mu.Unlock()
		if values == nil && result == "done" {
			values = m.works(verb, unit)
		}
		m.set(unit, values)
		m.signal(managerPath, managerIface, "JobRemoved", id, path, unit, result)
	}()
	return path
}

// works is what a service that works becomes by a job. mu is held.
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
