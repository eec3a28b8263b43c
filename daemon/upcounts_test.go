package daemon

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"tvsctl/dockerops"
	"tvsctl/ipc"
)

// newUpStack is a stack without webapps, of which so many are desired. Its compose tells up
// and down in the file begun, and ends with the status that is written to the pipe gate. The
// file everything is what its files say with all profiles.
func newUpStack(t *testing.T, desired int) *rollStack {
	t.Helper()
	s := newRollStack(t)
	s.removeWebapps(s.highest())
	bin := t.TempDir()
	script := `#!/bin/sh
case "$*" in
*" up --detach"*|*" down") echo "$*" >begun.new && mv begun.new begun && read -r status <gate && exit "$status" ;;
*"--profile * config --format json") exec cat everything ;;
esac
PATH="${PATH#*:}" exec docker "$@"
`
	err := errors.Join(os.WriteFile(filepath.Join(bin, "docker"), []byte(script), 0o755), syscall.Mkfifo(filepath.Join(s.dir, "gate"), 0o600))
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	s.keep(t, func(k *projectState) { k.Desired["webapp"] = desired })
	return s
}

// keep changes the state on disk, before a daemon runs.
func (s *rollStack) keep(t *testing.T, change func(*projectState)) {
	t.Helper()
	store := openStore(s.state)
	if err := errors.Join(store.update("tvs", change), store.close()); err != nil {
		t.Fatal(err)
	}
}

func (s *rollStack) addWebapps(n int) {
	for range n {
		s.Add("webapp", s.highest()+1, s.is("app:1", nil))
	}
}

func (s *rollStack) removeWebapps(n int) {
	for range n {
		s.Remove(fmt.Sprintf("tvs-webapp-%d", s.highest()))
	}
}

// composes lets compose, which an operation has begun, do something and end with a
// status; it returns what compose was asked for, and how the operation ended.
func (s *rollStack) composes(t *testing.T, id, status string, does func()) (asked string, o *ipc.Operation) {
	t.Helper()
	begun := filepath.Join(s.dir, "begun")
	until(t, "compose has begun", func() bool {
		text, err := os.ReadFile(begun)
		asked = string(text)
		return err == nil
	})
	does()
	if err := errors.Join(os.Remove(begun), os.WriteFile(filepath.Join(s.dir, "gate"), []byte(status+"\n"), 0)); err != nil {
		t.Fatal(err)
	}
	o, err := s.Follow(t.Context(), id, func(ipc.Event) {})
	if err != nil {
		t.Fatal(err)
	}
	return asked, o
}

// expectUp checks an up that was to bring up so many webapps.
func (s *rollStack) expectUp(t *testing.T, asked string, o *ipc.Operation, count string) {
	t.Helper()
	if !strings.Contains(asked, " --scale webapp="+count+"\n") || o.Error != nil || !strings.HasPrefix(o.Result, "tvs is up: webapp has "+count+" ready replica") {
		t.Errorf("compose was asked for %q, and it ended with %q, %+v", asked, o.Result, o.Error)
	}
	if kept := s.kept(); kept.Desired["webapp"] != int(count[0]-'0') || kept.Midway {
		t.Errorf("kept %+v", kept)
	}
}

// An up that fails half way is repeated with the counts that it had, and not with what it left.
func TestUpAfterOneThatFailed(t *testing.T) {
	s := newUpStack(t, 4).run(t)
	_, o := s.composes(t, s.accept(t, "up", ipc.UpRequest{}).ID, "1", func() { s.addWebapps(2) })
	if o.Error == nil || s.kept().Desired["webapp"] != 4 {
		t.Errorf("%+v, kept %+v", o, s.kept())
	}
	asked, o := s.composes(t, s.accept(t, "up", ipc.UpRequest{}).ID, "0", func() { s.addWebapps(2) })
	s.expectUp(t, asked, o, "4")
}

// So is one after a down that fails half way.
func TestUpAfterADownThatFailed(t *testing.T) {
	s := newUpStack(t, 4)
	s.addWebapps(4)
	s.run(t)
	_, o := s.composes(t, s.accept(t, "down", ipc.DownRequest{}).ID, "1", func() { s.removeWebapps(2) })
	if o.Error == nil || !s.kept().Midway {
		t.Errorf("%+v, kept %+v", o, s.kept())
	}
	asked, o := s.composes(t, s.accept(t, "up", ipc.UpRequest{}).ID, "0", func() { s.addWebapps(2) })
	s.expectUp(t, asked, o, "4")
}

