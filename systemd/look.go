package systemd

import (
	"context"

	"github.com/godbus/dbus/v5"
)

// Unit is one unit as the manager knows it, at one moment.
type Unit struct {
	ID          string // its name; an alias was resolved
	LoadState   string // loaded, not-found, masked, bad-setting, error, …
	ActiveState string // active, reloading, inactive, failed, activating, deactivating
	FileState   string // enabled, disabled, static, masked, …; empty without a file
	Fragment    string // the unit file
	DropIns     []string
	NeedReload  bool   // the files changed since they were read
	Result      string // of a service or socket: success, exit-code, start-limit-hit, …
}

// Unit loads a unit and looks at it. A unit that is not there has the LoadState not-found.
func (Units) Unit(ctx context.Context, name string) (found *Unit, err error) {
	err = persist(ctx, func(conn *dbus.Conn) error {
		found, err = lookAt(ctx, conn, name)
		return lost(ctx, "look at "+name, err)
	})
	return found, err
}

func lookAt(ctx context.Context, conn *dbus.Conn, name string) (*Unit, error) {
	var path dbus.ObjectPath
	if err := conn.Object(busName, managerPath).CallWithContext(ctx, manager+".LoadUnit", 0, name).Store(&path); err != nil {
		return nil, err
	}
	var all map[string]dbus.Variant
	if err := conn.Object(busName, path).CallWithContext(ctx, properties+".GetAll", 0, "").Store(&all); err != nil {
		return nil, err
	}
	u := &Unit{}
	for property, into := range map[string]any{"Id": &u.ID, "LoadState": &u.LoadState, "ActiveState": &u.ActiveState, "Result": &u.Result,
		"UnitFileState": &u.FileState, "FragmentPath": &u.Fragment, "DropInPaths": &u.DropIns, "NeedDaemonReload": &u.NeedReload} {
		if value, there := all[property]; there {
			if err := value.Store(into); err != nil {
				return nil, err
			}
		}
	}
	return u, nil
}
