package daemon

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"tvsctl/dockerops"
	"tvsctl/dockerops/enginetest"
	"tvsctl/ipc"
)

// cancelOne cancels an operation of root's and returns its end.
func cancelOne(t *testing.T, c *ipc.Client, id string) *ipc.Operation {
	t.Helper()
	if err := c.Post(t.Context(), "/operations/"+id+"/cancel", struct{}{}, nil); err != nil {
		t.Fatal(err)
	}
	ended, err := c.Follow(t.Context(), id, func(ipc.Event) {})
	if err != nil || ended.Error == nil || ended.Error.Code != ipc.CodeCanceled {
		t.Fatalf("%+v, %v", ended, err)
	}
	return ended
}

// What compose has begun is not taken back, and the one who cancels is told.
func TestCancelUpAndDown(t *testing.T) {
	s := newRollStack(t)
	bin := t.TempDir()
	script := `#!/bin/sh
case "$*" in
*" up --detach") : >up.begun; exec sleep 1000 ;;
*" down") : >down.begun; exec sleep 1000 ;;
esac
PATH="${PATH#*:}" exec docker "$@"
`
	if err := os.WriteFile(filepath.Join(bin, "docker"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	s.run(t)
	for verb, at := range map[string]string{"up": "let docker compose bring up tvs", "down": "let docker compose take down tvs"} {
		o := s.accept(t, verb, struct{}{})
		until(t, "compose works", func() bool { _, err := os.Stat(filepath.Join(s.dir, verb+".begun")); return err == nil })
		ended := cancelOne(t, s.Client, o.ID)
		want := fmt.Sprintf("; stopped in the middle of %q, nothing was taken back", at)
		if !strings.HasPrefix(ended.Error.Message, o.Summary+": canceled by ") || !strings.HasSuffix(ended.Error.Message, want) || len(ended.Error.Detail) == 0 {
			t.Errorf("%s: %+v", verb, ended.Error)
		}
	}
}

func TestCancelReload(t *testing.T) {
	s := newStackWithout(t)
	var hangs atomic.Bool
	answer, reloading, on := s.OnExec, make(chan struct{}, 1), make(chan struct{})
	s.OnExec = func(c *enginetest.Container, argv []string, input string) (string, int) {
		if hangs.Load() && strings.Contains(input, "\npublish\n") {
			select {
			case reloading <- struct{}{}:
			default:
			}
			<-on
		}
		return answer(c, argv, input)
	}
	defer close(on)
	s.Client, s.d = serve(t, Config{Version: "test", StateDir: t.TempDir(), ProjectDir: t.TempDir(), Log: s.journal})
	until(t, "the guard publishes", func() bool { return s.members() == "172.20.0.1:8080" })
	hangs.Store(true)
	var o ipc.Operation
	if err := s.Post(t.Context(), ipc.ProjectPath("", "nginx/reload"), struct{}{}, &o); err != nil {
		t.Fatal(err)
	}
	<-reloading
	if ended := cancelOne(t, s.Client, o.ID); !strings.HasSuffix(ended.Error.Message, `; stopped in the middle of "test and reload tvs-entry-1", nothing was taken back`) {
		t.Errorf("%+v", ended.Error)
	}
}

// An operation that cannot even look, because Docker hangs, can be canceled.
func TestCancelWhileItPlans(t *testing.T) {
	s := newStackWithout(t)
	var later atomic.Pointer[operation]
	starting, on, thawed := make(chan struct{}), make(chan struct{}), make(chan struct{})
	s.Before("start tvs-webapp-2", func() {
		close(starting)
		<-on
	})
	s.Before("inspect list", func() {
		if o := later.Load(); o != nil && o.snapshot().State == ipc.OperationRunning {
			<-thawed
		}
	})
	s.Client, s.d = serve(t, Config{Version: "test", StateDir: t.TempDir(), ProjectDir: t.TempDir(), Log: s.journal})
	t.Cleanup(func() { close(thawed) })
	post := func(verb string, request any) (o ipc.Operation) {
		if err := s.Post(t.Context(), ipc.ProjectPath("", verb), request, &o); err != nil {
			t.Fatal(err)
		}
		return o
	}
	post("scale", scaleRequest(2))
	<-starting
	o := post("scale", scaleRequest(3))
	s.d.mu.Lock()
	live := s.d.running[o.ID]
	s.d.mu.Unlock()
	later.Store(live)
	close(on)
	until(t, "it is its turn", func() bool { return live.snapshot().State == ipc.OperationRunning })
	if ended := cancelOne(t, s.Client, o.ID); len(ended.Steps) > 0 {
		t.Errorf("%+v", ended)
	}
}

// What could not be taken back is said, and not that all was.
func TestNotAllTakenBack(t *testing.T) {
	const left = "not all could be taken back: cannot remove tvs-webapp-2: device busy"
	for name, c := range map[string]struct {
		onStart func(*enginetest.Container)
		cancel  bool
		code    ipc.Code
	}{
		"it does not become ready": {func(c *enginetest.Container) { c.State, c.ExitCode = "exited", 3 }, false, ipc.CodeNotReady},
		"it is canceled":           {func(c *enginetest.Container) { c.Health = "starting" }, true, ipc.CodeCanceled},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStackWithout(t)
			s.OnStart = c.onStart
			s.Fail("remove tvs-webapp-2", http.StatusInternalServerError, "device busy")
			s.Client, s.d = serve(t, Config{Version: "test", StateDir: t.TempDir(), ProjectDir: t.TempDir(), Log: s.journal})
			var o ipc.Operation
			if err := s.Post(t.Context(), ipc.ProjectPath("", "scale"), scaleRequest(2), &o); err != nil {
				t.Fatal(err)
			}
			if c.cancel {
				until(t, "it waits for a replica", func() bool { return slices.Contains(s.Names(), "tvs-webapp-2 running") })
				if err := s.Post(t.Context(), "/operations/"+o.ID+"/cancel", struct{}{}, nil); err != nil {
					t.Fatal(err)
				}
			}
			ended, err := s.Follow(t.Context(), o.ID, func(ipc.Event) {})
			if err != nil || ended.Error == nil || ended.Error.Code != c.code || !strings.HasSuffix(ended.Error.Message, "; "+left) && !strings.HasSuffix(ended.Error.Message, "; and "+left) {
				t.Errorf("%+v, %v", ended.Error, err)
			}
		})
	}
}

