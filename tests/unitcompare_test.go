//go:build e2e

package tests

import (
	"encoding/json"
	"strconv"
	"strings"
	"testing"
	"time"

	"tvsctl/ipc"
)

// properties are those of a unit that systemctl shows.
func (m *machine) properties(t *testing.T, name string) map[string]string {
	t.Helper()
	list := map[string]string{}
	for line := range strings.Lines(m.must(t, "systemctl", "show", "--", name)) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		list[key] = value
	}
	return list
}

// inShow is what tvsctl shows of a unit, as systemctl names and writes it.
func inShow(u *ipc.Unit) map[string]string {
	number := strconv.Itoa
	list := map[string]string{"Id": u.Name, "Names": strings.Join(u.Names, " "), "Description": u.Description, "LoadState": u.Load, "ActiveState": u.Active, "SubState": u.Sub,
		"FragmentPath": u.File, "UnitFileState": u.FileState, "UnitFilePreset": u.Preset, "DropInPaths": strings.Join(u.DropIns, " "),
		"InvocationID": u.Invocation, "Result": u.Result, "MainPID": number(u.MainPID), "ExecMainCode": number(u.ExitCode),
		"ExecMainStatus": number(u.ExitStatus), "StatusText": u.StatusText, "NRestarts": number(u.Restarts), "Type": u.Type}
	if !u.Since.IsZero() {
		list["StateChangeTimestamp"] = u.Since.UTC().Format("Mon 2006-01-02 15:04:05 MST")
	}
	return list
}

// compareUnit compares what tvsctl and systemctl show of a unit, at a time when it is the
// same before and after that.
func compareUnit(t *testing.T, m *machine, name string) {
	t.Helper()
	var u ipc.Unit
	var ours map[string]string
	theirs := m.properties(t, name)
	m.eventually(t, 10*time.Second, name+" stays as it is", func() bool {
		r := m.tvsctl("unit", "status", "--json", "--", name)
		u = ipc.Unit{}
		if err := json.Unmarshal([]byte(r.out), &u); err != nil {
			t.Fatalf("%v\n%s", err, r)
		}
		ours = inShow(&u)
		before := theirs
		theirs = m.properties(t, name)
		for key := range ours {
			if theirs[key] != before[key] {
				return false
			}
		}
		return true
	})
	veil := "" // tvsctl says also where a unit is masked
	if u.Load == "masked" {
		veil = "# " + u.File + "\n"
	}
	cat, catOfTheirs := m.tvsctl("unit", "cat", "--", name), m.run("systemctl", "cat", "--no-pager", "--", name)
	if catOfTheirs.code != cat.code && (cat.code == 0 || catOfTheirs.code == 0) || cat.code == 0 && strings.TrimPrefix(cat.out, veil) != catOfTheirs.out {
		t.Errorf("%s and systemctl: %s", cat, catOfTheirs)
	}
	for key, value := range ours {
		want, there := theirs[key]
		if there && want != value || !there && value != "" && value != "0" {
			t.Errorf("%s: %s is %q, and systemctl says %q", name, key, value, want)
		}
	}
}
