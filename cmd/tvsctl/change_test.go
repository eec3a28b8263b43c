package main

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"tvsctl/ipc"
)

func TestArguments(t *testing.T) {
	for _, c := range []struct {
		args string
		want string // the request, or the first words of the error
		exit int
	}{
		{"scale webapp 3", `scale {"services":{"webapp":3}}`, 0},
		{"scale webapp=3", `scale {"services":{"webapp":3}}`, 0},
		{"scale webapp=3 worker=0", `scale {"services":{"webapp":3,"worker":0}}`, 0},
		{"scale webapp 0", `scale {"services":{"webapp":0}}`, 0},
		{"scale webapp 5000", `scale {"services":{"webapp":5000}}`, 0}, // the daemon judges
		{"scale webapp three", `cannot scale webapp: "three" is not a number of replicas`, 2},
		{"scale webapp -1", `cannot scale webapp: "-1" is not a number of replicas`, 2},
		{"scale webapp -- -1", `cannot scale webapp: "-1" is not a number of replicas`, 2},
		{"scale -12 webapp", `cannot scale: "-12" is not a number of replicas`, 2},
		{"scale webapp=-1", `cannot scale webapp: "-1" is not a number of replicas`, 2},
		{"scale webapp=", `cannot scale webapp: "" is not a number of replicas`, 2},
		{"scale webapp +2", `cannot scale webapp: "+2" is not a number of replicas`, 2},
		{"scale webapp 1.5", `cannot scale webapp: "1.5" is not a number of replicas`, 2},
		{"scale webapp 99999999999999999999", `cannot scale webapp: 99999999999999999999 is out of range`, 6},
		{"scale webapp", `cannot scale webapp: no number of replicas given`, 2},
		{"scale", `cannot scale: no service`, 2},
		{"scale webapp 3 worker 2", `cannot scale webapp 3 worker 2: give SERVICE N`, 2},
		{"scale webapp=3 worker", `cannot scale webapp=3 worker: give SERVICE N`, 2},
		{"scale webapp=3 webapp=4", `cannot scale webapp: it is given twice`, 2},
		{"scale =3", `cannot scale: "=3" names no service`, 2},
		{"inc", `adjust {"by":1}`, 0},
		{"inc 2", `adjust {"by":2}`, 0},
		{"inc webapp", `adjust {"service":"webapp","by":1}`, 0},
		{"inc 2 webapp", `adjust {"service":"webapp","by":2}`, 0},
		{"inc webapp 2", `adjust {"service":"webapp","by":2}`, 0},
		{"dec", `adjust {"by":-1}`, 0},
		{"dec webapp 2", `adjust {"service":"webapp","by":-2}`, 0},
		{"dec 2 webapp", `adjust {"service":"webapp","by":-2}`, 0},
		{"inc 0", `cannot inc: 0 replicas are no change`, 2},
		{"inc -1", `cannot inc: "-1" is not a number of replicas`, 2},
		{"dec webapp -1", `cannot dec webapp: "-1" is not a number of replicas`, 2},
		{"inc +1", `cannot inc: "+1" is not a number of replicas`, 2},
		{"inc three webapp", `cannot inc: neither "three" nor "webapp" is a number`, 2},
		{"inc 1 2", `cannot inc: both "1" and "2" are numbers`, 2},
		{"dec 99999999999999999999", `cannot dec: 99999999999999999999 is out of range`, 6},
		{"reset", `reset {}`, 0},
		{"reset 2", `reset {"count":2}`, 0},
		{"reset 0", `cannot reset: 0 is not`, 2},
		{"reset -2", `cannot reset: "-2" is not a number of replicas`, 2},
		{"reset x", `cannot reset: "x" is not a number of replicas`, 2},
		{"start", `start {}`, 0},
		{"stop", `stop {}`, 0},
		{"stop --db", `stop {"dependencies":true}`, 0},
		{"up", `up {}`, 0},
		{"up --build", `up {"build":true}`, 0},
		{"down", `down {}`, 0},
		{"nginx reload", `nginx/reload {}`, 0},
	} {
		routes := map[string]any{}
		for _, resource := range []string{"scale", "adjust", "reset", "start", "stop", "up", "down", "nginx/reload"} {
			for key, value := range changed("/projects/tvs/" + resource) {
				routes[key] = value
			}
		}
		daemon := newFake(t, routes)
		got := daemon.tvsctl(append([]string{"-p", "tvs"}, strings.Fields(c.args)...)...)
		if got.status != c.exit {
			t.Errorf("%s exits %d, not %d: %s", c.args, got.status, c.exit, got.err)
		}
		asked := daemon.asked()
		if c.exit != 0 {
			contains(t, c.args, got.err, "tvsctl: "+c.want)
			if len(asked) != 0 {
				t.Errorf("%s asks %q", c.args, asked)
			}
			continue
		}
		want := []string{"POST /projects/tvs/" + c.want, "GET /operations/op1/events"}
		if !slices.Equal(asked, want) {
			t.Errorf("%s asks %q, not %q", c.args, asked, want)
		}
	}
}

