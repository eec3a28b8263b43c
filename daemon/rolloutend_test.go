package daemon

import (
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"tvsctl/dockerops/enginetest"
	"tvsctl/ipc"
)

// An old replica that cannot be removed is no reason to go back.
func TestRolloutCannotRemove(t *testing.T) {
	s := newRollStack(t).run(t)
	s.Fail("remove tvs-webapp-1", http.StatusInternalServerError, "device busy")
	o := s.do(t, "rollout", toImage("app:2"))
	s.expect(t, o, ipc.CodeInternal, "the new replicas of webapp serve, but the old ones cannot be removed: device busy", "(1 exited) 4 5 6")
	s.served(t, 4, 5, 6)
	if e := s.refused(t, "scale", scaleRequest(2)); e.Code != ipc.CodeConflict {
		t.Errorf("%+v", e)
	}
	s.Fail("remove tvs-webapp-1", 0, "")
	s.expect(t, s.do(t, "rollout/continue", ipc.ContinueRequest{Service: "webapp"}), "", "webapp has 3 ready replicas of app:2", "4 5 6")
	if kept := s.kept(); len(kept.Rollouts) != 0 || imageOf(kept.Previous["webapp"]) != "app:1 sha256:1 hash-app:1" {
		t.Errorf("kept %+v", kept)
	}
}

// Where an old replica is gone, going back leaves a new one in its place.
func TestRollbackOfOneThatHoldsAndWasPruned(t *testing.T) {
	s, _ := held(t)
	s.Remove("tvs-webapp-1")
	s.expect(t, s.do(t, "rollback", ipc.RollbackRequest{Service: "webapp"}), "", "webapp has 3 ready replicas", "2 3 4")
	s.served(t, 2, 3, 4)
	if kept := s.kept(); len(kept.Rollouts) != 0 {
		t.Errorf("kept %+v", kept.Rollouts)
	}
}

// That what is in force cannot be kept is no reason to lose it.
func TestRolloutThatCannotBeKept(t *testing.T) {
	s := newRollStack(t).run(t)
	s.Before("remove tvs-webapp-1", func() { s.d.state.db.Close() })
	o := s.do(t, "rollout", toImage("app:2"))
	if o.Error == nil || o.Error.Code != ipc.CodeState {
		t.Errorf("%+v", o.Error)
	}
	s.end()
	s.run(t)
	until(t, "it is kept", func() bool { return len(s.kept().Rollouts) == 0 })
	if got := s.webapps(); got != "4 5 6" {
		t.Errorf("webapps %q", got)
	}
}

// A rollout that goes back on its own has failed, also when another life ends it.
func TestRolloutResumesGoingBackAndHasFailed(t *testing.T) {
	s := cutOff(t, "rollout", func(_ *projectState, r *rollout) {
		r.Back, r.Failure = true, &ipc.Error{Code: ipc.CodeNotReady, Message: "cannot roll out webapp to app:2: tvs-webapp-5 exited with code 3"}
	}, func(s *rollStack) { s.leave(t, "1 exited", "2", "3", "4", "5 exited") }).run(t)
	s.expect(t, s.outcome(t), ipc.CodeNotReady, "cannot roll out webapp to app:2: tvs-webapp-5 exited with code 3; it is as before: webapp has 3 ready replicas", "1 2 3")
}

// What ended, but for its record, is not done a second time.
func TestRolloutResumesAfterItsEnd(t *testing.T) {
	for kind, path := range map[string]string{"rollback": "rollback", "restart": "restart", "continue": "rollout/continue"} {
		t.Run(kind, func(t *testing.T) {
			s := newRollStack(t).run(t)
			s.do(t, "rollout", toImage("app:2"))
			var o ipc.Operation
			if kind == "continue" {
				request := toImage("app:1")
				request.PauseAfter = 1
				s.do(t, "rollout", request)
			}
			o = *s.do(t, path, ipc.ContinueRequest{Service: "webapp"})
			if o.Error != nil {
				t.Fatal(o.Error)
			}
			was := s.webapps()
			s.end()
			// Its life ended before it could keep the outcome.
			store := openStore(s.state)
			request, err := json.Marshal(ipc.ContinueRequest{Service: "webapp"})
			o.State, o.Result, o.Ended = ipc.OperationRunning, "", time.Time{}
			if err := errors.Join(err, store.record(o, &job{Kind: kind, Request: request}), store.close()); err != nil {
				t.Fatal(err)
			}
			s.run(t)
			again, err := s.Follow(t.Context(), o.ID, func(ipc.Event) {})
			if err != nil || again.Error != nil {
				t.Errorf("%+v, %v", again, err)
			}
			if got := s.webapps(); got != was {
				t.Errorf("webapps %q, before %q", got, was)
			}
		})
	}
}

