package main

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tvsctl/ipc"
)

func TestDoctorCommand(t *testing.T) {
	version := ipc.Version{Version: clientVersion().Version}
	forbidden := &ipc.Error{Code: ipc.CodeForbidden, Message: "ana may not status the host", Hint: "see"}
	for _, c := range []struct {
		name   string
		theirs any
		daemon any
		status int
		want   string
	}{
		{"a warning", []ipc.Finding{{State: "ok", Check: "docker", Text: "Docker 99"}, {State: "warning", Check: "clock", Text: "not\nright", Remedy: "set it"}},
			version, ipc.ExitFailure, "warning  clock    not right → set it\n"},
		{"a problem", []ipc.Finding{{State: "problem", Check: "disk", Text: "full", Remedy: "make room"}}, version, ipc.ExitFailure, "problem  disk     full → make room\n"},
		{"another daemon", []ipc.Finding{}, ipc.Version{Version: "older"}, ipc.ExitFailure, "the tvsctld that runs is older → "},
		{"a daemon that does not know it", &ipc.Error{Code: ipc.CodeUnknownRoute, Message: "there is no GET", Hint: "upgrade"}, version, ipc.ExitFailure, "problem  tvsctld  there is no GET → upgrade\n"},
		{"a narrow rule", forbidden, version, ipc.ExitFailure, "warning  tvsctld  tvsctld tells what it sees of this host only to those who may see all of it → "},
		{"no rule at all", forbidden, forbidden, ipc.ExitFailure, "problem  tvsctld  ana may not status the host → see\n"},
	} {
		daemon := newFake(t, map[string]any{"GET /doctor": c.theirs, "GET /version": c.daemon})
		got := daemon.tvsctl("doctor")
		// The fake's socket is not as systemd makes it, which is always a problem.
		if got.status != c.status || !strings.Contains(got.out, c.want) || !strings.HasPrefix(got.out, "problem  socket ") {
			t.Errorf("%s: %+v", c.name, got)
		}
	}
	got := new(fake)
	got.socket = filepath.Join(t.TempDir(), "none")
	if r := got.tvsctl("doctor"); r.status != ipc.ExitFailure || r.err != "" ||
		!strings.Contains(r.out, "there is no socket "+got.socket) || !strings.Contains(r.out, "problem  tvsctld  cannot reach tvsctld: nothing listens on ") {
		t.Errorf("without a daemon: %+v", r)
	}
	if r := got.tvsctl("doctor", "--json"); r.status != ipc.ExitFailure || !strings.HasPrefix(r.out, "[\n") || !strings.Contains(r.out, `"remedy"`) {
		t.Errorf("as JSON: %+v", r)
	}
}

func TestCheckSocket(t *testing.T) {
	dir, err := os.MkdirTemp("", "socket") // short: the path of a socket is bounded
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	file, socket := filepath.Join(dir, "file"), filepath.Join(dir, "socket")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	if err := os.Chmod(socket, 0o606); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		filepath.Join(dir, "none"): "there is no socket",
		file:                       "is no socket",
		socket:                     "with mode 0606, not root:tvs with 0660",
	} {
		if got := checkSocket(path); len(got) != 1 || got[0].State != ipc.FindingProblem || !strings.Contains(got[0].Text, want) || got[0].Remedy == "" {
			t.Errorf("%s: %+v", path, got)
		}
	}
}

func TestCheckGroup(t *testing.T) {
	for _, c := range []struct {
		caller caller
		group  int
		state  ipc.FindingState
		want   string
	}{
		{caller{uid: 0}, 990, ipc.FindingOK, "you are root"},
		{caller{uid: 1000, name: "ana", groups: []int{27, 990}}, 990, ipc.FindingOK, "you, ana, are in group tvs"},
		{caller{uid: 1000, name: "ana", groups: []int{27}, listed: []string{"27", "990"}}, 990, ipc.FindingProblem, "log in again"},
		{caller{uid: 1000, name: "ana", groups: []int{27}, listed: []string{"27"}}, 990, ipc.FindingProblem, "usermod -aG tvs ana"},
		{caller{uid: 0}, -1, ipc.FindingProblem, "there is no group tvs"},
	} {
		got := checkGroup(c.caller, c.group)
		if len(got) != 1 || got[0].State != c.state || !strings.Contains(got[0].Text+got[0].Remedy, c.want) {
			t.Errorf("%+v: %+v", c.caller, got)
		}
	}
}
