package daemon

import (
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
