package main

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"tvsctl/ipc"
)

func TestUnitList(t *testing.T) {
	daemon := newFake(t, map[string]any{
		"GET /units": []ipc.UnitSummary{
			{Name: "a.service", Load: "loaded", Active: "active", Sub: "running", Description: "A \x1b[31mred one"},
			{Name: "b.timer", Load: "loaded", Active: "inactive", Sub: "dead", Description: "B"},
			{Name: "c.service", Load: "loaded", Active: "failed", Sub: "failed", Description: "C"},
			{Name: "d.service", Load: "loaded", Active: "inactive", Sub: "dead", Job: "start", Description: "D"}},
		"GET /units?pattern=php%2A&pattern=nginx": []ipc.UnitSummary{},
	})
	names := func(args ...string) string {
		var list []string
		for i, line := range strings.Split(strings.TrimSpace(daemon.tvsctl(append([]string{"unit", "list"}, args...)...).out), "\n") {
			if name, _, _ := strings.Cut(line, " "); i > 0 {
				list = append(list, name)
			}
		}
		return strings.Join(list, " ")
	}
	for args, want := range map[string]string{
		"": "a.service c.service d.service", "--all": "a.service b.timer c.service d.service", "--state=failed": "c.service",
		"--state=dead": "b.timer d.service", "--all --type=timer": "b.timer",
	} {
		equal(t, "list "+args, names(strings.Fields(args)...), want)
	}
	if out := daemon.tvsctl("unit", "list").out; strings.Contains(out, "\x1b") || !strings.Contains(out, "A ?[31mred one") {
		t.Errorf("the list is %q", out)
	}
	equal(t, "with patterns", daemon.tvsctl("unit", "list", "php*", "nginx").out, "no unit\n")
	contains(t, "list --json", daemon.tvsctl("unit", "list", "--json").out, `"name": "a.service"`)
}

func TestUnitStatus(t *testing.T) {
	daemon := newFake(t, map[string]any{
		"GET /units/up": ipc.Unit{Name: "up.service", Description: "Up", Load: "loaded", File: "/etc/up.service", FileState: "enabled", Active: "active", Sub: "running", MainPID: 7,
			NeedReload: true, Journal: []string{"up[7]: \x1b]0;title\x07"}},
		"GET /units/up?lines=5": ipc.Unit{Name: "up.service", Active: "active", Sub: "running", Journal: []string{"five"}},
		"GET /units/down":       ipc.Unit{Name: "down.service", Active: "inactive", Sub: "dead", Unmet: []string{"ConditionPathExists=/x"}},
		"GET /units/broken":     ipc.Unit{Name: "broken.service", Active: "failed", Sub: "failed", Failure: "its process exited with status 3"},
		"GET /units/none":       &ipc.Error{Code: ipc.CodeUnknownUnit, Message: "there is no unit none.service"},
		"GET /units/%2Fsrv":     ipc.Unit{Name: "srv.mount", Active: "active", Sub: "mounted"},
	})
	got := daemon.tvsctl("unit", "status", "up")
	want := "up.service - Up\n  loaded    loaded (/etc/up.service; enabled)\n  active    active (running)\n  main pid  7\n" +
		"! its files have changed since systemd read them: sudo systemctl daemon-reload\n\nup[7]: ?]0;title?\n"
	if got.status != 0 {
		t.Errorf("exit status %d", got.status)
	}
	equal(t, "status", got.out, want)
	for name, status := range map[string]int{"down": ipc.ExitStopped, "broken": ipc.ExitStopped, "none": ipc.ExitUnknown, "/srv": 0, "..": ipc.ExitUsage, "": ipc.ExitUsage} {
		if got := daemon.tvsctl("unit", "status", name); got.status != status {
			t.Errorf("%q: %+v", name, got)
		}
	}
	contains(t, "unmet", daemon.tvsctl("unit", "status", "down").out, "not met  ConditionPathExists=/x")
	contains(t, "failure", daemon.tvsctl("unit", "status", "broken").out, "failure  its process exited with status 3")
	got = daemon.tvsctl("unit", "status", "down", "none", "/srv")
	if got.status != ipc.ExitUnknown || got.err != "tvsctl: there is no unit none.service\n" ||
		!strings.Contains(got.out, "down.service -\n") || !strings.Contains(got.out, "ConditionPathExists=/x\n\nsrv.mount -\n") {
		t.Errorf("of three: %+v", got)
	}
	var list []ipc.Unit
	for args, status := range map[string]int{"up /srv": 0, "up down": ipc.ExitStopped, "none down": ipc.ExitUnknown} {
		got := daemon.tvsctl(append([]string{"unit", "status", "--json"}, strings.Fields(args)...)...)
		if err := json.Unmarshal([]byte(got.out), &list); err != nil || got.status != status || len(list) != 2-strings.Count(args, "none") {
			t.Errorf("%s: %+v, %v", args, got, err)
		}
	}
	if got := daemon.tvsctl("unit", "status", "none", "--json"); got.out != "" || got.status != ipc.ExitUnknown {
		t.Errorf("an unknown one: %+v", got)
	}
	if got := daemon.tvsctl("unit", "status", "up", "--json"); !strings.HasPrefix(got.out, "{\n") {
		t.Errorf("one: %+v", got)
	}
	if got := daemon.tvsctl("unit", "status", "up", ".."); got.status != ipc.ExitUsage || got.out != "" {
		t.Errorf("with one that is no name: %+v", got)
	}
	contains(t, "lines", daemon.tvsctl("unit", "status", "up", "-n", "5").out, "\nfive\n")
}

