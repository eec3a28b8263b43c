package daemon

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"tvsctl/ipc"
)

// held is a stack in which a rollout to app:2 holds after one new replica.
func held(t *testing.T) (*rollStack, *ipc.Operation) {
	t.Helper()
	s := newRollStack(t).run(t)
	if o := s.do(t, "scale", scaleRequest(3)); o.Error != nil {
		t.Fatalf("%+v", o.Error)
	}
	request := toImage("app:2")
	request.PauseAfter = 1
	o := s.do(t, "rollout", request)
	s.expect(t, o, "", "1 of 3 replicas of webapp are new; it holds until tvsctl rollout continue webapp, or tvsctl rollback webapp", "(1 exited) 2 3 4")
	s.served(t, 2, 3, 4)
	return s, o
}

func TestHeld(t *testing.T) {
	s, o := held(t)
	service := s.status(t).Services[0]
	if r := service.Rollout; r == nil || *r != (ipc.Rollout{Operation: o.ID, Summary: "roll out webapp to app:2", New: 1, Count: 3, Paused: true}) {
		t.Errorf("the rollout is %+v", service.Rollout)
	}
	if len(service.Problems) > 0 || len(service.Replicas) != 3 || service.Running != 3 || service.Ready != 3 {
		t.Errorf("the status is %+v", service)
	}
	if kept := s.kept(); len(kept.Previous)+len(kept.Images) != 0 || kept.Rollouts["webapp"].Settled != 1 || kept.Desired["webapp"] != 3 {
		t.Errorf("kept %+v", kept)
	}
	p, _, err := s.d.observe(t.Context(), "tvs")
	if err != nil {
		t.Fatal(err)
	}
	w := watcher{drift: map[string]*drift{"webapp": {count: 3, since: time.Now().Add(-time.Hour)}}}
	if wait := w.noteDrift(s.d.site("tvs"), p); wait != 0 || strings.Contains(s.journal.String(), "Somebody else made it") {
		t.Errorf("the journal tells a drift: %s", s.journal)
	}
	for _, c := range []struct {
		path    string
		request any
	}{
		{"scale", scaleRequest(4)}, {"adjust", ipc.AdjustRequest{By: 1}}, {"reset", ipc.ResetRequest{}}, {"start", ipc.StartRequest{}}, {"stop", ipc.StopRequest{}},
		{"rollout", toImage("app:1")}, {"restart", ipc.RestartRequest{Service: "webapp"}},
	} {
		e := s.refused(t, c.path, c.request)
		if e.Code != ipc.CodeConflict || !strings.Contains(e.Message, "a rollout of it holds (operation "+o.ID+")") || e.Hint != "tvsctl rollout continue webapp, or tvsctl rollback webapp" {
			t.Errorf("%s: %+v", c.path, e)
		}
	}
	up := s.do(t, "up", ipc.UpRequest{})
	if up.Error == nil || up.Error.Code != ipc.CodeConflict || !strings.HasPrefix(up.Error.Message, "cannot bring up webapp: a rollout of it holds") || s.docker(t, "up --detach") != 0 {
		t.Errorf("up: %+v", up.Error)
	}
	s.Add("worker", 1, nil) // which has nothing to do with it
	if o := s.do(t, "scale", ipc.ScaleRequest{Services: map[string]int{"worker": 2}}); o.Error != nil {
		t.Errorf("another service: %+v", o.Error)
	}
}

func TestContinue(t *testing.T) {
	s, first := held(t)
	var plan ipc.Plan
	if err := s.Post(t.Context(), ipc.ProjectPath("tvs", "rollout/continue"), ipc.ContinueRequest{Service: "webapp", DryRun: true}, &plan); err != nil {
		t.Fatal(err)
	}
	if plan.Summary != "continue to roll out webapp to app:2" || len(plan.Steps) != 17 || plan.Steps[2].Text != "create tvs-webapp-5" || s.kept().Rollouts["webapp"].Hold != 1 {
		t.Errorf("plan %+v", plan)
	}
	o := s.do(t, "rollout/continue", ipc.ContinueRequest{Service: "webapp"})
	s.expect(t, o, "", "webapp has 3 ready replicas of app:2", "4 5 6")
	s.served(t, 4, 5, 6)
	kept := s.kept()
	if o.ID == first.ID || o.Summary != plan.Summary || len(kept.Rollouts) != 0 || imageOf(kept.Previous["webapp"]) != "app:1 sha256:1 hash-app:1" || kept.Images["webapp"] != "app:2" {
		t.Errorf("%+v, kept %+v", o, kept)
	}
	if e := s.refused(t, "rollout/continue", ipc.ContinueRequest{Service: "webapp"}); e.Code != ipc.CodeConflict || e.Message != `cannot continue: no rollout of "webapp" holds` {
		t.Errorf("%+v", e)
	}
}

func TestContinueFails(t *testing.T) {
	s, _ := held(t)
	s.Fail("create tvs-webapp-5", http.StatusInternalServerError, "no room")
	o := s.do(t, "rollout/continue", ipc.ContinueRequest{Service: "webapp"})
	s.expect(t, o, ipc.CodeInternal, "cannot continue to roll out webapp to app:2: no room; it is as before: webapp has 3 ready replicas", "1 2 3")
	if len(s.kept().Rollouts) != 0 {
		t.Errorf("kept %+v", s.kept().Rollouts)
	}
}

