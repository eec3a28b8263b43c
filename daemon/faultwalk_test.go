package daemon

import (
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"tvsctl/dockerops/enginetest"
	"tvsctl/ipc"
)

// walkChange is a change, and what leads to where it begins.
type walkChange struct {
	walkStep
	before []walkStep
	// undone is how many of before a failure leaves: it ends a rollout that held.
	undone int
}

type walkStep struct {
	path    string
	request any
}

var (
	scaleTwo  = walkStep{"scale", scaleRequest(2)}
	rolledOut = walkStep{"rollout", ipc.RolloutRequest{Service: "webapp", Image: "next"}}
	holds     = walkStep{"rollout", ipc.RolloutRequest{Service: "webapp", Image: "next", PauseAfter: 1}}
	stopped   = walkStep{"stop", ipc.StopRequest{}}
	goesBack  = walkStep{"rollback", ipc.RollbackRequest{Service: "webapp"}}
)

var walk = map[string]walkChange{
	"scale up":   {walkStep{"scale", scaleRequest(3)}, nil, 0},
	"scale down": {walkStep{"scale", scaleRequest(1)}, []walkStep{{"scale", scaleRequest(3)}}, 1},
	"stop":       {stopped, []walkStep{scaleTwo}, 1},
	"start":      {walkStep{"start", ipc.StartRequest{}}, []walkStep{scaleTwo, stopped}, 2},
	"rollout":    {rolledOut, []walkStep{scaleTwo}, 1},
	"restart":    {walkStep{"restart", ipc.RestartRequest{Service: "webapp", MaxSurge: 2}}, []walkStep{scaleTwo}, 1},
	"rollback":   {goesBack, []walkStep{scaleTwo, rolledOut}, 2},
	"hold":       {holds, []walkStep{scaleTwo}, 1},
	"continue":   {walkStep{"rollout/continue", ipc.ContinueRequest{Service: "webapp"}}, []walkStep{scaleTwo, holds}, 1},
	"go back":    {goesBack, []walkStep{scaleTwo, holds}, 2},
}

// sample is of how many faults one is tried, unless FAULTS=all is set.
const sample = 3

// TestFaultWalk ends the daemon before and after every kind of side effect of every kind of
// change, or lets that fail. The change is then done, or all is as before, and one outcome is
// on record. The whole walk, under load and on real parts, is that of package tests.
func TestFaultWalk(t *testing.T) {
	program := filepath.Join(t.TempDir(), "tvsctld")
	if output, err := exec.Command("go", "build", "-tags", "faults", "-o", program, "../cmd/tvsctld").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	labels, all, faults := map[string]bool{}, 0, 0
	for _, name := range slices.Sorted(maps.Keys(walk)) {
		c := walk[name]
		w := newFaultWalk(t, program)
		w.steps(t, c.before[:c.undone])
		before := w.looks()
		w.steps(t, c.before[c.undone:])
		start := w.looks()
		points := w.trace(t, c.walkStep)
		after := w.looks()
		w.end(t)
		for _, point := range points {
			_, label, _ := strings.Cut(point, " ")
			labels[label] = true
			for _, how := range []string{"crash", "fail"} {
				if all++; all%sample != 0 && os.Getenv("FAULTS") != "all" {
					continue
				}
				faults++
				t.Run(name+"/"+how+" "+point, func(t *testing.T) {
					w := newFaultWalk(t, program)
					w.steps(t, c.before)
					w.disturbed(t, c.walkStep, how+" "+point+" 1", start, before, after)
					w.end(t)
				})
			}
		}
	}
	t.Logf("%d labels, %d of %d faults", len(labels), faults, all)
}

// faultWalk is a stack with a daemon that is a process of its own.
type faultWalk struct {
	*stack
	program, state, dir, socket string
	process                     *exec.Cmd
}

func newFaultWalk(t *testing.T, program string) *faultWalk {
	t.Helper()
	dir, err := os.MkdirTemp("", "walk") // not t.TempDir(): a socket's path is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	w := &faultWalk{stack: newStackWithout(t), program: program, dir: dir, state: filepath.Join(dir, "state"), socket: filepath.Join(dir, "s")}
	w.Update("tvs-webapp-1", "update", func(c *enginetest.Container) { c.Labels["tvs.rollout.settle"] = "0s" })
	w.Images["next"] = "sha256:next"
	w.Client = ipc.NewClient(w.socket)
	w.live(t)
	return w
}

