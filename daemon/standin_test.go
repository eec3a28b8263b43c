package daemon

import (
	"errors"
	"strings"
	"testing"

	"tvsctl/dockerops"
	"tvsctl/dockerops/enginetest"
	"tvsctl/ipc"
)

// The only one that serves dies while another is ready and waits to join with a third: it
// serves at once. When the change is canceled it leaves nginx before it is removed.
func TestStandIn(t *testing.T) {
	s := newStack(t)
	until(t, "the guard publishes", func() bool { return s.members() == "172.20.0.1:8080" })
	good := s.OnStart
	s.OnStart = func(c *enginetest.Container) {
		if good(c); c.Name == "tvs-webapp-3" {
			c.Health = "starting" // for ever
		}
	}
	var o ipc.Operation
	if err := s.Post(t.Context(), ipc.ProjectPath("", "scale"), scaleRequest(3), &o); err != nil {
		t.Fatal(err)
	}
	until(t, "both run", func() bool { return strings.Count(strings.Join(s.Names(), " "), "running") == 4 })
	s.Update("tvs-webapp-1", "die", func(c *enginetest.Container) { c.State, c.Health = "exited", "" })
	until(t, "the second one serves", func() bool { return s.members() == "172.20.0.2:8080" })
	served := "not removed"
	s.Before("remove tvs-webapp-2", func() { served = s.members() })
	if err := s.Post(t.Context(), "/operations/"+o.ID+"/cancel", struct{}{}, nil); err != nil {
		t.Fatal(err)
	}
	if ended, err := s.Follow(t.Context(), o.ID, func(ipc.Event) {}); err != nil || ended.State != ipc.OperationFailed {
		t.Errorf("%+v, %v", ended, err)
	}
	if strings.Contains(served, "172.") || served == "not removed" {
		t.Errorf("when it was removed nginx served %s", served)
	}
}

// The last replica of a service was removed, and the daemon killed before it kept that none
// is desired: the change is done, and the service can grow again.
func TestResumeOfAScaleToNone(t *testing.T) {
	s := newStackWithout(t)
	dir := t.TempDir()
	store := openStore(dir)
	j := job{Kind: "scale", Request: []byte(`{"services":{"worker":0}}`), Decided: &decided{Before: map[string]bool{"gone": true}, Highest: map[string]int{"worker": 1},
		Goals: map[string]dockerops.Goal{"worker": {Running: true}}, Desired: map[string]int{"worker": 0}}}
	record := ipc.Operation{ID: "abcd", Project: "tvs", Verb: "scale", State: ipc.OperationRunning}
	err := store.update("tvs", func(k *projectState) { k.Desired["worker"] = 3 })
	if err := errors.Join(err, store.record(record, &j), store.close()); err != nil {
		t.Fatal(err)
	}
	s.Client, s.d = serve(t, Config{Version: "test", StateDir: dir, ProjectDir: t.TempDir(), Log: s.journal})
	if o := s.outcome(t); o.State != ipc.OperationSucceeded {
		t.Errorf("%+v", o.Error)
	}
	if count, asked := s.d.state.project("tvs").Desired["worker"]; count != 0 || !asked {
		t.Errorf("%d desired, %v", count, asked)
	}
}

func TestKeepVanishing(t *testing.T) {
	s := newTestSite(t)
	p := &dockerops.Project{Name: "tvs"}
	for _, name := range []string{"stays", "vanishes"} {
		p.Services = append(p.Services, dockerops.Service{Name: name, Replicas: []dockerops.Replica{replica(name, "running", "")}, Spec: &dockerops.Spec{Service: name}})
	}
	if err := s.keepVanishing(p, map[string]dockerops.Goal{"stays": {Count: 1}, "vanishes": {}, "gone": {}}); err != nil {
		t.Fatal(err)
	}
	if specs := s.d.state.project("tvs").Specs; len(specs) != 1 || specs["vanishes"] == nil {
		t.Errorf("kept %v", specs)
	}
}