func TestUnitChanges(t *testing.T) {
	done := ipc.Operation{ID: "op1", Unit: "a.service", Verb: "start", Summary: "start a.service", State: ipc.OperationSucceeded, Started: clock, Ended: at(1), Result: "a.service is active (running)"}
	failed := ipc.Operation{ID: "op2", Unit: "b.service", Verb: "start", Summary: "start b.service", State: ipc.OperationFailed, Started: clock, Ended: at(1),
		Error: &ipc.Error{Code: ipc.CodeUnitFailed, Message: "cannot start b.service: its process exited with status 3", Detail: []string{"b: \x1b[2Jboom"}}}
	forbidden := &ipc.Error{Code: ipc.CodeForbidden, Message: "cannot enable a.service: it is not listed", Hint: "sudo systemctl enable a.service"}
	daemon := newFake(t, map[string]any{
		"POST /units/a/start": done, "GET /operations/op1/events": events{operationEvent(done)}, "GET /operations/op1": done,
		"POST /units/b/start": failed, "GET /operations/op2/events": events{operationEvent(failed)},
		"POST /units/a/enable": forbidden, "POST /units/a/stop": done,
		"POST /units/c/enable": done, "POST /units/c/start": done,
		"POST /units/a/reset-failed": ipc.Unit{Name: "a.service", Active: "inactive", Sub: "dead"},
	})
	if got := daemon.tvsctl("unit", "start", "a"); got != (result{0, "a.service is active (running) (1.0s)\n", ""}) {
		t.Errorf("start: %+v", got)
	}
	got := daemon.tvsctl("unit", "start", "b", "a", "nowhere")
	if got.status != ipc.ExitFailure || got.out != "a.service is active (running) (1.0s)\n" {
		t.Errorf("start of three: %+v", got)
	}
	equal(t, "stderr", got.err, "tvsctl: cannot start b.service: its process exited with status 3\n  b: ?[2Jboom\n"+
		"tvsctl: no route POST /units/nowhere/start\n")
	if got := daemon.tvsctl("unit", "start", "a", "--detach"); got.out != "op1\n" {
		t.Errorf("--detach: %+v", got)
	}
	daemon.tvsctl("unit", "start", "a", "--no-block")
	if asked := strings.Join(daemon.asked(), "\n"); !strings.Contains(asked, `POST /units/a/start {"no_block":true}`) {
		t.Errorf("--no-block asks %s", asked)
	}
	if got := daemon.tvsctl("unit", "enable", "a"); got != (result{ipc.ExitForbidden, "", "tvsctl: cannot enable a.service: it is not listed\n  → sudo systemctl enable a.service\n"}) {
		t.Errorf("enable: %+v", got)
	}
	if got := daemon.tvsctl("unit", "enable", "--now", "c"); got.status != 0 || strings.Count(got.out, "\n") != 2 {
		t.Errorf("enable --now: %+v", got)
	}
	if got := daemon.tvsctl("unit", "reset-failed", "a"); got != (result{0, "a.service is inactive (dead)\n", ""}) {
		t.Errorf("reset-failed: %+v", got)
	}
}

func TestUnitDeps(t *testing.T) {
	nodes := []ipc.UnitNode{{Name: "a.target", Active: "active", Needs: []string{"b.target", "c.target", "x.service"}},
		{Name: "b.target", Active: "active", Needs: []string{"c.target"}}, {Name: "c.target", Active: "failed", Needs: []string{"a.target", "x.service"}},
		{Name: "x.service", Active: "inactive"}}
	daemon := newFake(t, map[string]any{"GET /units/a.target/dependencies?": nodes, "GET /units/a.target/dependencies?all=true&reverse=true": nodes[:1]})
	equal(t, "deps", daemon.tvsctl("unit", "deps", "a.target").out, `a.target
├─● b.target
│ └─× c.target
│   ├─● a.target (cycle)
│   └─○ x.service
├─× c.target (as above)
└─○ x.service
`)
	equal(t, "deps --plain", daemon.tvsctl("unit", "deps", "a.target", "--plain").out, "a.target\nb.target\nc.target\nx.service\n")
	equal(t, "deps --reverse", daemon.tvsctl("unit", "deps", "a.target", "--reverse", "--all", "--plain").out, "a.target\n")
}

