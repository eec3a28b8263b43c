package daemon

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"tvsctl/dockerops/enginetest"
	"tvsctl/ipc"
)

func TestRollout(t *testing.T) {
	s := newRollStack(t).run(t)
	s.served(t, 1, 2, 3)
	for n := 1; n <= 3; n++ {
		s.Before(fmt.Sprintf("stop tvs-webapp-%d", n), func() {
			if members := strings.Fields(s.members()); len(members) != 3 || slices.Contains(members, fmt.Sprintf("172.20.0.%d:8080", n)) {
				t.Errorf("when %d is stopped, nginx has %q", n, members)
			}
			service := s.status(t).Services[0]
			if len(service.Replicas) != 4 { // and not those that it has stopped
				t.Errorf("when %d is stopped, it has %d replicas", n, len(service.Replicas))
			}
			if r := service.Rollout; r == nil || r.New != n || r.Count != 3 || r.Paused || r.Failure != "" || r.Summary != "roll out webapp to app:2" {
				t.Errorf("the status is %+v", r)
			}
		})
	}
	o := s.do(t, "rollout", toImage("app:2"))
	s.expect(t, o, "", "webapp has 3 ready replicas of app:2", "4 5 6")
	s.served(t, 4, 5, 6)
	if o.Summary != "roll out webapp to app:2" || o.Verb != "rollout" {
		t.Errorf("%+v", o)
	}
	kept := s.kept()
	if len(kept.Rollouts) != 0 || imageOf(kept.Previous["webapp"]) != "app:1 sha256:1 hash-app:1" || imageOf(kept.Specs["webapp"]) != "app:2 sha256:2 hash-app:2" ||
		kept.Images["webapp"] != "app:2" || kept.Desired["webapp"] != 3 {
		t.Errorf("kept %+v", kept)
	}
	for n := 4; n <= 6; n++ {
		c := s.Container(fmt.Sprintf("tvs-webapp-%d", n))
		if env := fmt.Sprint(c.Config["Env"]); c.ImageID != "sha256:2" || env != "[MODE=test VERSION=2]" {
			t.Errorf("%s is of %s with %s", c.Name, c.ImageID, env)
		}
	}
	if service := s.status(t).Services[0]; service.Rollout != nil || len(service.Problems) > 0 || service.Ready != 3 {
		t.Errorf("the status is %+v", service)
	}
	calls := len(s.Calls())
	o = s.do(t, "rollout", toImage("app:2"))
	s.expect(t, o, "", "roll out webapp to app:2: it is up to date already, nothing to do", "4 5 6")
	if strings.Contains(strings.Join(s.Calls()[calls:], " "), "webapp") {
		t.Errorf("calls %q", s.Calls()[calls:])
	}
	request := toImage("app:2")
	request.DryRun = true
	var plan ipc.Plan
	if err := s.Post(t.Context(), ipc.ProjectPath("tvs", "rollout"), request, &plan); err != nil || len(plan.Steps) != 0 || plan.Steps == nil {
		t.Errorf("plan %+v, %v", plan, err)
	}
}

func TestRolloutToWhatTheFileSays(t *testing.T) {
	s := newRollStack(t).run(t)
	rollout := ipc.RolloutRequest{Service: "webapp"}
	s.expect(t, s.do(t, "rollout", rollout), "", "roll out webapp to app:1 as it is now: it is up to date already, nothing to do", "1 2 3")

	s.SetImage("app:1", "sha256:1b", map[string]any{"Env": []string{"VERSION=1b"}})
	o := s.do(t, "rollout", rollout)
	s.expect(t, o, "", "webapp has 3 ready replicas of app:1", "4 5 6")
	if c := s.Container("tvs-webapp-6"); o.Summary != "roll out webapp to app:1 as it is now" || c.ImageID != "sha256:1b" || fmt.Sprint(c.Config["Env"]) != "[MODE=test VERSION=1b]" {
		t.Errorf("%+v, %+v", o, c)
	}
	if kept := s.kept(); imageOf(kept.Previous["webapp"]) != "app:1 sha256:1 hash-app:1" || len(kept.Images) != 0 {
		t.Errorf("kept %+v", kept)
	}

	s.write(t, "compose.yaml", "services:\n  webapp:\n    image: app:2\n")
	o = s.do(t, "rollout", rollout)
	s.expect(t, o, "", "webapp has 3 ready replicas of app:2", "7 8 9")
	for n := 7; n <= 9; n++ {
		if c := s.Container(fmt.Sprintf("tvs-webapp-%d", n)); c.ImageID != "sha256:2" || c.Labels["com.docker.compose.config-hash"] != "hash-app:2" {
			t.Errorf("%+v", c)
		}
	}
	if created := s.docker(t, "up --no-start --no-deps --no-recreate --scale webapp=4 webapp"); created != 1 || o.Summary != "roll out webapp as its compose file is now" {
		t.Errorf("compose created %d times, %s", created, o.Summary)
	}

	// The file names by now what another rollout leads to.
	s.write(t, "compose.yaml", "services:\n  webapp:\n    image: app:1\n")
	s.expect(t, s.do(t, "rollout", toImage("app:1")), "", "webapp has 3 ready replicas of app:1", "10 11 12")
	if kept := s.kept(); len(kept.Images) != 0 {
		t.Errorf("images %q", kept.Images)
	}
}

