package systemd

import (
	"context"

	"github.com/godbus/dbus/v5"
)

// Listed is one line of the list of units.
type Listed struct {
	ID, Description, LoadState, ActiveState, SubState string
	Following                                         string // the unit of which this is another name
	Job                                               string // start, stop, …; empty when there is none
}

// listed is ListUnits' structure (org.freedesktop.systemd1(5)).
type listed struct {
	ID, Description, Load, Active, Sub, Following string
	Path                                          dbus.ObjectPath
	Job                                           uint32
	JobType                                       string
	JobPath                                       dbus.ObjectPath
}

// List returns the units that the manager has in memory and whose names match one of
// the patterns, all where there is none.
func (u *Units) List(ctx context.Context, patterns []string) (list []Listed, err error) {
	err = u.persist(ctx, func(b *bus) error {
		var found []listed
		list = nil
		if err := b.call(ctx, "list the units", managerPath, manager+".ListUnitsByPatterns", []any{[]string{}, patterns}, &found); err != nil {
			return err
		}
		for _, l := range found {
			list = append(list, Listed{ID: l.ID, Description: l.Description, LoadState: l.Load, ActiveState: l.Active, SubState: l.Sub, Following: l.Following, Job: l.JobType})
		}
		return nil
	})
	return list, err
}