func TestPlainProgress(t *testing.T) {
	daemon := newFake(t, changed("/projects/-/scale"))
	got := daemon.tvsctl("scale", "webapp", "3")
	equal(t, "stdout", got.out, `a line of compose
create tvs-webapp-2 (0.21s)
publish webapp (0.10s)
webapp has 3 ready replicas (1.9s)
`)
	if got.status != 0 || got.err != "" {
		t.Errorf("exits %d: %s", got.status, got.err)
	}
}

func TestFailedStep(t *testing.T) {
	failed := accepted
	failed.State = ipc.OperationFailed
	failed.Error = &ipc.Error{Code: ipc.CodeNotReady, Message: "cannot scale webapp: tvs-webapp-2 did not become ready"}
	step := stepEvent(1, "tvs-webapp-2", "wait for tvs-webapp-2", ipc.StepFailed, 0, 60)
	step.Step.Error = "exited\nwith 1"
	daemon := newFake(t, map[string]any{"POST /projects/-/scale": accepted,
		"GET /operations/op1/events": events{step, step, operationEvent(failed)}})
	got := daemon.tvsctl("scale", "webapp", "3")
	equal(t, "stdout", got.out, "failed: wait for tvs-webapp-2: exited with 1\n")
	equal(t, "stderr", got.err, "tvsctl: cannot scale webapp: tvs-webapp-2 did not become ready\n")
	if got.status != ipc.ExitNotReady {
		t.Errorf("exits %d", got.status)
	}
}

func TestQuietJSONDetach(t *testing.T) {
	daemon := newFake(t, changed("/projects/-/scale"))
	if got := daemon.tvsctl("scale", "webapp", "3", "--quiet"); got != (result{}) {
		t.Errorf("--quiet gives %+v", got)
	}
	equal(t, "--detach", daemon.tvsctl("scale", "webapp", "3", "--detach").out, "op1\n")
	equal(t, "--detach --quiet", daemon.tvsctl("scale", "webapp", "3", "-dq").out, "op1\n")

	var operation ipc.Operation
	got := daemon.tvsctl("scale", "webapp", "3", "--json")
	if err := json.Unmarshal([]byte(got.out), &operation); err != nil || len(operation.Steps) != 1 || operation.State != ipc.OperationSucceeded {
		t.Errorf("--json prints %s (%v)", got.out, err)
	}
	operation = ipc.Operation{}
	got = daemon.tvsctl("scale", "webapp", "3", "--json", "-d")
	if err := json.Unmarshal([]byte(got.out), &operation); err != nil || operation.ID != "op1" || operation.State != ipc.OperationRunning {
		t.Errorf("--json --detach prints %s (%v)", got.out, err)
	}
}