// live starts the daemon and waits until it answers.
func (w *faultWalk) live(t *testing.T) {
	t.Helper()
	w.process = exec.Command(w.program, "-listen", w.socket, "-state", w.state, "-projects", w.dir, "-config", filepath.Join(w.dir, "none.toml"))
	w.process.Env = append(os.Environ(), "TVSCTLD_FAULTS="+w.dir, "JOURNAL_STREAM=")
	w.process.Stderr = w.journal
	if err := w.process.Start(); err != nil {
		t.Fatal(err)
	}
	process := w.process
	t.Cleanup(func() {
		_ = process.Process.Kill()
		_ = process.Wait()
	})
	until(t, "the daemon answers", func() bool { return w.Get(t.Context(), "/version", &ipc.Version{}) == nil })
}

func (w *faultWalk) end(t *testing.T) {
	_ = w.process.Process.Kill()
	_ = w.process.Wait()
}

func (w *faultWalk) steps(t *testing.T, steps []walkStep) {
	t.Helper()
	for _, step := range steps {
		if o := w.do(t, step.path, step.request); o.State != ipc.OperationSucceeded {
			t.Fatalf("%s: %+v", step.path, o.Error)
		}
	}
	until(t, "the guard has published", func() bool { return w.members() != "" })
}

// looks is what the stack has, without what differs from time to time.
func (w *faultWalk) looks() string {
	var replicas []string
	running := 0
	for _, name := range w.Names() {
		container, state, _ := strings.Cut(name, " ")
		if strings.HasPrefix(container, "tvs-webapp-") {
			replicas = append(replicas, w.Container(container).Image+" "+state)
			if state == "running" {
				running++
			}
		}
	}
	slices.Sort(replicas)
	return strings.Join(replicas, ", ") + "; in nginx: " + fmt.Sprint(strings.Count(w.members(), "172."))
}

// trace carries out a change and returns the points that it comes to.
func (w *faultWalk) trace(t *testing.T, step walkStep) []string {
	t.Helper()
	file := filepath.Join(w.dir, "trace")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	w.steps(t, []walkStep{step})
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var points []string
	for line := range strings.Lines(string(text)) {
		points = append(points, strings.TrimSpace(line))
	}
	slices.Sort(points)
	return slices.Compact(points)
}

// disturbed carries out a change in which something goes wrong.
func (w *faultWalk) disturbed(t *testing.T, step walkStep, what, start, before, after string) {
	t.Helper()
	var known, list []ipc.Operation
	if err := w.Get(t.Context(), "/operations", &known); err != nil {
		t.Fatal(err)
	}
	w.mu.Lock()
	w.history = nil
	w.mu.Unlock()
	armed := filepath.Join(w.dir, "next")
	if err := os.WriteFile(armed, []byte(what), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var o ipc.Operation
	err := w.Post(ctx, ipc.ProjectPath("", step.path), step.request, &o)
	if strings.HasPrefix(what, "crash") {
		late := time.AfterFunc(10*time.Second, func() { _ = w.process.Process.Signal(syscall.SIGABRT) })
		_ = w.process.Wait()
		late.Stop()
		if status, ok := w.process.ProcessState.Sys().(syscall.WaitStatus); !ok || status.Signal() != syscall.SIGKILL {
			t.Fatalf("the daemon was not killed there, and ended with %v", w.process.ProcessState)
		}
		w.live(t)
	}
	until(t, "everything has an outcome", func() bool {
		if err := w.Get(ctx, "/operations", &list); err != nil {
			t.Fatal(err)
		}
		return !slices.ContainsFunc(list, func(o ipc.Operation) bool { return !o.State.Finished() })
	})
	want := before
	var failure *ipc.Error
	if len(list) > 0 {
		failure = list[0].Error
	}
	switch {
	case len(list) == len(known): // refused, or it never heard of it
		want = start
	case len(list) > len(known)+1:
		t.Errorf("%d outcomes", len(list)-len(known))
	case failure == nil, strings.HasPrefix(failure.Message, "the change was made"):
		want = after
	case failure.Code == ipc.CodeState: // it could not be begun
		want = start
	}
	if len(list) == len(known) && err == nil {
		t.Error("it was accepted, and is not on record")
	}
	// The guard may yet have to say its word.
	for start := time.Now(); w.looks() != want; time.Sleep(time.Millisecond) {
		if time.Since(start) > 5*time.Second {
			t.Fatalf("it has %s, want %s\n%s", w.looks(), want, w.journal)
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	first := slices.IndexFunc(w.history, func(members string) bool { return strings.Contains(members, "172.") })
	if strings.HasPrefix(what, "crash") && !strings.HasSuffix(want, "in nginx: 0") && first >= 0 &&
		slices.ContainsFunc(w.history[first:], func(members string) bool { return !strings.Contains(members, "172.") }) {
		t.Errorf("nginx had nobody to serve meanwhile: %q\n%s", w.history, w.journal)
	}
}
