package systemd

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/godbus/dbus/v5"
)

const (
	busName     = "org.freedesktop.systemd1"
	managerPath = dbus.ObjectPath("/org/freedesktop/systemd1")
	manager     = "org.freedesktop.systemd1.Manager"
	unitIface   = "org.freedesktop.systemd1.Unit"
	properties  = "org.freedesktop.DBus.Properties"
)

// UnitState is what systemd says of a unit.
type UnitState struct {
	ActiveState string // active, reloading, inactive, failed, …
	SubState    string
	MainPID     int
	Since       time.Time
}

// Units talks to the service manager. Each call has a connection of its own: the
// bus may have been restarted since the last one.
type Units struct{}

// Reload reloads a unit and returns when the job is done.
func (Units) Reload(ctx context.Context, unit string) error {
	conn, err := connect(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	// The job can be done before its path is known, so listen first.
	jobs := make(chan *dbus.Signal, 64)
	conn.Signal(jobs)
	object := conn.Object(busName, managerPath)
	if err := conn.AddMatchSignalContext(ctx, dbus.WithMatchInterface(manager), dbus.WithMatchMember("JobRemoved"),
		dbus.WithMatchObjectPath(managerPath)); err != nil {
		return fmt.Errorf("cannot follow jobs: %v", err)
	}
	if err := object.CallWithContext(ctx, manager+".Subscribe", 0).Err; err != nil {
		return fmt.Errorf("cannot follow jobs: %v", err)
	}
	var job dbus.ObjectPath
	if err := object.CallWithContext(ctx, manager+".ReloadUnit", 0, unit, "replace").Store(&job); err != nil {
		return fmt.Errorf("cannot reload %s: %v", unit, err)
	}
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case signal, open := <-jobs:
			if !open {
				return errors.New("lost the system bus while reloading " + unit)
			}
			var id uint32
			var path dbus.ObjectPath
			var name, result string
			if dbus.Store(signal.Body, &id, &path, &name, &result) != nil || path != job {
				continue
			}
			if result != "done" {
				return fmt.Errorf("reloading %s ended %s", unit, result)
			}
			return nil
		}
	}
}

// State returns the state of a unit.
func (Units) State(ctx context.Context, unit string) (UnitState, error) {
	conn, err := connect(ctx)
	if err != nil {
		return UnitState{}, err
	}
	defer conn.Close()
	var path dbus.ObjectPath
	if err := conn.Object(busName, managerPath).CallWithContext(ctx, manager+".LoadUnit", 0, unit).Store(&path); err != nil {
		return UnitState{}, fmt.Errorf("cannot look at %s: %v", unit, err)
	}
	object := conn.Object(busName, path)
	var state UnitState
	var since uint64
	var pid uint32
	for _, p := range []struct {
		iface, name string
		into        any
	}{
		{unitIface, "ActiveState", &state.ActiveState},
		{unitIface, "SubState", &state.SubState},
		{unitIface, "ActiveEnterTimestamp", &since},
		{busName + ".Service", "MainPID", &pid},
	} {
		if err := object.CallWithContext(ctx, properties+".Get", 0, p.iface, p.name).Store(p.into); err != nil {
			return UnitState{}, fmt.Errorf("cannot look at %s: %v", unit, err)
		}
	}
	state.MainPID = int(pid)
	if since > 0 {
		state.Since = time.UnixMicro(int64(since))
	}
	return state, nil
}

func connect(ctx context.Context) (*dbus.Conn, error) {
	conn, err := dbus.ConnectSystemBus(dbus.WithContext(ctx))
	if err != nil {
		return nil, fmt.Errorf("cannot reach the system bus: %v", err)
	}
	return conn, nil
}