func TestDryRun(t *testing.T) {
	plan := ipc.Plan{Project: "tvs", Summary: "scale webapp from 1 to 2", Steps: []ipc.Step{
		{ID: 1, Text: "create tvs-webapp-2"}, {ID: 2, Text: "start tvs-webapp-2", Needs: []int{1}},
		{ID: 3, Text: "publish webapp", Needs: []int{1, 2}}}}
	for command, request := range map[string]string{
		"scale webapp 2": `scale {"services":{"webapp":2},"dry_run":true}`, "inc": `adjust {"by":1,"dry_run":true}`,
		"reset": `reset {"dry_run":true}`, "start": `start {"dry_run":true}`, "stop": `stop {"dry_run":true}`,
	} {
		resource, _, _ := strings.Cut(request, " ")
		daemon := newFake(t, map[string]any{"POST /projects/-/" + resource: plan})
		got := daemon.tvsctl(append(strings.Fields(command), "--dry-run")...)
		equal(t, command, got.out, `scale webapp from 1 to 2:
  1  create tvs-webapp-2
  2  start tvs-webapp-2   after 1
  3  publish webapp       after 1, 2
`)
		if asked := daemon.asked(); !slices.Equal(asked, []string{"POST /projects/-/" + request}) {
			t.Errorf("%s asks %q", command, asked)
		}
		var decoded ipc.Plan
		got = daemon.tvsctl(append(strings.Fields(command), "--dry-run", "--json")...)
		if err := json.Unmarshal([]byte(got.out), &decoded); err != nil || len(decoded.Steps) != 3 {
			t.Errorf("%s --json prints %s", command, got.out)
		}
	}
	daemon := newFake(t, map[string]any{"POST /projects/-/start": ipc.Plan{Summary: "start tvs"}})
	equal(t, "an empty plan", daemon.tvsctl("start", "--dry-run").out, "start tvs: nothing to do\n")
}

func TestQueued(t *testing.T) {
	routes := changed("/projects/-/scale")
	queued := accepted
	queued.State = ipc.OperationQueued
	routes["POST /projects/-/scale"] = queued
	other := ipc.Operation{ID: "op0", User: "bob", Summary: "stop tvs", State: ipc.OperationRunning}
	routes["GET /operations?project=tvs"] = []ipc.Operation{queued, other}
	first, _, _ := strings.Cut(newFake(t, routes).tvsctl("scale", "webapp", "3").out, "\n")
	equal(t, "first line", first, "waiting for operation op0 of bob: stop tvs")

	other.State = ipc.OperationSucceeded
	routes["GET /operations?project=tvs"] = []ipc.Operation{accepted, other} // it got its turn meanwhile
	if got := newFake(t, routes).tvsctl("scale", "webapp", "3"); strings.Contains(got.out, "waiting") {
		t.Errorf("waits for one that has ended: %s", got.out)
	}
}

func TestInterrupted(t *testing.T) {
	for signal, want := range map[syscall.Signal]int{syscall.SIGINT: 130, syscall.SIGTERM: 143} {
		for _, flag := range []string{"--quiet=false", "--quiet", "--json"} {
			ctx, cancel := context.WithCancelCause(context.Background())
			daemon := newFake(t, map[string]any{"POST /projects/-/scale": accepted,
				"GET /operations/op1/events": func(w http.ResponseWriter, r *http.Request) {
					json.NewEncoder(w).Encode(operationEvent(accepted))
					w.(http.Flusher).Flush()
					cancel(interrupt{signal})
					<-r.Context().Done()
				}})
			got := daemon.tvsctlContext(ctx, nil, "scale", "webapp", "3", flag)
			want := result{want, "", "operation op1 goes on; follow it again: tvsctl ops op1 --follow\n"}
			if got != want {
				t.Errorf("%s %s gives %+v, not %+v", signal, flag, got, want)
			}
		}
	}
}

