package daemon

import (
	"errors"
	"testing"

	"tvsctl/ipc"
)

// abandonedRollout is a rollout that held, of which somebody has removed the new replica.
func abandonedRollout(t *testing.T) *rollStack {
	t.Helper()
	s, _ := held(t)
	s.Remove("tvs-webapp-4")
	until(t, "it is seen", func() bool {
		p, _, err := s.d.observe(t.Context(), "tvs")
		return err == nil && len(p.Service("webapp").Replicas)+len(p.Service("webapp").Retired) == 3
	})
	return s
}

// A rollout whose new replicas somebody has removed is over with the next change of its
// service: what that makes is none of its new ones.
func TestChangesAfterAnAbandonedRollout(t *testing.T) {
	s := abandonedRollout(t)
	s.expect(t, s.do(t, "scale", scaleRequest(4)), "", "webapp has 4 ready replicas", "1 2 3 4")
	s.expect(t, s.do(t, "scale", scaleRequest(2)), "", "webapp has 2 ready replicas", "1 2")
	s.served(t, 1, 2)
	if kept := s.kept(); len(kept.Rollouts) != 0 || s.status(t).Services[0].Rollout != nil {
		t.Errorf("kept %+v", kept.Rollouts)
	}
	if e := s.refused(t, "rollout/continue", ipc.ContinueRequest{Service: "webapp"}); e.Code != ipc.CodeConflict {
		t.Errorf("%+v", e)
	}
}

func TestUpAfterAnAbandonedRollout(t *testing.T) {
	s := abandonedRollout(t)
	if o := s.do(t, "up", ipc.UpRequest{}); len(s.kept().Rollouts) != 0 {
		t.Errorf("kept %+v, %+v", s.kept().Rollouts, o.Error)
	}
}

// A new one replaces all that there is, what the abandoned one had retired too.
func TestRolloutAfterAnAbandonedOne(t *testing.T) {
	s := abandonedRollout(t)
	s.expect(t, s.do(t, "rollout", toImage("app:2")), "", "webapp has 3 ready replicas of app:2", "4 5 6")
}

// It can still go on or back, and what it proved is gone with what was removed.
func TestAbandonedRolloutGoesOnOrBack(t *testing.T) {
	s := abandonedRollout(t)
	s.expect(t, s.do(t, "rollback", ipc.RollbackRequest{Service: "webapp"}), "", "webapp has 3 ready replicas", "1 2 3")
	s = abandonedRollout(t)
	_, want, err := s.d.decideRollout(t.Context(), "tvs", job{Kind: "continue", Request: []byte(`{"service": "webapp"}`)})
	if err != nil || want.rollout.Settled != 0 {
		t.Errorf("%+v, %v", want.rollout, err)
	}
	s.expect(t, s.do(t, "rollout/continue", ipc.ContinueRequest{Service: "webapp"}), "", "webapp has 3 ready replicas of app:2", "4 5 6")
}

// breakState makes writes fail, or possible again.
func (s *rollStack) breakState(why error) {
	s.d.state.mu.Lock()
	defer s.d.state.mu.Unlock()
	s.d.state.broken = why
}

// That the end of a rollout could not be written is no reason to forget it: what comes next
// finds it ended, and it is on disk with that.
func TestEndThatCannotBeKept(t *testing.T) {
	s := newRollStack(t).run(t)
	s.Before("remove tvs-webapp-1", func() { s.breakState(errors.New("no room")) })
	if o := s.do(t, "rollout", toImage("app:2")); o.Error == nil || o.Error.Code != ipc.CodeState {
		t.Errorf("%+v", o.Error)
	}
	s.breakState(nil)
	if r := s.status(t).Services[0].Rollout; r != nil {
		t.Errorf("the rollout is %+v", r)
	}
	s.expect(t, s.do(t, "rollback", ipc.RollbackRequest{Service: "webapp"}), "", "webapp has 3 ready replicas of app:1", "7 8 9")
}

// Nor is it that it went back or holds, and a hint to try again would mislead.
func TestTheWayBackThatCannotBeKept(t *testing.T) {
	s, _ := held(t)
	s.Before("remove tvs-webapp-4", func() { s.breakState(errors.New("no room")) })
	s.expect(t, s.do(t, "rollback", ipc.RollbackRequest{Service: "webapp"}), "", "webapp has 3 ready replicas", "1 2 3")
	s.breakState(nil)
	if kept := s.kept(); len(kept.Rollouts) != 0 {
		t.Errorf("kept %+v", kept.Rollouts)
	}
	s.Before("stop tvs-webapp-1", func() { s.breakState(errors.New("no room")) })
	request := toImage("app:2")
	request.PauseAfter = 1
	if o := s.do(t, "rollout", request); o.Error == nil || o.Error.Code != ipc.CodeState {
		t.Errorf("%+v", o.Error)
	}
	s.breakState(nil)
	if e := s.refused(t, "scale", scaleRequest(2)); e.Code != ipc.CodeConflict {
		t.Errorf("%+v", e)
	}
	s.end()
	store := openStore(s.state)
	defer store.close()
	if r := store.project("tvs").Rollouts["webapp"]; r == nil || !r.Paused || r.Back {
		t.Errorf("on disk is %+v", r)
	}
}

// What could not be written is on disk with whatever can be.
func TestOwedProject(t *testing.T) {
	for name, write := range map[string]func(s *store) error{
		"another project": func(s *store) error { return s.update("other", func(*projectState) {}) },
		"an outcome":      func(s *store) error { return s.record(ipc.Operation{ID: "abc"}, nil) },
		"the same":        func(s *store) error { return s.update("tvs", func(k *projectState) { k.Stopped["webapp"] = true }) },
		"nothing":         func(s *store) error { s.catchUp(); return nil },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s := reopenStore(t, nil, dir)
			s.broken = errors.New("no room")
			for _, keep := range []func(string, func(*projectState)) error{s.happened, s.update} {
				if err := keep("tvs", func(k *projectState) { k.Desired["webapp"]++ }); err == nil {
					t.Error("it was written")
				}
			}
			if n := s.project("tvs").Desired["webapp"]; n != 1 {
				t.Errorf("%d desired", n)
			}
			s.broken = nil
			if err := write(s); err != nil {
				t.Fatal(err)
			}
			if len(s.owed) > 0 {
				t.Errorf("owed %v", s.owed)
			}
			lost := s.db.Close()
			if s = openStore(dir); lost != nil || s.project("tvs").Desired["webapp"] != 1 {
				t.Errorf("on disk is %+v, %v", s.project("tvs"), lost)
			}
			s.close()
		})
	}
}
