package daemon

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"tvsctl/ipc"
)

func TestContinueOfWhatIsGone(t *testing.T) {
	s, _ := held(t)
	s.Add("other", 1, nil)
	for _, name := range []string{"tvs-entry-1", "tvs-webapp-1", "tvs-webapp-2", "tvs-webapp-3", "tvs-webapp-4"} {
		s.Remove(name)
	}
	for _, dryRun := range []bool{true, false} {
		if e := s.refused(t, "rollout/continue", ipc.ContinueRequest{Service: "webapp", DryRun: dryRun}); e.Code != ipc.CodeUnknownService {
			t.Errorf("%+v", e)
		}
	}
}

// Docker pulls it, but not to this engine.
func TestRolloutPullsElsewhere(t *testing.T) {
	s := newRollStack(t).run(t)
	s.write(t, "lost", "")
	o := s.do(t, "rollout", toImage("app:3"))
	s.expect(t, o, ipc.CodeDocker, "cannot roll out webapp to app:3: it was pulled, but this engine does not have it", "1 2 3")
}

// Docker goes away when all is done but not yet kept.
func TestRolloutLosesDockerAtItsEnd(t *testing.T) {
	s := newRollStack(t).run(t)
	var once sync.Once
	s.Before("inspect list", func() {
		if s.webapps() == "4 5 6" {
			once.Do(s.Down)
		}
	})
	o, err := s.Follow(t.Context(), s.accept(t, "rollout", toImage("app:2")).ID, func(e ipc.Event) {
		if strings.HasPrefix(e.Line, "Docker is away") {
			s.Up()
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	s.expect(t, o, "", "webapp has 3 ready replicas of app:2", "4 5 6")
}

// A cancel comes too late for one that goes back as it was asked to, and hides no failure.
func TestCancelOfOneThatGoesBack(t *testing.T) {
	s, _ := held(t)
	s.Fail("start tvs-webapp-1", http.StatusInternalServerError, "no way")
	s.Before("start tvs-webapp-1", func() {
		for _, o := range s.d.runningIn("tvs") {
			if err := s.Post(t.Context(), "/operations/"+o.ID+"/cancel", struct{}{}, nil); err != nil {
				t.Error(err)
			}
		}
	})
	o := s.accept(t, "rollback", ipc.RollbackRequest{Service: "webapp"})
	ended, err := s.Follow(t.Context(), o.ID, func(ipc.Event) {})
	if err != nil {
		t.Fatal(err)
	}
	s.expect(t, ended, ipc.CodeNotReady, "tvs-webapp-1 cannot be started: no way", "(1 exited) 2 3 4")
}

// Where a rollout can neither go back nor stay, it can still go on.
func TestContinueOfOneThatCannotGoBack(t *testing.T) {
	s := newRollStack(t).run(t)
	s.Fail("create tvs-webapp-5", http.StatusInternalServerError, "no room")
	s.Fail("start tvs-webapp-1", http.StatusInternalServerError, "no way")
	if o := s.do(t, "rollout", toImage("app:2")); o.Error == nil {
		t.Fatalf("%+v", o)
	}
	s.Fail("create tvs-webapp-5", 0, "")
	s.expect(t, s.do(t, "rollout/continue", ipc.ContinueRequest{Service: "webapp"}), "", "webapp has 3 ready replicas of app:2", "4 5 6")
}

// A stop does not wait for a pull either.
func TestPullIsLeftToTheNextLife(t *testing.T) {
	s := newRollStack(t)
	gate := filepath.Join(s.dir, "gate")
	if err := syscall.Mkfifo(gate, 0o600); err != nil {
		t.Fatal(err)
	}
	s.run(t)
	o := s.accept(t, "rollout", toImage("app:3"))
	until(t, "it pulls", func() bool { return s.docker(t, "pull -- app:3") == 1 })
	start := time.Now()
	if s.end(); time.Since(start) > stopPatience/2 {
		t.Errorf("the end took %v", time.Since(start))
	}
	if err := os.Remove(gate); err != nil {
		t.Fatal(err)
	}
	s.run(t)
	ended, err := s.Follow(t.Context(), o.ID, func(ipc.Event) {})
	if err != nil {
		t.Fatal(err)
	}
	s.expect(t, ended, "", "webapp has 3 ready replicas of app:3", "4 5 6")
}

// What another change keeps while a rollout holds is not what the old replicas were made from.
func TestGoingBackKeepsWhatIsThere(t *testing.T) {
	s, _ := held(t)
	s.Add("worker", 1, nil)
	s.do(t, "scale", ipc.ScaleRequest{Services: map[string]int{"worker": 2}})
	s.do(t, "rollback", ipc.RollbackRequest{Service: "webapp"})
	if got := imageOf(s.kept().Specs["webapp"]); got != "app:1 sha256:1 hash-app:1" {
		t.Errorf("it is made from %s", got)
	}
}
