package systemd

import (
	"context"

	"github.com/godbus/dbus/v5"
)

// UnitFacts is how a unit is loaded and how it is.
type UnitFacts struct {
	ID            string // its own name, also when it was asked for by an alias
	LoadState     string // loaded, not-found, masked, bad-setting, error
	ActiveState   string
	Result        string   // of a service or socket: success, exit-code, start-limit-hit, …
	UnitFileState string   // enabled, disabled, static, masked, …
	FragmentPath  string   // its file
	DropIns       []string // files that change it
	NeedReload    bool     // its files are newer than what systemd has read
}

// Look returns the facts of a unit. One that does not exist has LoadState not-found.
func (Units) Look(ctx context.Context, unit string) (facts UnitFacts, err error) {
	err = persist(ctx, func(conn *dbus.Conn) error {
		facts, err = lookAt(ctx, conn, unit)
		return lost(ctx, "look at "+unit, err)
	})
	return facts, err
}

func lookAt(ctx context.Context, conn *dbus.Conn, unit string) (UnitFacts, error) {
	var path dbus.ObjectPath
	if err := conn.Object(busName, managerPath).CallWithContext(ctx, manager+".LoadUnit", 0, unit).Store(&path); err != nil {
		return UnitFacts{}, err
	}
	var all map[string]dbus.Variant
	if err := conn.Object(busName, path).CallWithContext(ctx, properties+".GetAll", 0, "").Store(&all); err != nil {
		return UnitFacts{}, err
	}
	var f UnitFacts
	for name, into := range map[string]any{"Id": &f.ID, "LoadState": &f.LoadState, "ActiveState": &f.ActiveState, "Result": &f.Result,
		"UnitFileState": &f.UnitFileState, "FragmentPath": &f.FragmentPath, "DropInPaths": &f.DropIns, "NeedDaemonReload": &f.NeedReload} {
		if value, there := all[name]; there {
			if err := value.Store(into); err != nil {
				return UnitFacts{}, err
			}
		}
	}
	return f, nil
}
