package ipc

import (
	"net/url"
	"time"
)

// UnitPath returns the path of a unit's resource below /v1.
func UnitPath(unit, rest string) string {
	path := "/units/" + url.PathEscape(unit)
	if rest != "" {
		path += "/" + rest
	}
	return path
}

// UnitSummary is one line of the list of units.
type UnitSummary struct {
	Name        string `json:"name"`
	Load        string `json:"load"`   // loaded, not-found, masked, …
	Active      string `json:"active"` // active, inactive, failed, …
	Sub         string `json:"sub"`    // running, dead, exited, …
	Job         string `json:"job,omitempty"`
	Description string `json:"description"`
}

// Unit is what systemd says of a unit now. The words are those of systemctl show.
type Unit struct {
	Name        string   `json:"name"` // an alias is resolved
	Names       []string `json:"names"`
	Description string   `json:"description"`
	Load        string   `json:"load"`
	LoadError   string   `json:"load_error,omitempty"`
	Active      string   `json:"active"`
	Sub         string   `json:"sub"`
	File        string   `json:"file,omitempty"`       // the unit file
	FileState   string   `json:"file_state,omitempty"` // enabled, disabled, static, masked, …
	Preset      string   `json:"preset,omitempty"`
	DropIns     []string `json:"drop_ins,omitempty"`
	// NeedReload is whether the files have changed since systemd read them.
	NeedReload bool      `json:"need_reload,omitempty"`
	Documents  []string  `json:"documents,omitempty"`
	Since      time.Time `json:"since,omitzero"` // of the state
	Job        uint32    `json:"job,omitempty"`
	Invocation string    `json:"invocation,omitempty"` // of this or the last run
	// Unmet are the conditions and asserts that kept it from starting the last time.
	Unmet []string `json:"unmet,omitempty"`

	// What follows only some types have, services above all.
	Type       string   `json:"type,omitempty"`
	Result     string   `json:"result,omitempty"`  // success, exit-code, signal, timeout, …
	Failure    string   `json:"failure,omitempty"` // what the result means
	MainPID    int      `json:"main_pid,omitempty"`
	ExitCode   int      `json:"exit_code,omitempty"` // of the main process: 1 exited, 2 killed, 3 dumped core
	ExitStatus int      `json:"exit_status,omitempty"`
	StatusText string   `json:"status_text,omitempty"`
	Restarts   int      `json:"restarts,omitempty"`
	Tasks      uint64   `json:"tasks,omitempty"`
	Memory     uint64   `json:"memory,omitempty"` // bytes
	CPUSeconds float64  `json:"cpu_seconds,omitempty"`
	Journal    []string `json:"journal,omitempty"` // its last lines
}

// UnitRequest changes a unit. Not every change has every option; one that it has not is
// refused.
type UnitRequest struct {
	NoBlock bool `json:"no_block,omitempty"` // only queue the job: of start, stop, restart, reload, isolate
	DryRun  bool `json:"dry_run,omitempty"`  // of isolate
}

// UnitIsolation is what isolating a unit would do.
type UnitIsolation struct {
	Name string   `json:"name"`
	Stop []string `json:"stop"` // units that run and would not any more
}

// UnitFile is a unit file or a drop-in.
type UnitFile struct {
	Path string `json:"path"`
	Text string `json:"text"`
}

// UnitNode is a unit among the dependencies of another, the first in the list.
type UnitNode struct {
	Name   string   `json:"name"`
	Active string   `json:"active"`
	Needs  []string `json:"needs,omitempty"` // or what needs it, in reverse
}
