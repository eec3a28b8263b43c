package main

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tvsctl/ipc"
)

func TestProjects(t *testing.T) {
	daemon := newFake(t, map[string]any{"GET /projects": []ipc.ProjectSummary{
		{Name: "tvs", Replicas: 5, Running: 4, Declared: true}, {Name: "blog"}}})
	want := `NAME  RUNNING  CONTAINERS  DECLARED
tvs   4        5           yes
blog  0        0           no
`
	equal(t, "projects", daemon.tvsctl("projects").out, want)
	equal(t, "ls", daemon.tvsctl("ls").out, want)
	contains(t, "ls --json", daemon.tvsctl("ls", "--json").out, `"name": "blog"`)
}

func TestOverride(t *testing.T) {
	directory := t.TempDir()
	file := filepath.Join(directory, "compose.override.yaml")
	daemon := newFake(t, map[string]any{
		"GET /projects/-/override":       ipc.Override{File: file, YAML: "services: {}\n"},
		"GET /projects/unknown/override": ipc.Override{YAML: "services: {}\n"}})
	equal(t, "override", daemon.tvsctl("override").out, "services: {}\n")
	equal(t, "override -o -", daemon.tvsctl("override", "-o", "-").out, "services: {}\n")
	if _, err := os.Stat(file); err == nil {
		t.Error("printing wrote the file")
	}
	other := filepath.Join(directory, "other.yaml")
	for path, args := range map[string][]string{file: {"override", "--write"}, other: {"override", "-o", other}} {
		got := daemon.tvsctl(args...)
		if got != (result{0, "", "wrote " + path + "\n"}) {
			t.Errorf("%q gives %+v", args, got)
		}
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		equal(t, path, string(raw), "services: {}\n")
	}
	if got := daemon.tvsctl("override", "-w", "-p", "unknown"); got.status != ipc.ExitFailure {
		t.Errorf("an unknown file gives %+v", got)
	}
	if got := daemon.tvsctl("override", "-o", directory); got.status != ipc.ExitFailure {
		t.Errorf("a directory gives %+v", got)
	}
	// Root can read every file; a link to itself nobody can.
	odd := filepath.Join(directory, "odd.yaml")
	if err := os.Symlink(odd, odd); err != nil {
		t.Fatal(err)
	}
	got := daemon.tvsctl("override", "-o", odd)
	if _, err := os.Readlink(odd); err != nil || got.status != ipc.ExitFailure || !strings.Contains(got.err, "it cannot be seen what is there") {
		t.Errorf("a file that cannot be read gives %+v, and is replaced: %v", got, err)
	}
	var decoded ipc.Override
	if got := daemon.tvsctl("override", "--json"); json.Unmarshal([]byte(got.out), &decoded) != nil || decoded.File != file {
		t.Errorf("--json prints %s", got.out)
	}
}

func TestNginx(t *testing.T) {
	good := ipc.NginxTest{Name: "tvs-entry-1", OK: true, Output: []string{"syntax is ok"}}
	bad := ipc.NginxTest{Name: "tvs-entry-2", Output: []string{"[emerg] unknown directive \"foo\""}}
	daemon := newFake(t, map[string]any{
		"POST /projects/good/nginx/test": []ipc.NginxTest{good},
		"POST /projects/bad/nginx/test":  []ipc.NginxTest{good, bad},
		"POST /projects/none/nginx/test": []ipc.NginxTest{},
		"GET /projects/-/nginx": []ipc.Nginx{{Name: "tvs-entry-1", State: "running", Version: "1.26.3", Upstreams: []ipc.Upstream{
			{Service: "webapp", File: "/etc/nginx/upstreams/webapp.conf", Generation: "9f2c",
				Servers: []ipc.Server{{Address: "172.20.0.5:8080", Replica: "tvs-webapp-1"}}},
			{Service: "api", File: "/etc/nginx/upstreams/api.conf", Generation: "0000"}}}},
	})
	if got := daemon.tvsctl("nginx", "test", "-p", "good"); got != (result{0, "tvs-entry-1: ok\n  syntax is ok\n", ""}) {
		t.Errorf("a good test gives %+v", got)
	}
	got := daemon.tvsctl("nginx", "test", "-p", "bad")
	if got.status != ipc.ExitNginx {
		t.Errorf("a bad test exits %d", got.status)
	}
	equal(t, "stderr", got.err, "tvsctl: cannot use the configuration of tvs-entry-2: the test of nginx failed\n"+
		"  [emerg] unknown directive \"foo\"\n")
	got = daemon.tvsctl("nginx", "test", "-p", "bad", "--json")
	contains(t, "--json", got.out, `"ok": false`)
	if got.status != ipc.ExitNginx {
		t.Errorf("a bad test with --json exits %d", got.status)
	}
	if got := daemon.tvsctl("nginx", "test", "-p", "none"); got.status != ipc.ExitNginx {
		t.Errorf("a test of nothing exits %d", got.status)
	}
	equal(t, "show", daemon.tvsctl("nginx", "show").out, `tvs-entry-1: running, nginx 1.26.3
  upstream webapp, generation 9f2c, /etc/nginx/upstreams/webapp.conf
    172.20.0.5:8080  tvs-webapp-1
  upstream api, generation 0000, /etc/nginx/upstreams/api.conf
    no server: answers 502
`)
}

