package daemon

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"tvsctl/dockerops"
	"tvsctl/dockerops/enginetest"
	"tvsctl/ipc"
)

// left is a stack whose daemon ended while webapp was scaled to 2, which lasts until the
// returned function is called, and while other operations waited for that.
func left(t *testing.T, others map[string]job) (s *stack, on func()) {
	t.Helper()
	s = newStackWithout(t)
	s.Add("worker", 1, nil)
	s.Add("worker", 2, func(c *enginetest.Container) { c.State = "created" }) // by one of the others
	good := s.OnStart
	s.OnStart = func(c *enginetest.Container) {
		if good(c); c.Name == "tvs-webapp-2" {
			c.Health = "starting"
		}
	}
	first, err := newJob("scale", scaleRequest(2))
	dir := t.TempDir()
	store := openStore(dir)
	keep := func(id string, j job) error {
		return store.record(ipc.Operation{ID: id, Project: "tvs", Verb: j.Kind, Summary: "do " + id, State: ipc.OperationQueued, Queued: time.Now()}, &j)
	}
	err = errors.Join(err, keep("first", first))
	for id, j := range others {
		err = errors.Join(err, keep(id, j))
	}
	if err = errors.Join(err, store.close()); err != nil {
		t.Fatal(err)
	}
	s.Client, s.d = serve(t, Config{Version: "test", StateDir: dir, ProjectDir: t.TempDir(), Log: s.journal})
	until(t, "the first waits for a replica", func() bool { return slices.Contains(s.Names(), "tvs-webapp-2 running") })
	on = func() {
		s.Update("tvs-webapp-2", "health_status: healthy", func(c *enginetest.Container) { c.Health = "healthy" })
	}
	t.Cleanup(on) // the daemon's end waits for it
	return s, on
}

// An operation that is canceled while it waits to be taken up again ends at once where no
// earlier life of the daemon has begun it.
func TestCancelWhatWaitsToBeResumed(t *testing.T) {
	others := map[string]job{}
	for kind, request := range map[string]any{"scale": scaleRequest(3), "rollout": toImage("app:2"), "limit": limitRequest(1, 0), "up": ipc.UpRequest{}} {
		j, err := newJob(kind, request)
		if err != nil {
			t.Fatal(err)
		}
		others[kind] = j
	}
	s, on := left(t, others)
	for kind := range others {
		want := "do " + kind + ": canceled by "
		if ended := cancelOne(t, s.Client, kind); !strings.HasPrefix(ended.Error.Message, want) || strings.Contains(ended.Error.Message, "taken back") != (kind == "up") {
			t.Errorf("%s: %+v", kind, ended.Error)
		}
	}
	on()
	if o, err := s.Follow(t.Context(), "first", func(ipc.Event) {}); err != nil || o.Error != nil {
		t.Errorf("%+v, %v", o, err)
	}
}

// What an earlier life has begun of it is taken back when it has its turn.
func TestCancelWhatIsToBeTakenBack(t *testing.T) {
	p := &dockerops.Project{Name: "tvs", Services: []dockerops.Service{{Name: "worker", Replicas: []dockerops.Replica{{ID: "x", Number: 1, State: "running"}}}}}
	begun, err := newJob("scale", ipc.ScaleRequest{Services: map[string]int{"worker": 3}})
	if err != nil {
		t.Fatal(err)
	}
	begun.settle(p, scaleTo(p, map[string]int{"worker": 3}))
	s, on := left(t, map[string]job{"second": begun})
	if err := s.Post(t.Context(), "/operations/second/cancel", struct{}{}, nil); err != nil {
		t.Fatal(err)
	}
	on()
	o, err := s.Follow(t.Context(), "second", func(ipc.Event) {})
	if err != nil || o.Error == nil || o.Error.Code != ipc.CodeCanceled || !strings.HasSuffix(o.Error.Message, "; what it had begun was taken back") {
		t.Errorf("%+v, %v", o, err)
	}
	if names := s.Names(); !slices.Equal(names, []string{"tvs-entry-1 running", "tvs-webapp-1 running", "tvs-webapp-2 running", "tvs-worker-1 running"}) {
		t.Errorf("containers %q", names)
	}
}

// Docker may yet come back when an operation is taken up that was not begun.
func TestResumeWaitsForDocker(t *testing.T) {
	s := newStackWithout(t)
	j, err := newJob("scale", scaleRequest(2))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	store := openStore(dir)
	record := ipc.Operation{ID: "abcd", Project: "tvs", Verb: "scale", Summary: "scale webapp", State: ipc.OperationQueued, Queued: time.Now()}
	if err := errors.Join(store.record(record, &j), store.close()); err != nil {
		t.Fatal(err)
	}
	s.Down()
	s.Client, s.d = serve(t, Config{Version: "test", StateDir: dir, ProjectDir: t.TempDir(), Log: s.journal})
	o, err := s.Follow(t.Context(), "abcd", func(e ipc.Event) {
		if strings.HasPrefix(e.Line, "Docker is away") {
			s.Up()
		}
	})
	if err != nil || o.Error != nil || o.Result != "webapp has 2 ready replicas" {
		t.Errorf("%+v, %v", o, err)
	}
}