// While Docker is away a stop leaves the way back to the next life, too.
func TestGoingBackIsLeftToTheNextLife(t *testing.T) {
	s := newRollStack(t)
	good := s.OnStart
	s.OnStart = func(c *enginetest.Container) {
		if good(c); c.Name == "tvs-webapp-4" {
			c.State, c.ExitCode = "exited", 3
		}
	}
	s.run(t)
	s.Before("remove tvs-webapp-4", s.Down)
	o := s.accept(t, "rollout", toImage("app:2"))
	until(t, "it waits for Docker", func() bool { return strings.Contains(s.journal.String(), "The Docker Engine cannot be used") })
	s.end()
	s.Before("remove tvs-webapp-4", func() {})
	s.Up()
	s.run(t)
	ended, err := s.Follow(t.Context(), o.ID, func(ipc.Event) {})
	if err != nil || ended.Error == nil || !strings.HasPrefix(ended.Error.Message, "cannot roll out webapp to app:2: tvs-webapp-4 exited with code 3; it is as before") {
		t.Errorf("%+v, %v", ended, err)
	}
	if got := s.webapps(); got != "1 2 3" {
		t.Errorf("webapps %q", got)
	}
}

// The machine was started again while a rollout held: all that ran before it runs again.
func TestRestoreOfOneThatHolds(t *testing.T) {
	s, _ := held(t)
	s.end()
	for _, name := range []string{"tvs-entry-1", "tvs-webapp-2", "tvs-webapp-3", "tvs-webapp-4"} {
		s.Update(name, "die", func(c *enginetest.Container) { c.State, c.Health = "exited", "" })
	}
	store := openStore(s.state)
	if err := errors.Join(store.keepEpoch("an earlier one"), store.update("tvs", func(k *projectState) { k.Exited = nil }), store.close()); err != nil {
		t.Fatal(err)
	}
	s.run(t)
	until(t, "what ran runs again", func() bool {
		return s.webapps() == "(1 exited) 2 3 4" && slices.Contains(s.Names(), "tvs-entry-1 running")
	})
}

// One of the old ones ends while a rollout holds, and some did not run before it.
func TestHeldWithStoppedOnes(t *testing.T) {
	s := newRollStack(t)
	s.Update("tvs-webapp-1", "die", func(c *enginetest.Container) { c.State, c.Health = "exited", "" })
	store := openStore(s.state)
	err := store.update("tvs", func(k *projectState) {
		k.Desired["webapp"], k.Exited = 3, []string{s.Container("tvs-webapp-1").ID}
	})
	if err := errors.Join(err, store.close()); err != nil {
		t.Fatal(err)
	}
	s.run(t)
	request := toImage("app:2")
	request.PauseAfter = 2
	s.expect(t, s.do(t, "rollout", request), "", "2 of 3 replicas of webapp are new; it holds until tvsctl rollout continue webapp, or tvsctl rollback webapp", "(1 exited) (2 exited) 3 4 5")
	s.Update("tvs-webapp-3", "die", func(c *enginetest.Container) { c.State, c.Health, c.ExitCode = "exited", "", 9 })
	service := s.status(t).Services[0]
	if len(service.Problems) > 0 {
		t.Errorf("problems %q", service.Problems)
	}
	if len(service.Replicas) != 3 || service.Replicas[0].Problem != "exited with code 9" {
		t.Errorf("replicas %+v", service.Replicas)
	}
}
