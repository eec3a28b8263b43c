package systemd

import (
	"context"

	"github.com/godbus/dbus/v5"
)

// Run runs a unit of Type=oneshot from its beginning, also when it runs already, and
// returns the exit status of its program. A status that the unit does not count as a
// success is an error.
func (Units) Run(ctx context.Context, unit string) (status int, err error) {
	err = persist(ctx, func(conn *dbus.Conn) error {
		if err := job(ctx, conn, "restart", unit); err != nil {
			return err
		}
		var path dbus.ObjectPath
		if err := conn.Object(busName, managerPath).CallWithContext(ctx, manager+".LoadUnit", 0, unit).Store(&path); err != nil {
			return lost(ctx, "look at "+unit, err)
		}
		var code int32
		if err := conn.Object(busName, path).CallWithContext(ctx, properties+".Get", 0, busName+".Service", "ExecMainStatus").Store(&code); err != nil {
			return lost(ctx, "look at "+unit, err)
		}
		status = int(code)
		return nil
	})
	return status, err
}
