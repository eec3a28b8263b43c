package systemd

import (
	"context"
	"errors"
	"fmt"
	"strings"
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

// errLost means that the bus, or the manager on it, went away in the middle.
var errLost = errors.New("lost the system bus")

const (
	// lossPatience is how long the bus or the manager may be away: both are soon back when
	// somebody restarted them.
	lossPatience = 10 * time.Second
	lossPause    = 100 * time.Millisecond
	// jobLook is how often the manager is asked whether it still has the job, whose end
	// may have been told while it was restarted.
	jobLook = time.Second
)

// Reload reloads a unit and returns when the job is done. When the bus is lost meanwhile it
// reloads again: nobody can say what became of the first.
func (Units) Reload(ctx context.Context, unit string) error {
	return persist(ctx, func(conn *dbus.Conn) error { return job(ctx, conn, "reload", unit) })
}

// persist does something on a connection, and again on a new one while the bus is lost.
func persist(ctx context.Context, do func(conn *dbus.Conn) error) error {
	patient, cancel := context.WithTimeout(ctx, lossPatience)
	defer cancel()
	for {
		conn, err := dbus.SystemBusPrivate(dbus.WithContext(ctx))
		if err != nil {
			return fmt.Errorf("cannot reach the system bus: %v", err)
		}
		if err = conn.Auth(nil); err == nil {
			err = conn.Hello()
		}
		if err == nil {
			err = do(conn)
		} else { // what accepts and does not greet is a bus that ends
			err = fmt.Errorf("cannot reach the system bus: %w (%v)", errLost, err)
		}
		conn.Close()
		if !errors.Is(err, errLost) {
			return err
		}
		select {
		case <-time.After(lossPause):
		case <-patient.Done():
			return err
		}
	}
}

// lost makes an error errLost where it says that nobody heard the call, or that its
// answer is lost.
func lost(ctx context.Context, doing string, err error) error {
	var answer dbus.Error
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case !errors.As(err, &answer):
		return fmt.Errorf("cannot %s: %w (%v)", doing, errLost, err)
	}
	switch name := strings.TrimPrefix(answer.Name, "org.freedesktop.DBus.Error."); {
	case name == "ServiceUnknown", name == "NameHasNoOwner", name == "NoReply", name == "Disconnected", name == "Timeout", strings.HasPrefix(name, "Spawn"):
		return fmt.Errorf("cannot %s: %w (%v)", doing, errLost, err)
	}
	return fmt.Errorf("cannot %s: %v", doing, err)
}

// jobMethods are the manager's, by what people call them.
var jobMethods = map[string]string{"reload": "ReloadUnit", "restart": "RestartUnit"}

// job lets the manager do something with a unit and returns when that is done.
func job(ctx context.Context, conn *dbus.Conn, verb, unit string) error {
	// The job can be done before its path is known, so listen first.
	jobs := make(chan *dbus.Signal, 64)
	conn.Signal(jobs)
	object := conn.Object(busName, managerPath)
	err := conn.AddMatchSignalContext(ctx, dbus.WithMatchInterface(manager), dbus.WithMatchMember("JobRemoved"), dbus.WithMatchObjectPath(managerPath))
	if err == nil {
		err = object.CallWithContext(ctx, manager+".Subscribe", 0).Err
	}
	if err != nil {
		return lost(ctx, "follow jobs", err)
	}
	var job dbus.ObjectPath
	if err := object.CallWithContext(ctx, manager+"."+jobMethods[verb], 0, unit, "replace").Store(&job); err != nil {
		return lost(ctx, verb+" "+unit, err)
	}
	look := time.NewTicker(jobLook)
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-look.C:
			if err := conn.Object(busName, job).CallWithContext(ctx, properties+".Get", 0, busName+".Job", "Id").Err; err != nil && len(jobs) == 0 {
				return fmt.Errorf("cannot %s %s: %w (its job has gone)", verb, unit, errLost)
			}
		case signal, open := <-jobs:
			if !open {
				return fmt.Errorf("cannot %s %s: %w", verb, unit, errLost)
			}
			var id uint32
			var path dbus.ObjectPath
			var name, result string
			if dbus.Store(signal.Body, &id, &path, &name, &result) != nil || path != job {
				continue
			}
			if result != "done" {
				return fmt.Errorf("cannot %s %s: its job ended %s", verb, unit, result)
			}
			return nil
		}
	}
}

// State returns the state of a unit.
func (Units) State(ctx context.Context, unit string) (state UnitState, err error) {
	err = persist(ctx, func(conn *dbus.Conn) error {
		state, err = unitState(ctx, conn, unit)
		return lost(ctx, "look at "+unit, err)
	})
	return state, err
}

func unitState(ctx context.Context, conn *dbus.Conn, unit string) (UnitState, error) {
	var path dbus.ObjectPath
	if err := conn.Object(busName, managerPath).CallWithContext(ctx, manager+".LoadUnit", 0, unit).Store(&path); err != nil {
		return UnitState{}, err
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
			return UnitState{}, err
		}
	}
	state.MainPID = int(pid)
	if since > 0 {
		state.Since = time.UnixMicro(int64(since))
	}
	return state, nil
}
