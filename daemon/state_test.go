package daemon

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"tvsctl/dockerops"
	"tvsctl/ipc"
	"tvsctl/nginx"
)

func reopenStore(t *testing.T, s *store, dir string) *store {
	t.Helper()
	if s != nil {
		if err := s.close(); err != nil {
			t.Fatal(err)
		}
	}
	s = openStore(dir)
	if s.broken != nil {
		t.Fatal(s.broken)
	}
	t.Cleanup(func() { s.close() })
	return s
}

func TestStoreRoundTrip(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "deeper", "state")
	s := reopenStore(t, nil, dir)
	if p := s.project("tvs"); p.Desired == nil || p.Specs == nil || len(p.Desired) > 0 {
		t.Errorf("of a new project %+v", p)
	}
	cpus, memory := int64(5e8), int64(0)
	want := projectState{Desired: map[string]int{"webapp": 3}, Stopped: map[string]bool{"storage": true}, Exited: []string{"x"},
		Specs: map[string]*dockerops.Spec{"webapp": {Project: "tvs", Service: "webapp", Separator: "-"}},
		Files: &dockerops.Files{Directory: "/srv", Compose: []string{"/srv/c.yaml"}},
		Rollouts: map[string]*rollout{"webapp": {Rollout: dockerops.Rollout{Service: "webapp", Old: map[string]bool{"x": true}, Count: 3, Surge: 1},
			Operation: "abc", Back: true, Failure: &ipc.Error{Code: ipc.CodeNotReady, Message: "not ready"}}},
		Previous: map[string]*dockerops.Spec{"webapp": {Project: "tvs", Service: "webapp", ImageID: "sha256:1"}},
		Images:   map[string]string{"webapp": "app:2"}, Replaced: map[string]replaced{"storage": {Operation: "def"}},
		Limits: map[string]dockerops.LimitSet{"webapp": {CPUs: &cpus, Memory: &memory}}, // 0 is kept: it lifts a limit
		Seen:   map[string]seenNginx{"x@1": {Facts: nginx.Facts{Version: "1.26.3", Files: map[string][]byte{"a.conf": []byte("a")}}, Published: map[string][]byte{"a.conf": []byte("a")}}},
		Bases:  map[string]int{"webapp": 35002}, Midway: true}
	if err := s.update("tvs", func(p *projectState) { *p = want }); err != nil {
		t.Fatal(err)
	}
	queued := time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
	operation := ipc.Operation{ID: "abc", Project: "tvs", Queued: queued, State: ipc.OperationRunning}
	if err := s.record(operation, nil); err != nil {
		t.Fatal(err)
	}
	operation.State, operation.Result = ipc.OperationSucceeded, "fine"
	if err := s.record(operation, nil); err != nil {
		t.Fatal(err)
	}
	if err := s.keepEpoch("first"); err != nil {
		t.Error(err)
	}
	s = reopenStore(t, s, dir)
	if got := s.project("tvs"); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v", got)
	}
	if got := s.history(); len(got) != 1 || !reflect.DeepEqual(got[0], operation) {
		t.Errorf("got %+v", got)
	}
	if epoch := s.lastEpoch(); epoch != "first" {
		t.Errorf("epoch %q", epoch)
	}
	if got := s.declared(); !reflect.DeepEqual(got, []string{"tvs"}) {
		t.Errorf("declared %q", got)
	}
	if info, err := os.Stat(filepath.Join(dir, "state.db")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
}

func TestStoreGivesCopies(t *testing.T) {
	s := reopenStore(t, nil, t.TempDir())
	if err := s.update("tvs", func(p *projectState) { p.Desired["webapp"] = 1; p.Exited = []string{"a"} }); err != nil {
		t.Fatal(err)
	}
	got := s.project("tvs")
	got.Desired["webapp"], got.Exited[0] = 9, "z"
	if again := s.project("tvs"); again.Desired["webapp"] != 1 || again.Exited[0] != "a" {
		t.Errorf("got %+v", again)
	}
}

func TestStoreForgetsTheOldest(t *testing.T) {
	dir := t.TempDir()
	s := reopenStore(t, nil, dir)
	s.db.NoSync = true // two hundred syncs take seconds
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for i := range historyLength + 5 {
		o := ipc.Operation{ID: fmt.Sprint(i), Queued: start.Add(time.Duration(i) * time.Nanosecond), State: ipc.OperationSucceeded}
		if i == 2 {
			o.State = ipc.OperationQueued // which has to be taken up again
		}
		if err := s.record(o, nil); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		got := s.history()
		if len(got) != historyLength || got[0].ID != "2" || got[1].ID != "6" || got[historyLength-1].ID != fmt.Sprint(historyLength+4) {
			t.Fatalf("%d operations, from %s", len(got), got[0].ID)
		}
		s = reopenStore(t, s, dir)
	}
}

