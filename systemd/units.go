package systemd

import (
	"context"
	"sync"
	"time"
)

// Units talks to the service manager. The zero value is ready for use; its methods may be
// called at once by many, who share a connection. When the bus or the manager is restarted
// they find it again.
type Units struct {
	once    sync.Once
	dialing chan struct{} // holds a value while somebody connects
	shared  *bus
}

// UnitState is what systemd says of a unit.
type UnitState struct {
	ActiveState string // active, reloading, inactive, failed, …
	SubState    string
	MainPID     int
	Since       time.Time
}

// Reload reloads a unit and returns when the job is done. When the bus is lost meanwhile it
// reloads again: nobody can say what became of the first.
func (u *Units) Reload(ctx context.Context, unit string) error {
	before, err := u.Unit(ctx, unit)
	if err != nil {
		return err
	}
	_, err = u.Do(ctx, Job{Verb: "reload", Before: before.Mark()})
	return err
}

// State returns the state of a unit.
func (u *Units) State(ctx context.Context, unit string) (UnitState, error) {
	found, err := u.Unit(ctx, unit)
	if err != nil {
		return UnitState{}, err
	}
	return UnitState{ActiveState: found.ActiveState, SubState: found.SubState, MainPID: found.MainPID, Since: found.ActiveSince}, nil
}