func TestUnitIsolate(t *testing.T) {
	done := ipc.Operation{ID: "op1", State: ipc.OperationSucceeded, Result: "x.target is active (active)"}
	posts := 0
	daemon := newFake(t, map[string]any{
		"POST /units/x.target/isolate": func(w http.ResponseWriter, r *http.Request) {
			posts++
			if posts%2 == 1 {
				_, _ = w.Write([]byte(`{"name":"x.target","stop":["a.service"]}`))
			} else {
				_, _ = w.Write([]byte(`{"id":"op1"}`))
			}
		},
		"GET /operations/op1/events": events{operationEvent(done)}})
	ask := func(answer string, args ...string) (int, string) {
		var out, errs strings.Builder
		a := newApp(strings.NewReader(answer), &out, &errs, func(name string) string {
			return map[string]string{"TVS_SOCKET": daemon.socket}[name]
		})
		status := a.run(context.Background(), append([]string{"unit", "isolate", "x.target"}, args...))
		return status, out.String() + errs.String()
	}
	for _, answer := range []string{"n\n", "", "what\n"} {
		posts = 0
		if status, said := ask(answer); status != ipc.ExitCanceled || posts != 1 || !strings.Contains(said, "would stop 1 of the units that run:\n  a.service\ngo on?") {
			t.Errorf("%q: %d, %s", answer, status, said)
		}
	}
	posts = 0
	if status, said := ask("y\n"); status != 0 || posts != 2 || !strings.Contains(said, "x.target is active") {
		t.Errorf("yes: %d, %s", status, said)
	}
	posts = 1
	if status, _ := ask("", "--yes"); status != 0 || posts != 2 {
		t.Errorf("--yes: %d after %d requests", status, posts)
	}
}

func TestUnitWait(t *testing.T) {
	lives := 0
	daemon := newFake(t, map[string]any{
		"GET /units/a/wait?for=inactive": func(w http.ResponseWriter, r *http.Request) {
			if lives++; lives < 3 {
				panic(http.ErrAbortHandler) // tvsctld is restarted
			}
			_, _ = w.Write([]byte(`{"name":"a.service","active":"inactive","sub":"dead"}`))
		},
		"GET /units/b/wait?for=active": ipc.Unit{Name: "b.service", Active: "failed", Sub: "failed", Failure: "it was not ready"},
		"GET /units/c/wait?for=active": func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
	})
	if got := daemon.tvsctl("unit", "wait", "a"); got != (result{0, "a.service is inactive (dead)\n", ""}) {
		t.Errorf("%+v", got)
	}
	if got := daemon.tvsctl("unit", "wait", "b", "--for", "active"); got.status != ipc.ExitFailure || !strings.Contains(got.err, "b.service failed: it was not ready") {
		t.Errorf("%+v", got)
	}
	if got := daemon.tvsctl("unit", "wait", "c", "--for", "active", "--timeout", "50ms"); got.status != ipc.ExitFailure || !strings.Contains(got.err, "c is not active after 50ms") {
		t.Errorf("%+v", got)
	}
}

func TestUnitCat(t *testing.T) {
	daemon := newFake(t, map[string]any{"GET /units/a/files": []ipc.UnitFile{{Path: "/etc/a.service", Text: "[Unit]\nDescription=\x1b[31m\n"}, {Path: "/etc/a.service.d/x.conf", Text: "[Service]"}},
		"GET /units/b/files": []ipc.UnitFile{{Path: "/etc/b.service", Text: "[Unit]\n"}}, "GET /units/c/files": &ipc.Error{Code: ipc.CodeUnknownUnit, Message: "there is no unit c.service"}})
	equal(t, "cat", daemon.tvsctl("unit", "cat", "a").out, "# /etc/a.service\n[Unit]\nDescription=?[31m\n\n# /etc/a.service.d/x.conf\n[Service]\n")
	if got := daemon.tvsctl("unit", "cat", "b", "c", "b"); got != (result{ipc.ExitUnknown, "# /etc/b.service\n[Unit]\n\n# /etc/b.service\n[Unit]\n", "tvsctl: there is no unit c.service\n"}) {
		t.Errorf("cat of three: %+v", got)
	}
	if got := daemon.tvsctl("unit", "cat", "c", "--json"); got.out != "" || got.status != ipc.ExitUnknown {
		t.Errorf("cat of an unknown one: %+v", got)
	}
}