// A call whose own time ran out is not tried for ever.
func TestInsistEnds(t *testing.T) {
	s := newStack(t)
	for _, err := range []error{dockerops.ErrNoAnswer, &dockerops.LeftoverError{Err: errors.New("not ready"), Left: dockerops.ErrNoAnswer}} {
		o, _ := newTestOperation()
		o.begun = true
		tried := 0
		got := s.d.insist(o, false, func() error {
			if tried++; tried > 1 {
				return errors.New("tried again")
			}
			return err
		})
		if got != err || tried != 1 {
			t.Errorf("%v after %d", got, tried)
		}
	}
}

// The only one that serves does not leave while the one that is to stay does not.
func TestLastThatServesStays(t *testing.T) {
	s := newStackWithout(t)
	s.Update("tvs-webapp-1", "pause", func(c *enginetest.Container) {
		c.State = "paused"
	})
	s.Add("webapp", 2, func(c *enginetest.Container) {
		c.Health, c.Address, c.Labels["tvs.ready.timeout"] = "healthy", "172.20.0.2", "100ms"
	})
	s.Client, s.d = serve(t, Config{Version: "test", StateDir: t.TempDir(), ProjectDir: t.TempDir(), Log: s.journal})
	until(t, "the guard publishes", func() bool { return s.members() == "172.20.0.2:8080" })
	var o ipc.Operation
	if err := s.Post(t.Context(), ipc.ProjectPath("", "scale"), scaleRequest(1), &o); err != nil {
		t.Fatal(err)
	}
	ended, err := s.Follow(t.Context(), o.ID, func(ipc.Event) {})
	if err != nil || ended.Error == nil || ended.Error.Code != ipc.CodeNotReady || !strings.HasSuffix(ended.Error.Message, "; nothing was changed") {
		t.Errorf("%+v, %v", ended.Error, err)
	}
	if names := s.Names(); !slices.Contains(names, "tvs-webapp-2 running") || s.members() != "172.20.0.2:8080" {
		t.Errorf("%q, nginx has %s", names, s.members())
	}
}
