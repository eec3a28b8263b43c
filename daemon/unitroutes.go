package daemon

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"tvsctl/fault"
	"tvsctl/ipc"
	"tvsctl/policy"
	"tvsctl/systemd"
)

// maxUnitLines bounds how many lines of the journal a status has.
const maxUnitLines = 1000

// unitOf returns the unit that the request is about, if whoever made it may do this
// with it.
func (d *Daemon) unitOf(r *http.Request, verb string) (*systemd.Unit, error) {
	return d.unitAs(r, verb, d.allowUnit)
}

// unitAs is unitOf with another way to decide than allowUnit.
func (d *Daemon) unitAs(r *http.Request, verb string, allow func(ctx context.Context, verb policy.Verb, id string) error) (*systemd.Unit, error) {
	name, err := systemd.UnitName(r.PathValue("unit"))
	if err != nil {
		return nil, err
	}
	if systemd.Template(name) {
		return nil, badRequest("cannot %s %s: it is a template; name an instance of it", verb, name)
	}
	unit, err := d.units.Unit(r.Context(), name)
	if err != nil {
		return nil, err
	}
	if err := allow(r.Context(), policy.Verb(verb), unit.ID); err != nil {
		return nil, err
	}
	if unit.Missing() {
		return nil, unknownUnit(unit.ID)
	}
	return unit, nil
}

func unknownUnit(name string) error {
	return &ipc.Error{Code: ipc.CodeUnknownUnit, Message: "there is no unit " + name, Hint: "see tvsctl unit list --all, and systemctl list-unit-files"}
}

// getUnits lists the units in memory that whoever asks may see.
func getUnits(d *Daemon, r *http.Request) (any, error) {
	patterns := []string{}
	for _, text := range r.URL.Query()["pattern"] {
		pattern, err := systemd.UnitPattern(text)
		if err != nil {
			return nil, err
		}
		patterns = append(patterns, pattern)
	}
	found, err := d.units.List(r.Context(), patterns)
	if err != nil {
		return nil, err
	}
	list := []ipc.UnitSummary{}
	for _, u := range found {
		if u.Following == "" && d.seesUnit(r.Context(), u.ID) {
			list = append(list, ipc.UnitSummary{Name: u.ID, Load: u.LoadState, Active: u.ActiveState, Sub: u.SubState, Job: u.Job, Description: u.Description})
		}
	}
	slices.SortFunc(list, func(a, b ipc.UnitSummary) int { return strings.Compare(a.Name, b.Name) })
	return list, nil
}

// getUnit is a unit's status, with the last lines of the journal for who may read its log:
// as many as are asked for, else a few of a unit that is not active. To read them takes
// longer than all else, so it begins as soon as that is decided.
func getUnit(d *Daemon, r *http.Request) (any, error) {
	name, err := systemd.UnitName(r.PathValue("unit"))
	if err != nil {
		return nil, err
	}
	lines := 0
	text := r.URL.Query().Get("lines")
	if text != "" {
		if lines, err = strconv.Atoi(text); err != nil || lines < 0 || lines > maxUnitLines {
			return nil, badRequest("cannot show %q lines: it is no number from 0 to %d", text, maxUnitLines)
		}
	}
	begun := 0
	if d.readsUnit(r.Context(), name) {
		begun = lines
	}
	journal := systemd.ReadLines(r.Context(), name, begun)
	unit, err := d.unitOf(r, "status")
	if err != nil {
		return nil, err
	}
	status := describeUnit(unit)
	switch {
	case !d.readsUnit(r.Context(), unit.ID): // the name may have been another one of it
		return status, nil
	case text == "" && !unit.Active():
		journal = systemd.ReadLines(r.Context(), unit.ID, failureLines)
	case begun != lines:
		journal = systemd.ReadLines(r.Context(), unit.ID, lines)
	}
	if status.Journal, err = journal(unit); err != nil {
		status.Journal = []string{err.Error()}
	}
	return status, nil
}

func describeUnit(u *systemd.Unit) ipc.Unit {
	status := ipc.Unit{Name: u.ID, Names: u.Names, Description: u.Description, Load: u.LoadState, LoadError: u.LoadError,
		Active: u.ActiveState, Sub: u.SubState, File: u.Fragment, FileState: u.FileState, Preset: u.Preset, DropIns: u.DropIns,
		NeedReload: u.NeedReload, Documents: u.Documents, Since: u.Changed, Job: u.Job, Invocation: u.Invocation,
		Type: u.Type, Result: u.Result, Failure: u.Failure(), MainPID: u.MainPID, ExitCode: u.ExitCode, ExitStatus: u.ExitStatus,
		StatusText: u.StatusText, Restarts: u.Restarts, Tasks: u.Tasks, Memory: u.Memory, CPUSeconds: u.CPU.Seconds()}
	if !u.ConditionAt.IsZero() && !u.Condition {
		status.Unmet = append(status.Unmet, u.Conditions...)
	}
	if !u.AssertAt.IsZero() && !u.Assert {
		status.Unmet = append(status.Unmet, u.Asserts...)
	}
	return status
}

// postUnit returns the handler of a job on a unit.
func postUnit(verb string) handler {
	return func(d *Daemon, r *http.Request) (any, error) {
		var request ipc.UnitRequest
		if err := read(r, &request); err != nil {
			return nil, err
		}
		if request.DryRun {
			return nil, badRequest("cannot %s: only isolate has a dry run", verb)
		}
		unit, err := d.unitOf(r, verb)
		if err != nil {
			return nil, err
		}
		return d.launchUnit(r.Context(), verb, unit.ID, unitJob{Job: systemd.Job{Verb: verb, Before: unit.Mark(), NoBlock: request.NoBlock}})
	}
}

// postUnitReset takes back that a unit failed. There is no job of that: it is done, or not.
func postUnitReset(d *Daemon, r *http.Request) (any, error) {
	if err := readNoOptions(r, "reset-failed"); err != nil {
		return nil, err
	}
	unit, err := d.unitOf(r, "reset-failed")
	if err != nil {
		return nil, err
	}
	if err := fault.Do("unit reset-failed", func() error { return d.units.ResetFailed(r.Context(), unit.ID) }); err != nil {
		return nil, err
	}
	who, _ := peerOf(r.Context())
	audit, _, _ := asked(r.Context())
	d.log.notice(eventSucceeded, fmt.Sprintf("%s reset that %s failed.", who.name(), unit.ID), audit)
	now, err := d.units.Unit(r.Context(), unit.ID)
	if err != nil {
		return nil, err
	}
	return describeUnit(now), nil
}

// readNoOptions reads the request of a change that has none of the options. It refuses
// them, as read does what it does not know.
func readNoOptions(r *http.Request, verb string) error {
	var request ipc.UnitRequest
	if err := read(r, &request); err != nil {
		return err
	}
	switch {
	case request.DryRun:
		return badRequest("cannot %s: only isolate has a dry run", verb)
	case request.NoBlock:
		return badRequest("cannot %s: no_block is of start, stop, restart, reload and isolate", verb)
	}
	return nil
}
