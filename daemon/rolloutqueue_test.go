package daemon

import (
	"sync"
	"testing"

	"tvsctl/ipc"
)

// standing is a stack whose next operation stands still when it starts tvs-webapp-4, until
// it is let go.
func standing(t *testing.T) (s *rollStack, stands <-chan struct{}, let func()) {
	t.Helper()
	s = newRollStack(t).run(t)
	under, on := make(chan struct{}), make(chan struct{})
	var once sync.Once
	s.Before("start tvs-webapp-4", func() {
		once.Do(func() { close(under) })
		<-on
	})
	return s, under, sync.OnceFunc(func() { close(on) })
}

func (s *rollStack) follow(t *testing.T, id string) *ipc.Operation {
	t.Helper()
	o, err := s.Follow(t.Context(), id, func(ipc.Event) {})
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// What waits its turn is decided when it comes.
func TestRolloutIsDecidedInItsTurn(t *testing.T) {
	s, stands, let := standing(t)
	first := s.accept(t, "restart", ipc.RestartRequest{Service: "webapp"})
	<-stands
	second := s.accept(t, "rollout", ipc.RolloutRequest{Service: "webapp"})
	if second.Summary != "roll out webapp to app:1 as it is now" || second.State != ipc.OperationQueued {
		t.Errorf("%+v", second)
	}
	s.write(t, "compose.yaml", "services:\n  webapp:\n    image: app:2\n")
	let()
	if o := s.follow(t, first.ID); o.Error != nil {
		t.Errorf("%+v", o.Error)
	}
	o := s.follow(t, second.ID)
	s.expect(t, o, "", "webapp has 3 ready replicas of app:2", "7 8 9")
	if o.Summary != "roll out webapp as its compose file is now" {
		t.Errorf("it says %q", o.Summary)
	}
}

// A rollback that is asked for in the middle of a rollout comes after it, and returns to
// what it replaced. There is nothing to continue meanwhile, and scaling waits.
func TestRollbackWaitsForTheRollout(t *testing.T) {
	s, stands, let := standing(t)
	first := s.accept(t, "rollout", toImage("app:2"))
	<-stands
	if r := s.kept().Rollouts["webapp"]; r == nil || r.Operation != first.ID || r.Paused {
		t.Errorf("kept %+v", r)
	}
	if e := s.refused(t, "rollout/continue", ipc.ContinueRequest{Service: "webapp"}); e.Code != ipc.CodeConflict {
		t.Errorf("%+v", e)
	}
	second := s.accept(t, "rollback", ipc.RollbackRequest{Service: "webapp"})
	third := s.accept(t, "scale", scaleRequest(2))
	let()
	if o := s.follow(t, first.ID); o.Result != "webapp has 3 ready replicas of app:2" {
		t.Errorf("%+v", o)
	}
	if o := s.follow(t, second.ID); o.Result != "webapp has 3 ready replicas of app:1" || o.Summary != "roll back webapp to app:1" {
		t.Errorf("%+v", o)
	}
	s.expect(t, s.follow(t, third.ID), "", "webapp has 2 ready replicas", "7 8")
}

// One that goes on, or back, does not hold any more.
func TestNoHoldMeanwhile(t *testing.T) {
	for path, call := range map[string]string{"rollout/continue": "start tvs-webapp-5", "rollback": "stop tvs-webapp-4"} {
		t.Run(path, func(t *testing.T) {
			s, _ := held(t)
			s.Before(call, func() {
				if r := s.status(t).Services[0].Rollout; r == nil || r.Paused {
					t.Errorf("the status is %+v", r)
				}
			})
			if o := s.do(t, path, ipc.ContinueRequest{Service: "webapp"}); o.Error != nil {
				t.Errorf("%+v", o.Error)
			}
		})
	}
}