func TestOps(t *testing.T) {
	failed := succeeded
	failed.ID, failed.State, failed.Result, failed.Queued = "op2", ipc.OperationFailed, "", at(60)
	failed.Started, failed.Ended = at(61), at(63)
	failed.Error = &ipc.Error{Code: ipc.CodeNotReady, Message: "cannot scale", Hint: "read the log", Detail: []string{"boom"}}
	failed.Steps = []ipc.Step{{ID: 1, State: ipc.StepFailed, Text: "wait for tvs-webapp-2", Started: at(61), Ended: at(63), Error: "exited"}}
	routes := map[string]any{
		"GET /operations": []ipc.Operation{failed, succeeded}, "GET /operations?project=tvs": []ipc.Operation{succeeded},
		"GET /operations/op2": failed, "GET /operations/op2/events": events{operationEvent(failed)},
		"GET /operations/op3": ipc.Operation{ID: "op3", Unit: "shop.service", Summary: "start shop.service", State: ipc.OperationRunning}}
	daemon := newFake(t, routes)
	got := daemon.tvsctl("ops")
	rows := strings.Split(got.out, "\n")
	if len(rows) != 4 || !strings.HasPrefix(rows[0], "ID ") || !strings.HasPrefix(rows[1], "op2 ") ||
		!strings.HasSuffix(rows[1], "2.0s  failed: cannot scale") || !strings.HasSuffix(rows[2], "1.9s  succeeded: webapp has 3 ready replicas") {
		t.Errorf("ops prints\n%s", got.out)
	}
	if strings.Contains(daemon.tvsctl("ops", "-p", "tvs").out, "op2") {
		t.Error("ops -p lists another project's")
	}
	got = daemon.tvsctl("ops", "op2")
	for _, want := range []string{"ann (uid 1000)", "failed: cannot scale", "  boom\n  → read the log\n", "failed  2.0s  wait for tvs-webapp-2  exited\n"} {
		contains(t, "ops ID", got.out, want)
	}
	contains(t, "ops of a project", got.out, "project    tvs\n")
	if got := daemon.tvsctl("ops", "op3").out; strings.Contains(got, "project") || !strings.Contains(got, "\nunit       shop.service\n") {
		t.Errorf("ops of a unit prints\n%s", got)
	}
	if got.status != 0 {
		t.Errorf("showing a failure exits %d", got.status)
	}
	if got := daemon.tvsctl("ops", "op2", "--follow"); got.status != ipc.ExitNotReady {
		t.Errorf("following a failure exits %d", got.status)
	}
	contains(t, "ops --json", daemon.tvsctl("ops", "--json").out, `"id": "op2"`)
}

func TestVersion(t *testing.T) {
	daemon := newFake(t, map[string]any{"GET /version": ipc.Version{Version: "1.2.3", Commit: "abc", Go: "go1.26", Engine: "26.1.5", EngineAPI: "1.45"}})
	contains(t, "version", daemon.tvsctl("version").out, "tvsctld: 1.2.3 (commit abc, go1.26)\ndocker: 26.1.5 (API 1.45)\n")
	contains(t, "--version", daemon.tvsctl("--version").out, "tvsctl ")
	got := daemon.tvsctl("version", "--socket", "/nonexistent/socket")
	if got.status != 0 || got.err != "" {
		t.Errorf("without a daemon: %+v", got)
	}
	contains(t, "version", got.out, "tvsctld: not reachable: cannot reach tvsctld")
	var decoded struct{ Daemon *ipc.Version }
	if json.Unmarshal([]byte(daemon.tvsctl("version", "--json").out), &decoded) != nil || decoded.Daemon == nil {
		t.Error("--json lacks the daemon")
	}
}

func TestCompletion(t *testing.T) {
	for _, shell := range []string{"bash", "zsh", "fish"} {
		if got := newFake(t, nil).tvsctl("completion", shell); got.status != 0 || !strings.Contains(got.out, "__complete") {
			t.Errorf("%s: %d, %d bytes", shell, got.status, len(got.out))
		}
	}
	daemon := newFake(t, map[string]any{"GET /projects/tvs": example(), "GET /projects": []ipc.ProjectSummary{{Name: "shop"}},
		"GET /operations": []ipc.Operation{succeeded}})
	for args, want := range map[string]string{
		"__complete scale -p tvs ":  "storage\nwebapp\n:4\n",
		"__complete status -p tvs ": "storage\nwebapp\n:4\n",
		"__complete scale webapp ":  ":4\n",
		"__complete status -p ":     "shop\n:4\n",
		"__complete ops cancel ":    "op1\tscale webapp from 1 to 3\n:4\n",
		"__complete ops ":           "cancel\tCancel an operation\nop1\tscale webapp from 1 to 3\n:4\n",
	} {
		equal(t, args, daemon.tvsctlContext(context.Background(), nil, strings.Split(args, " ")...).out, want)
	}
}