func TestRollbackOfOneThatHolds(t *testing.T) {
	s, _ := held(t)
	var plan ipc.Plan
	if err := s.Post(t.Context(), ipc.ProjectPath("tvs", "rollback"), ipc.RollbackRequest{Service: "webapp", DryRun: true}, &plan); err != nil {
		t.Fatal(err)
	}
	var steps []string
	for _, step := range plan.Steps {
		steps = append(steps, step.Text)
	}
	want := []string{"start tvs-webapp-1", "wait until tvs-webapp-1 is ready", "publish to nginx", "drain requests in flight", "stop tvs-webapp-4", "remove tvs-webapp-4"}
	if plan.Summary != "go back instead of: roll out webapp to app:2" || !slices.Equal(steps, want) || s.kept().Rollouts["webapp"].Back {
		t.Errorf("%s: %q", plan.Summary, steps)
	}
	s.Before("stop tvs-webapp-4", func() {
		if r := s.kept().Rollouts["webapp"]; r == nil || !r.Back || r.Failure != nil {
			t.Errorf("kept %+v", r)
		}
		if members := s.members(); members != "172.20.0.1:8080 172.20.0.2:8080 172.20.0.3:8080" {
			t.Errorf("nginx has %s", members)
		}
	})
	o := s.do(t, "rollback", ipc.RollbackRequest{Service: "webapp"})
	s.expect(t, o, "", "webapp has 3 ready replicas", "1 2 3")
	if kept := s.kept(); o.Summary != plan.Summary || len(kept.Rollouts)+len(kept.Previous)+len(kept.Images) != 0 || kept.Desired["webapp"] != 3 {
		t.Errorf("%s, kept %+v", o.Summary, kept)
	}
	if service := s.status(t).Services[0]; len(service.Problems) > 0 {
		t.Errorf("problems %q", service.Problems)
	}
}

// A restart keeps what was rolled out and the compose file does not name.
func TestRestartKeepsTheImage(t *testing.T) {
	s := newRollStack(t).run(t)
	s.do(t, "rollout", toImage("app:2"))
	s.expect(t, s.do(t, "restart", ipc.RestartRequest{Service: "webapp"}), "", "webapp has 3 ready replicas of app:2", "7 8 9")
	if kept := s.kept(); kept.Images["webapp"] != "app:2" || imageOf(kept.Previous["webapp"]) != "app:1 sha256:1 hash-app:1" {
		t.Errorf("kept %+v", kept)
	}
}

func TestRollbackToThePrevious(t *testing.T) {
	s := newRollStack(t).run(t)
	rollback := ipc.RollbackRequest{Service: "webapp"}
	if e := s.refused(t, "rollback", rollback); e.Code != ipc.CodeConflict || e.Message != "cannot roll back webapp: no rollout has replaced its replicas" {
		t.Errorf("%+v", e)
	}
	s.do(t, "rollout", toImage("app:2"))
	o := s.do(t, "rollback", rollback)
	s.expect(t, o, "", "webapp has 3 ready replicas of app:1", "7 8 9")
	kept := s.kept()
	if o.Summary != "roll back webapp to app:1" || imageOf(kept.Previous["webapp"]) != "app:2 sha256:2 hash-app:2" || len(kept.Images) != 0 {
		t.Errorf("%s, kept %+v", o.Summary, kept)
	}
	if c := s.Container("tvs-webapp-9"); c.ImageID != "sha256:1" || c.Labels["com.docker.compose.config-hash"] != "hash-app:1" || fmt.Sprint(c.Config["Env"]) != "[VERSION=1 MODE=test]" {
		t.Errorf("%+v", c)
	}
	s.expect(t, s.do(t, "rollback", rollback), "", "webapp has 3 ready replicas of app:2", "10 11 12")

	// The name of the previous one means another image by now: it is used by its id.
	s.SetImage("app:1", "sha256:1b", nil)
	s.expect(t, s.do(t, "rollback", rollback), "", "webapp has 3 ready replicas of sha256:1", "13 14 15")
	if kept := s.kept(); kept.Images["webapp"] != "sha256:1" || s.Container("tvs-webapp-15").Labels["com.docker.compose.config-hash"] != "hash-sha256:1" {
		t.Errorf("kept %+v", kept.Images)
	}
	s.RemoveImage("sha256:2")
	if e := s.refused(t, "rollback", rollback); e.Code != ipc.CodeNotScalable || e.Message != "cannot roll out webapp: the image that it had, app:2 (sha256:2), is no longer on this host" {
		t.Errorf("%+v", e)
	}
}

// The previous configuration is not what the compose file says any more.
func TestRollbackAgainstTheFile(t *testing.T) {
	s := newRollStack(t).run(t)
	s.write(t, "compose.yaml", "services:\n  webapp:\n    image: app:2\n")
	s.do(t, "rollout", ipc.RolloutRequest{Service: "webapp"})
	s.write(t, "compose.yaml", "# salt\nservices:\n  webapp:\n    image: app:2\n")
	o, warnings := s.lines(t, "rollback", ipc.RollbackRequest{Service: "webapp"})
	s.expect(t, o, "", "webapp has 3 ready replicas of app:1", "7 8 9")
	want := "warning: its compose file says otherwise: docker compose up -d, or tvsctl rollout, would go forward again"
	if kept := s.kept(); kept.Images["webapp"] != "app:1" || !slices.Contains(warnings, want) {
		t.Errorf("images %q, warnings %q", kept.Images, warnings)
	}
}