func TestSignals(t *testing.T) {
	ctx, stop := withSignals(context.Background())
	defer stop()
	if err := syscall.Kill(syscall.Getpid(), syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	<-ctx.Done()
	if cause := context.Cause(ctx); cause != (interrupt{syscall.SIGTERM}) {
		t.Errorf("the cause is %v", cause)
	}
}

func TestStreamCut(t *testing.T) {
	daemon := newFake(t, map[string]any{"POST /projects/-/scale": accepted,
		"GET /operations/op1/events": events{operationEvent(accepted)}})
	got := daemon.tvsctl("scale", "webapp", "3")
	if got.status != ipc.ExitUnreachable {
		t.Errorf("exits %d", got.status)
	}
	contains(t, "stderr", got.err, "lost the daemon while following operation op1")
}

func TestLiveBlock(t *testing.T) {
	var b block
	for _, event := range []ipc.Event{
		stepEvent(1, "tvs-webapp-2", "create tvs-webapp-2", ipc.StepDone, 0, 0.2),
		stepEvent(2, "tvs-webapp-2", "start tvs-webapp-2", ipc.StepRunning, 0.2, 0),
		stepEvent(3, "tvs-webapp-3", "create tvs-webapp-3", ipc.StepDone, 0, 0.3),
		stepEvent(4, "tvs-webapp-4", "create tvs-webapp-4", ipc.StepFailed, 0, 0.4),
		stepEvent(5, "", "publish webapp", ipc.StepPending, 0, 0),
		stepEvent(6, "", "prove webapp", ipc.StepSkipped, 0, 0),
	} {
		b.update(*event.Step)
	}
	b.rows[2].steps[0].Error = "no image"
	now := at(2)
	equal(t, "block", strings.Join(b.lines(now, 80, 24), "\n"), strings.Join([]string{
		" " + string(b.rows[0].view(now).mark) + " start tvs-webapp-2             2.0s",
		" ✔ create tvs-webapp-3            0.30s",
		" ✘ create tvs-webapp-4: no image  0.40s",
		" · publish webapp",
		" - prove webapp (skipped)",
	}, "\n"))
	equal(t, "low block", strings.Join(b.lines(now, 80, 4), "\n"), strings.Join([]string{
		" " + string(b.rows[0].view(now).mark) + " start tvs-webapp-2             2.0s",
		" ✘ create tvs-webapp-4: no image  0.40s",
		" … and 3 more",
	}, "\n"))
	for width := 0; width < 60; width++ {
		for height := 0; height < 8; height++ {
			rows := b.lines(now, width, height)
			if len(rows) > max(height-1, 1) {
				t.Fatalf("%d rows in height %d", len(rows), height)
			}
			for _, row := range rows {
				if n := len([]rune(row)); n > max(width-1, 0) {
					t.Fatalf("%d characters in width %d: %q", n, width, row)
				}
			}
		}
	}
}

func TestLiveOnTerminal(t *testing.T) {
	daemon := newFake(t, changed("/projects/-/scale"))
	var out, stderr bytes.Buffer
	a := newApp(nil, &out, &stderr, func(name string) string { return map[string]string{"TVS_SOCKET": daemon.socket}[name] })
	size := func() (int, int, bool) { return 60, 10, true }
	a.stdoutSize, a.stderrSize = size, size
	a.now = func() time.Time { return at(1.9) } // no time passes: only the first event and the end draw
	a.ticker = func(time.Duration) (<-chan time.Time, func()) { return nil, func() {} }
	if status := a.run(context.Background(), []string{"scale", "webapp", "3"}); status != 0 {
		t.Fatalf("exits %d: %s", status, stderr.String())
	}
	equal(t, "stdout", out.String(), "webapp has 3 ready replicas (1.9s)\n")
	frames := strings.Split(stderr.String(), "\x1b[1A\r\x1b[J")
	if len(frames) != 3 || !strings.HasPrefix(frames[1], "a line of compose\n") {
		t.Fatalf("frames are %q", frames)
	}
	equal(t, "final block", frames[2], " ✔ create tvs-webapp-2  0.21s\n ✔ publish webapp       0.10s\n")
}