func TestRestart(t *testing.T) {
	s := newRollStack(t).run(t)
	var plan ipc.Plan
	if err := s.Post(t.Context(), ipc.ProjectPath("tvs", "restart"), ipc.RestartRequest{Service: "webapp", MaxSurge: 3, DryRun: true}, &plan); err != nil {
		t.Fatal(err)
	}
	if plan.Summary != "restart webapp" || len(plan.Steps) != 17 || plan.Steps[0].Text != "create tvs-webapp-4" || len(s.d.state.history()) != 0 {
		t.Errorf("plan %+v", plan)
	}
	o := s.do(t, "restart", ipc.RestartRequest{Service: "webapp", MaxSurge: 2})
	s.expect(t, o, "", "webapp has 3 ready replicas of app:1", "4 5 6")
	if calls := s.Calls(); o.Summary != "restart webapp" || !slices.Contains(calls[:indexOf(calls, "stop tvs-webapp-1")], "start tvs-webapp-5") {
		t.Errorf("%s: %q", o.Summary, calls)
	}
	if kept := s.kept(); len(kept.Previous) != 0 || imageOf(kept.Specs["webapp"]) != "app:1 sha256:1 hash-app:1" || len(kept.Rollouts) != 0 {
		t.Errorf("kept %+v", kept)
	}
	if cleared := s.Cleared(); len(cleared) != 0 {
		t.Errorf("the volumes of %q are gone", cleared)
	}
}

func indexOf(list []string, item string) int { return max(0, slices.Index(list, item)) }

// A new replica that fails takes the rollout back.
func TestRolloutFails(t *testing.T) {
	s := newRollStack(t).run(t)
	good := s.OnStart
	s.OnStart = func(c *enginetest.Container) {
		if good(c); c.Name == "tvs-webapp-5" {
			c.State, c.ExitCode, c.Logs = "exited", 3, "out of luck\n"
		}
	}
	o := s.do(t, "rollout", toImage("app:2"))
	s.expect(t, o, ipc.CodeNotReady, "cannot roll out webapp to app:2: tvs-webapp-5 exited with code 3; it is as before: webapp has 3 ready replicas", "1 2 3")
	s.served(t, 1, 2, 3)
	if !slices.Equal(o.Error.Detail, []string{"out of luck"}) {
		t.Errorf("%+v", o.Error)
	}
	if kept := s.kept(); len(kept.Rollouts)+len(kept.Previous)+len(kept.Images)+len(kept.Desired) != 0 {
		t.Errorf("kept %+v", kept)
	}
	if service := s.status(t).Services[0]; service.Rollout != nil || len(service.Problems) != 0 || service.Ready != 3 {
		t.Errorf("the status is %+v", service)
	}
	if cleared := s.Cleared(); !slices.Contains(cleared, "tvs-webapp-4") || !slices.Contains(cleared, "tvs-webapp-5") {
		t.Errorf("removed with volumes: %q", cleared)
	}
	var record ipc.Operation
	if err := s.Get(t.Context(), "/operations/"+o.ID, &record); err != nil {
		t.Fatal(err)
	}
	ids := map[int]bool{}
	for _, step := range record.Steps {
		if ids[step.ID] {
			t.Errorf("there are two steps %d", step.ID)
		}
		ids[step.ID] = true
	}
	if last := record.Steps[len(record.Steps)-1]; last.Text != "remove tvs-webapp-4" || last.State != ipc.StepDone {
		t.Errorf("the last step is %+v", last)
	}
	s.OnStart = good
	s.expect(t, s.do(t, "rollout", toImage("app:2")), "", "webapp has 3 ready replicas of app:2", "4 5 6")
}

// When it cannot go back either, it holds, and says so until it has gone back.
func TestRolloutCannotGoBack(t *testing.T) {
	s := newRollStack(t).run(t)
	good := s.OnStart
	s.OnStart = func(c *enginetest.Container) {
		if good(c); c.Name == "tvs-webapp-5" {
			c.State, c.ExitCode = "exited", 3
		}
	}
	s.Fail("start tvs-webapp-1", http.StatusInternalServerError, "no way")
	o := s.do(t, "rollout", toImage("app:2"))
	s.expect(t, o, ipc.CodeNotReady, "cannot roll out webapp to app:2: tvs-webapp-5 exited with code 3; and cannot go back: tvs-webapp-1 cannot be started: no way", "(1 exited) 2 3 4 (5 exited)")
	if !strings.Contains(o.Error.Hint, "tvsctl rollback webapp") {
		t.Errorf("hint %q", o.Error.Hint)
	}
	r := s.status(t).Services[0].Rollout
	if r == nil || !r.Paused || r.Failure != "cannot roll out webapp to app:2: tvs-webapp-5 exited with code 3" || r.New != 1 || r.Operation != o.ID {
		t.Errorf("the status is %+v", r)
	}
	if e := s.refused(t, "scale", scaleRequest(4)); e.Code != ipc.CodeConflict || !strings.Contains(e.Message, o.ID) {
		t.Errorf("%+v", e)
	}
	s.Fail("start tvs-webapp-1", 0, "")
	s.expect(t, s.do(t, "rollback", ipc.RollbackRequest{Service: "webapp"}), "", "webapp has 3 ready replicas", "1 2 3")
	s.served(t, 1, 2, 3)
	if kept := s.kept(); len(kept.Rollouts)+len(kept.Previous) != 0 || s.status(t).Services[0].Rollout != nil {
		t.Errorf("kept %+v", kept)
	}
}
