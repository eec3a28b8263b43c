package daemon

import (
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"tvsctl/dockerops/enginetest"
	"tvsctl/ipc"
)

// Steps are on disk as they end: a life of the daemon that comes after a kill shows them.
func TestStepsOfAKilledLife(t *testing.T) {
	s := newStack(t)
	until(t, "the guard publishes", func() bool { return s.members() == "172.20.0.1:8080" })
	s.OnStart = func(c *enginetest.Container) { c.Health = "starting" } // for ever
	var running, now ipc.Operation
	if err := s.Post(t.Context(), ipc.ProjectPath("", "scale"), scaleRequest(2), &running); err != nil {
		t.Fatal(err)
	}
	done := func(o ipc.Operation) bool {
		return slices.ContainsFunc(o.Steps, func(step ipc.Step) bool { return step.State == ipc.StepDone })
	}
	until(t, "a step has ended", func() bool {
		return s.Get(t.Context(), "/operations/"+running.ID, &now) == nil && done(now)
	})
	until(t, "a step is kept", func() bool { return slices.ContainsFunc(s.d.state.history(), done) })

	dir := t.TempDir()
	text, err := os.ReadFile(filepath.Join(s.d.config.StateDir, "state.db"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "state.db"), text, 0o600); err != nil {
		t.Fatal(err)
	}
	next := New(Config{StateDir: dir, Log: &journalBuffer{}})
	defer next.state.close()
	r := httptest.NewRequest("GET", "/v1/operations/"+running.ID, nil)
	r.SetPathValue("id", running.ID)
	reply, err := getOperation(next, r.WithContext(withPeer(t.Context(), peer{})))
	if o, is := reply.(ipc.Operation); err != nil || !is || o.State != ipc.OperationRunning || !done(o) || !slices.Equal(texts(o), texts(now)) {
		t.Errorf("the next life shows %+v, %v; the one before had %+v", reply, err, now.Steps)
	}

	if err := s.Post(t.Context(), "/operations/"+running.ID+"/cancel", struct{}{}, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Follow(t.Context(), running.ID, func(ipc.Event) {}); err != nil {
		t.Error(err)
	}
}

// texts are the steps of an operation.
func texts(o ipc.Operation) (list []string) {
	for _, step := range o.Steps {
		list = append(list, step.Text)
	}
	return list
}
