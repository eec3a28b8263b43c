package daemon

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"

	"tvsctl/ipc"
	"tvsctl/systemd"
)

// postUnitFile returns the handler of a change of a unit's files. It is never the daemon's
// own right: a root oneshot does it, for what root has listed, and judges by itself.
func postUnitFile(verb string) handler {
	return func(d *Daemon, r *http.Request) (any, error) {
		if err := readNoOptions(r, verb); err != nil {
			return nil, err
		}
		unit, err := d.unitOf(r, verb)
		if err != nil {
			return nil, err
		}
		switch err := systemd.UnitFileListed(systemd.UnitFileList, os.Geteuid(), verb, unit.ID); {
		case errors.Is(err, systemd.ErrNotListed):
			return nil, &ipc.Error{Code: ipc.CodeForbidden, Message: fmt.Sprintf("cannot %s %s: %v", verb, unit.ID, err),
				Hint: fmt.Sprintf("sudo systemctl %s %s", verb, unit.ID)}
		case err != nil:
			return nil, &ipc.Error{Code: ipc.CodeForbidden, Message: err.Error()}
		}
		helper, err := d.units.Unit(r.Context(), systemd.UnitFileHelper(verb, unit.ID))
		if err != nil {
			return nil, err
		}
		return d.launchUnit(r.Context(), verb, unit.ID, unitJob{Target: unit.ID, Job: systemd.Job{Verb: "start", Before: helper.Mark()}})
	}
}

// unitFileResult says what the files of a unit are after a change.
func (d *Daemon) unitFileResult(ctx context.Context, name string) (string, error) {
	unit, err := d.units.Unit(ctx, name)
	if err != nil {
		return "", err
	}
	state := unit.FileState
	if state == "" {
		state = unit.LoadState
	}
	return unit.ID + " is " + state, nil
}
