package systemd

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/godbus/dbus/v5"
)

// ErrNotInstalled means that there is no such unit, ErrNotAllowed that the service
// manager does not let the caller start it.
var (
	ErrNotInstalled = errors.New("it is not installed")
	ErrNotAllowed   = errors.New("tvsctld may not start it")
)

// RunOnce starts a unit of Type=oneshot and returns when it has ended, nil when that was
// with success. It may run a second time when the bus is lost meanwhile.
func (Units) RunOnce(ctx context.Context, unit string) error {
	return persist(ctx, func(conn *dbus.Conn) error { return runOnce(ctx, conn, unit) })
}

// refusals are the errors of the service manager and the bus that have a meaning of
// their own (org.freedesktop.systemd1(5), bus-common-errors.h of systemd).
var refusals = map[error][]string{
	ErrNotInstalled: {"org.freedesktop.systemd1.NoSuchUnit", "org.freedesktop.systemd1.UnitMasked", "org.freedesktop.systemd1.LoadFailed"},
	ErrNotAllowed:   {"org.freedesktop.DBus.Error.AccessDenied", "org.freedesktop.DBus.Error.InteractiveAuthorizationRequired"},
}

func runOnce(ctx context.Context, conn *dbus.Conn, unit string) error {
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
	if err := object.CallWithContext(ctx, manager+".StartUnit", 0, unit, "replace").Store(&job); err != nil {
		var answer dbus.Error
		for refusal, names := range refusals {
			if errors.As(err, &answer) && slices.Contains(names, answer.Name) {
				return fmt.Errorf("cannot start %s: %w", unit, refusal)
			}
		}
		return lost(ctx, "start "+unit, err)
	}
	look := time.NewTicker(jobLook)
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-look.C:
			if err := conn.Object(busName, job).CallWithContext(ctx, properties+".Get", 0, busName+".Job", "Id").Err; err != nil && len(jobs) == 0 {
				return fmt.Errorf("cannot start %s: %w (its job has gone)", unit, errLost)
			}
		case signal, open := <-jobs:
			if !open {
				return fmt.Errorf("cannot start %s: %w", unit, errLost)
			}
			var id uint32
			var path dbus.ObjectPath
			var name, result string
			if dbus.Store(signal.Body, &id, &path, &name, &result) != nil || path != job {
				continue
			}
			if result != "done" {
				return fmt.Errorf("%s ended %s: see journalctl -u %s", unit, result, unit)
			}
			return nil
		}
	}
}