func TestBrokenStoreRefusesChanges(t *testing.T) {
	inTheWay := filepath.Join(t.TempDir(), "state")
	if err := os.WriteFile(inTheWay, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	garbage := t.TempDir()
	if err := os.WriteFile(filepath.Join(garbage, "state.db"), []byte(strings.Repeat("no database ", 1000)), 0o600); err != nil {
		t.Fatal(err)
	}
	unreadable := t.TempDir()
	s := reopenStore(t, nil, unreadable)
	err := s.db.Update(func(tx *bolt.Tx) error { return tx.Bucket(projectsBucket).Put([]byte("tvs"), []byte("{")) })
	if err := errors.Join(err, s.close()); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{inTheWay, garbage, unreadable} {
		s := openStore(dir)
		if s.broken == nil || !strings.Contains(s.broken.Error(), dir) {
			t.Fatalf("%s: %v", dir, s.broken)
		}
		epochErr := s.keepEpoch("x")
		for _, err := range []error{s.update("tvs", func(*projectState) {}), s.record(ipc.Operation{ID: "a"}, nil), epochErr} {
			if err == nil || err.Error() != s.broken.Error() {
				t.Errorf("%s: %v", dir, err)
			}
		}
		if len(s.history()) != 0 || s.project("tvs").Desired == nil || s.declared() != nil {
			t.Errorf("%s: reads %v", dir, s.history())
		}
		if err := s.close(); err != nil {
			t.Error(err)
		}
	}
}

// TestLateOutcome: an outcome that could not be written is known, and on disk with the next
// change that can be; the next life does not take the operation up again.
func TestLateOutcome(t *testing.T) {
	dir := t.TempDir()
	s := reopenStore(t, nil, dir)
	o := ipc.Operation{ID: "abc", Queued: time.Now(), State: ipc.OperationRunning}
	if err := s.record(o, &job{Kind: "stop"}); err != nil {
		t.Fatal(err)
	}
	s.broken = errors.New("no room")
	o.State = ipc.OperationSucceeded
	if err := s.record(o, nil); err == nil {
		t.Fatal("it was written")
	}
	if got := s.history(); got[0].State != ipc.OperationSucceeded || len(s.unfinished()) != 0 {
		t.Errorf("got %+v", got)
	}
	s.catchUp() // in vain
	s.broken = nil
	if err := s.update("tvs", func(p *projectState) { p.Desired["webapp"] = 2 }); err != nil {
		t.Fatal(err)
	}
	s = reopenStore(t, s, dir)
	if got := s.unfinished(); len(got) != 0 {
		t.Errorf("it would be taken up again: %+v", got)
	}
}

// TestMendedStore: a state that could not be opened is used when it can be, with what it has.
func TestMendedStore(t *testing.T) {
	dir := t.TempDir()
	s := reopenStore(t, nil, dir)
	if err := s.update("tvs", func(p *projectState) { p.Desired["webapp"] = 4 }); err != nil {
		t.Fatal(err)
	}
	if err := s.record(ipc.Operation{ID: "old", Queued: time.Now(), State: ipc.OperationRunning}, &job{Kind: "scale"}); err != nil {
		t.Fatal(err)
	}
	if err := s.close(); err != nil {
		t.Fatal(err)
	}
	aside := dir + ".aside"
	if err := os.Rename(dir, aside); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s = openStore(dir)
	t.Cleanup(func() { s.close() })
	unfinished := make(chan []keptOperation, 1)
	s.mended = func(list []keptOperation) { unfinished <- list }
	if err := s.update("tvs", func(p *projectState) { p.Desired["api"] = 1 }); err == nil {
		t.Fatal("a change was kept without a state")
	}
	if err := errors.Join(os.Remove(dir), os.Rename(aside, dir)); err != nil {
		t.Fatal(err)
	}
	if err := s.update("tvs", func(p *projectState) { p.Desired["api"] = 2 }); err != nil {
		t.Fatal(err)
	}
	if got := s.project("tvs").Desired; got["webapp"] != 4 || got["api"] != 2 || s.usable() != nil {
		t.Errorf("got %v, %v", got, s.usable())
	}
	if list := <-unfinished; len(list) != 1 || list[0].ID != "old" {
		t.Errorf("unfinished %+v", list)
	}
}
