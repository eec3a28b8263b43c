package daemon

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"tvsctl/dockerops"
	"tvsctl/dockerops/enginetest"
	"tvsctl/ipc"
	"tvsctl/nginx"
)

// Killed while Docker was stopping an old replica, which it says is running and healthy
// until the end: nginx, which had let it go, is never given it again.
func TestWhatWasBeingStoppedStaysOut(t *testing.T) {
	s := cutOff(t, "rollout", asItIs, func(s *rollStack) { s.leave(t, "1", "2", "3", "4") })
	upstream := nginx.Upstream{Name: "webapp", Project: "tvs"}
	for n := 2; n <= 4; n++ {
		upstream.Servers = append(upstream.Servers, nginx.Server{Address: fmt.Sprintf("172.20.0.%d:8080", n), Replica: fmt.Sprintf("tvs-webapp-%d", n)})
	}
	s.files = map[string]string{"webapp.conf": string(upstream.Render())}
	s.run(t)
	s.expect(t, s.outcome(t), "", "webapp has 3 ready replicas of app:2", "4 5 6")
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.history) == 0 || slices.ContainsFunc(s.history, func(members string) bool { return strings.Contains(members, "172.20.0.1:") }) {
		t.Errorf("nginx was given %q", s.history)
	}
}

func TestLeavingOfAChange(t *testing.T) {
	p := &dockerops.Project{Services: []dockerops.Service{{Name: "webapp", Replicas: []dockerops.Replica{replica("a", "running", ""), replica("b", "running", "")}}}}
	for want, goal := range map[string]dockerops.Goal{"b": {Count: 1, Running: true}, "a b": {Count: 2}, "": {Count: 3, Running: true}} {
		var got []string
		for _, r := range (&decided{Goals: map[string]dockerops.Goal{"webapp": goal, "gone": goal}}).leaving(p) {
			got = append(got, r.ID)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%+v: %q, want %q", goal, got, want)
		}
	}
}

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

// What was canceled before the daemon was killed is taken back, and not gone on with.
func TestResumeOfWhatWasCanceled(t *testing.T) {
	s := interruptedBy(t, func(j *job) { j.Canceled = "canceled by ana" }, 3, func(s *stack) {
		s.Add("webapp", 2, func(c *enginetest.Container) { c.Health, c.Address = "healthy", "172.20.0.2" })
	})
	if o := s.outcome(t); o.Error == nil || o.Error.Code != ipc.CodeCanceled || !strings.Contains(o.Error.Message, "canceled by ana") {
		t.Errorf("%+v", o)
	}
	if names := s.Names(); !slices.Equal(names, []string{"tvs-entry-1 running", "tvs-webapp-1 running"}) {
		t.Errorf("containers %q", names)
	}
}

// A cancel is on disk before anything is taken back, and an outcome is never replaced by it.
func TestCancelIsKept(t *testing.T) {
	s := newStack(t)
	until(t, "the guard publishes", func() bool { return s.members() == "172.20.0.1:8080" })
	s.OnStart = func(c *enginetest.Container) { c.Health = "starting" } // for ever
	var o ipc.Operation
	if err := s.Post(t.Context(), ipc.ProjectPath("", "scale"), scaleRequest(2), &o); err != nil {
		t.Fatal(err)
	}
	until(t, "it waits for a replica", func() bool { return slices.Contains(s.Names(), "tvs-webapp-2 running") })
	var kept []keptOperation
	s.Before("remove tvs-webapp-2", func() { kept = s.d.state.unfinished() })
	if err := s.Post(t.Context(), "/operations/"+o.ID+"/cancel", struct{}{}, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Follow(t.Context(), o.ID, func(ipc.Event) {}); err != nil {
		t.Fatal(err)
	}
	if len(kept) != 1 || !strings.HasPrefix(kept[0].Job.Canceled, "canceled by ") {
		t.Errorf("kept %+v", kept)
	}
	if err := s.d.state.record(o, &job{Kind: "scale"}); err != nil {
		t.Fatal(err)
	}
	if left := s.d.state.unfinished(); len(left) > 0 {
		t.Errorf("unfinished again: %+v", left)
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