// An up whose daemon was killed goes on to the counts that it had: those that somebody
// else had made, if that was so.
func TestUpResumes(t *testing.T) {
	s := newUpStack(t, 4)
	s.addWebapps(5) // by somebody else
	s.run(t)
	var state []byte // as a killed daemon would leave it
	killed := s.accept(t, "up", ipc.UpRequest{})
	_, o := s.composes(t, killed.ID, "1", func() {
		s.d.state.mu.Lock() // nobody writes it
		defer s.d.state.mu.Unlock()
		var err error
		if state, err = os.ReadFile(filepath.Join(s.state, "state.db")); err != nil {
			t.Fatal(err)
		}
		s.removeWebapps(2)
	})
	if o.Error == nil {
		t.Fatalf("%+v", o)
	}
	s.end()
	if err := os.WriteFile(filepath.Join(s.state, "state.db"), state, 0o600); err != nil {
		t.Fatal(err)
	}
	s.run(t)
	asked, o := s.composes(t, killed.ID, "0", func() { s.addWebapps(2) })
	s.expectUp(t, asked, o, "5")
}

// What somebody else scaled after an up or down that succeeded is adopted.
func TestUpAdopts(t *testing.T) {
	s := newUpStack(t, 4)
	s.addWebapps(2)
	s.run(t)
	asked, o := s.composes(t, s.accept(t, "up", ipc.UpRequest{}).ID, "0", func() {})
	s.expectUp(t, asked, o, "2")
	s.addWebapps(1)
	asked, o = s.composes(t, s.accept(t, "up", ipc.UpRequest{}).ID, "0", func() {})
	s.expectUp(t, asked, o, "3")
	if _, o := s.composes(t, s.accept(t, "down", ipc.DownRequest{}).ID, "0", func() { s.removeWebapps(3) }); o.Error != nil {
		t.Fatalf("%+v", o.Error)
	}
	s.addWebapps(1)
	asked, o = s.composes(t, s.accept(t, "up", ipc.UpRequest{}).ID, "0", func() {})
	s.expectUp(t, asked, o, "1")
}

// What the files have only in a profile that is not active, or not any more and its
// containers are still there, is not scaled by an up, and not forgotten.
func TestUpForgets(t *testing.T) {
	const webapp, andWorker = `"webapp": {"image": "app:1"}`, `, "worker": {"image": "app:1"}`
	for name, c := range map[string]struct {
		everything string // "": compose cannot tell
		workers    int
		forgotten  bool
	}{
		"in another profile":                 {webapp + andWorker, 0, false},
		"in another profile, and it runs":    {webapp + andWorker, 1, false},
		"not in the files, and it runs":      {webapp, 1, false},
		"not in the files":                   {webapp, 0, true},
		"the other profiles cannot be known": {"", 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := newUpStack(t, 1)
			if c.everything != "" {
				s.write(t, "everything", `{"services": {`+c.everything+`}}`)
			}
			memory := int64(1 << 30)
			s.keep(t, func(k *projectState) {
				k.Desired["worker"], k.Limits["worker"] = 3, dockerops.LimitSet{Memory: &memory}
				k.Specs["worker"] = newTestSpec(t, "worker", "sha256:1")
			})
			for n := range c.workers {
				s.Add("worker", n+1, nil)
			}
			s.run(t)
			asked, o := s.composes(t, s.accept(t, "up", ipc.UpRequest{}).ID, "0", func() { s.addWebapps(1) })
			s.expectUp(t, asked, o, "1")
			if strings.Contains(asked, "worker") {
				t.Errorf("compose was asked for %q", asked)
			}
			kept := s.kept()
			if _, limited := kept.Limits["worker"]; (kept.Desired["worker"] == 0) != c.forgotten || (kept.Specs["worker"] == nil) != c.forgotten || limited == c.forgotten {
				t.Errorf("kept %+v", kept)
			}
		})
	}
}

// What cannot be kept is not begun.
func TestUpNeedsItsState(t *testing.T) {
	s := newUpStack(t, 4).run(t)
	request, err := json.Marshal(ipc.UpRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.d.state.db.Close(); err != nil {
		t.Fatal(err)
	}
	for kind, do := range map[string]work{"up": (*site).up, "down": (*site).down} {
		o := newOperation(s.d.log, ipc.Operation{ID: "abcd", Project: "tvs", Queued: time.Now()}, job{Kind: kind, Request: request})
		if _, err := do(s.d.site("tvs"), t.Context(), o); err == nil || describeError(err).Code != ipc.CodeState || o.begun {
			t.Errorf("%s: %v, begun %v", kind, err, o.begun)
		}
	}
}
