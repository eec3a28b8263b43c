package daemon

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"tvsctl/ipc"
	"tvsctl/systemd"
)

// getUnitFiles is what systemctl cat shows.
func getUnitFiles(d *Daemon, r *http.Request) (any, error) {
	unit, err := d.unitOf(r, "cat")
	if err != nil {
		return nil, err
	}
	files, err := unit.Files()
	if err != nil {
		return nil, err
	}
	if len(files) == 0 {
		return nil, &ipc.Error{Code: ipc.CodeUnitRefused, Message: fmt.Sprintf("cannot show the file of %s: it has none, systemd made it", unit.ID)}
	}
	list := []ipc.UnitFile{}
	for _, f := range files {
		list = append(list, ipc.UnitFile{Path: f.Path, Text: f.Text})
	}
	return list, nil
}

// getUnitDependencies is what a unit depends on, or in reverse what depends on it, without
// the units that whoever asks may not see.
func getUnitDependencies(d *Daemon, r *http.Request) (any, error) {
	unit, err := d.unitOf(r, "deps")
	if err != nil {
		return nil, err
	}
	query := r.URL.Query()
	found, err := d.units.Dependencies(r.Context(), unit.ID, query.Get("reverse") == "true", query.Get("all") == "true")
	if err != nil {
		return nil, err
	}
	hidden := func(name string) bool { return name != unit.ID && !d.seesUnit(r.Context(), name) }
	list := []ipc.UnitNode{}
	for _, n := range found {
		if !hidden(n.ID) {
			list = append(list, ipc.UnitNode{Name: n.ID, Active: n.Active, Needs: slices.DeleteFunc(n.Needs, hidden)})
		}
	}
	return list, nil
}

// waitStates are the states that a unit can be waited for in.
var waitStates = []string{"inactive", "active", "failed"}

// getUnitWait answers when the unit is in a state: inactive, which a failed one is too,
// active, which one that failed meanwhile does not become any more, or failed.
func getUnitWait(d *Daemon, r *http.Request) (any, error) {
	state := r.URL.Query().Get("for")
	if state == "" {
		state = "inactive"
	}
	if !slices.Contains(waitStates, state) {
		return nil, badRequest("cannot wait for %q: the states are %s", state, strings.Join(waitStates, ", "))
	}
	unit, err := d.unitOf(r, "status")
	if err != nil {
		return nil, err
	}
	reached := func(u *systemd.Unit) bool {
		switch state {
		case "active":
			return u.ActiveState == "active" || u.ActiveState == "failed"
		case "failed":
			return u.ActiveState == "failed"
		}
		return u.Job == 0 && (u.ActiveState == "inactive" || u.ActiveState == "failed")
	}
	return stream(func(w http.ResponseWriter, r *http.Request) {
		defer d.hold()()
		ctx, stop := d.untilStopping(r.Context())
		defer stop()
		now, err := d.units.Wait(ctx, unit.ID, reached)
		if err != nil && ctx.Err() != nil {
			// Nothing was written: the client asks the next life.
			panic(http.ErrAbortHandler)
		}
		_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(writeTimeout))
		if err != nil {
			d.fail(w, r, err)
			return
		}
		send(w, http.StatusOK, describeUnit(now))
	}), nil
}

// postUnitIsolate starts a unit and stops all others. Its dry run says which.
func postUnitIsolate(d *Daemon, r *http.Request) (any, error) {
	var request ipc.UnitRequest
	if err := read(r, &request); err != nil {
		return nil, err
	}
	allow := d.allowUnit
	if request.DryRun {
		allow = d.allowUnitDryRun
	}
	unit, err := d.unitAs(r, "isolate", allow)
	if err != nil {
		return nil, err
	}
	if !unit.CanIsolate {
		return nil, &ipc.Error{Code: ipc.CodeUnitRefused, Message: fmt.Sprintf("cannot isolate %s: it does not say AllowIsolate=yes", unit.ID),
			Hint: "targets such as multi-user.target do"}
	}
	if request.DryRun {
		return d.isolation(r.Context(), unit.ID)
	}
	return d.launchUnit(r.Context(), "isolate", unit.ID, unitJob{Job: systemd.Job{Verb: "isolate", Before: unit.Mark(), NoBlock: request.NoBlock}})
}

// isolation is the dry run of isolate. It names units of which the caller may see nothing
// else, so it is on record like what an admin looks at.
func (d *Daemon) isolation(ctx context.Context, unit string) (any, error) {
	stop, err := d.units.Isolation(ctx, unit)
	if err != nil {
		return nil, err
	}
	who, _ := peerOf(ctx)
	audit, _, _ := asked(ctx)
	d.log.notice(eventAllowed, fmt.Sprintf("Allowed %s to see what isolate %s would stop, by rule %s.", who.name(), unit, audit["TVS_RULE"]), audit)
	return ipc.UnitIsolation{Name: unit, Stop: append([]string{}, stop...)}, nil
}
