package daemon

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"tvsctl/dockerops"
	"tvsctl/dockerops/enginetest"
	"tvsctl/ipc"
)

// cutOff is a stack whose daemon ended in the middle of a rollout to app:2, which was
// its operation abcd: with a state that is kept, and containers that are left.
func cutOff(t *testing.T, kind string, keep func(k *projectState, r *rollout), left func(s *rollStack)) *rollStack {
	t.Helper()
	s := newRollStack(t)
	engine := dockerops.Open()
	p, err := engine.Observe(t.Context(), "tvs", nil)
	if err != nil {
		t.Fatal(err)
	}
	old, oldErr := engine.Image(t.Context(), "app:1")
	next, nextErr := engine.Image(t.Context(), "app:2")
	request, err := json.Marshal(toImage("app:2"))
	if err := errors.Join(err, oldErr, nextErr); err != nil {
		t.Fatal(err)
	}
	service := p.Service("webapp")
	r := &rollout{Rollout: dockerops.NewRollout(service), From: service.Spec, Operation: "abcd", Summary: "roll out webapp to app:2", Image: "app:2"}
	r.Spec = service.Spec.WithImage("app:2", old, next, "hash-app:2")
	store := openStore(s.state)
	record := ipc.Operation{ID: "abcd", Project: "tvs", Verb: kind, Summary: r.Summary, State: ipc.OperationRunning, Queued: time.Now(),
		Steps: []ipc.Step{{ID: 1, Text: "of the earlier life"}}}
	err = errors.Join(store.record(record, &job{Kind: kind, Request: request}),
		store.update("tvs", func(k *projectState) { k.Rollouts["webapp"] = r; keep(k, r) }), store.close())
	if err != nil {
		t.Fatal(err)
	}
	left(s)
	return s
}

func asItIs(*projectState, *rollout) {}

// leave makes the webapps what is left: "1 exited", "4 created", …; others run.
func (s *rollStack) leave(t *testing.T, webapps ...string) {
	t.Helper()
	left := map[int]string{}
	for _, text := range webapps {
		n, state := 0, "running"
		if _, err := fmt.Sscan(text, &n, &state); n == 0 {
			t.Fatal(err)
		}
		left[n] = state
	}
	for n := 1; n <= 9; n++ {
		name, state := fmt.Sprintf("tvs-webapp-%d", n), left[n]
		switch change := func(c *enginetest.Container) {
			if c.State = state; state != "running" {
				c.Health = ""
			}
		}; {
		case state == "":
			s.Remove(name)
		case n <= 3:
			s.Update(name, "update", change)
		default:
			s.Add("webapp", n, s.is("app:2", change))
		}
	}
}

func TestRolloutResumes(t *testing.T) {
	for name, left := range map[string][]string{
		"before anything":          {"1", "2", "3"},
		"between create and start": {"1", "2", "3", "4 created"},
		"before the publication":   {"1", "2", "3", "4"},
		"after the first stop":     {"1 exited", "2", "3", "4"},
		"in the second group":      {"1 exited", "2", "3", "4", "5 created"},
		"after the last stop":      {"1 exited", "2 exited", "3 exited", "4", "5", "6"},
		"between removals":         {"1 exited", "4", "5", "6"},
		"after the removals":       {"4", "5", "6"},
		"and one has ended":        {"1 exited", "2", "3", "4 exited"},
	} {
		t.Run(name, func(t *testing.T) {
			s := cutOff(t, "rollout", asItIs, func(s *rollStack) { s.leave(t, left...) }).run(t)
			s.expect(t, s.outcome(t), "", "webapp has 3 ready replicas of app:2", "4 5 6")
			s.served(t, 4, 5, 6)
			if kept := s.kept(); len(kept.Rollouts) != 0 || imageOf(kept.Previous["webapp"]) != "app:1 sha256:1 hash-app:1" || kept.Images["webapp"] != "app:2" || kept.Desired["webapp"] != 3 {
				t.Errorf("kept %+v", kept)
			}
			if !strings.Contains(s.journal.String(), "Taking up again what tvsctld did not end: roll out webapp to app:2") {
				t.Error("the journal does not say it")
			}
		})
	}
}

// What was not decided yet is decided now.
func TestRolloutResumesBeforeItsDecision(t *testing.T) {
	s := cutOff(t, "rollout", func(k *projectState, _ *rollout) { clear(k.Rollouts) }, func(*rollStack) {}).run(t)
	s.expect(t, s.outcome(t), "", "webapp has 3 ready replicas of app:2", "4 5 6")
}

// What compose has created is what the others become, also when the clock has been set back since.
func TestRolloutResumesAfterCompose(t *testing.T) {
	s := cutOff(t, "rollout", func(_ *projectState, r *rollout) { r.Spec, r.Image, r.Creator = nil, "", dockerops.ByComposeFirst }, func(s *rollStack) {
		s.leave(t, "1", "2", "3", "4")
		s.Update("tvs-webapp-4", "update", func(c *enginetest.Container) { c.Created = c.Created.Add(-time.Hour) })
	}).run(t)
	s.expect(t, s.outcome(t), "", "webapp has 3 ready replicas of app:2", "4 5 6")
	if c := s.Container("tvs-webapp-5"); c.Image != "app:2" {
		t.Errorf("%+v", c)
	}
}

func TestRolloutResumesToWhereItHolds(t *testing.T) {
	s := cutOff(t, "rollout", func(_ *projectState, r *rollout) { r.Hold = 2 }, func(s *rollStack) { s.leave(t, "1 exited", "2", "3", "4", "5") }).run(t)
	s.expect(t, s.outcome(t), "", "2 of 3 replicas of webapp are new; it holds until tvsctl rollout continue webapp, or tvsctl rollback webapp", "(1 exited) (2 exited) 3 4 5")
	if r := s.kept().Rollouts["webapp"]; r == nil || !r.Paused || r.Settled != 2 {
		t.Errorf("kept %+v", r)
	}
}

func TestRolloutResumesGoingBack(t *testing.T) {
	for name, left := range map[string][]string{
		"before anything":     {"1 exited", "2 exited", "3", "4", "5", "6 exited"},
		"one is started":      {"1", "2 exited", "3", "4", "5"},
		"new ones have ended": {"1", "2", "3", "4 exited", "5 exited"},
		"one is removed":      {"1", "2", "3", "5 exited"},
		"all are removed":     {"1", "2", "3"},
	} {
		t.Run(name, func(t *testing.T) {
			s := cutOff(t, "rollback", func(_ *projectState, r *rollout) { r.Back = true }, func(s *rollStack) { s.leave(t, left...) }).run(t)
			s.expect(t, s.outcome(t), "", "webapp has 3 ready replicas", "1 2 3")
			s.served(t, 1, 2, 3)
			if kept := s.kept(); len(kept.Rollouts)+len(kept.Previous)+len(kept.Images) != 0 {
				t.Errorf("kept %+v", kept)
			}
		})
	}
}

// A rollout that was taken up again and fails goes back as far as it had come.
func TestRolloutResumesAndFails(t *testing.T) {
	s := cutOff(t, "rollout", asItIs, func(s *rollStack) {
		s.leave(t, "1 exited", "2", "3", "4", "5 created")
		good := s.OnStart
		s.OnStart = func(c *enginetest.Container) {
			if good(c); c.Name == "tvs-webapp-5" {
				c.State, c.ExitCode = "exited", 3
			}
		}
	}).run(t)
	s.expect(t, s.outcome(t), ipc.CodeNotReady,
		"cannot roll out webapp to app:2: tvs-webapp-5 exited with code 3; it is as before: webapp has 3 ready replicas", "1 2 3")
	if kept := s.kept(); len(kept.Rollouts) != 0 {
		t.Errorf("kept %+v", kept.Rollouts)
	}
}

// A stop leaves a rollout where it is, and what waits behind it, to the next life.
func TestRolloutIsLeftToTheNextLife(t *testing.T) {
	s := newRollStack(t)
	good := s.OnStart
	s.OnStart = func(c *enginetest.Container) { good(c); c.Health = "starting" } // for ever
	s.run(t)
	first := s.accept(t, "rollout", toImage("app:2"))
	until(t, "it waits for a replica", func() bool { return s.webapps() == "1 2 3 4" })
	second := s.accept(t, "scale", scaleRequest(4))
	followed := make(chan error, 1)
	go func() {
		_, err := s.Follow(t.Context(), first.ID, func(ipc.Event) {})
		followed <- err
	}()
	start := time.Now()
	if s.end(); time.Since(start) > stopPatience/2 {
		t.Errorf("the end took %v", time.Since(start))
	}
	if err := <-followed; err == nil || describeError(err).Code != ipc.CodeUnreachable {
		t.Errorf("a client hears %v", err)
	}
	if got := s.webapps(); got != "1 2 3 4" || s.Container("tvs-webapp-4").State != "running" {
		t.Errorf("webapps %q", got)
	}
	for _, summary := range []string{"roll out webapp to app:2", second.Summary} {
		if !strings.Contains(s.journal.String(), "Leaving it to the next start of tvsctld: "+summary+" in project tvs.") {
			t.Errorf("the journal does not say that it leaves %q", summary)
		}
	}
	kept := openStore(s.state)
	list, r := kept.unfinished(), kept.project("tvs").Rollouts["webapp"]
	if err := kept.close(); err != nil {
		t.Fatal(err)
	}
	if len(list) != 2 || list[0].ID != first.ID || list[1].ID != second.ID || r == nil || r.Operation != first.ID || r.Back || r.Paused {
		t.Fatalf("kept %+v, %+v", list, r)
	}

	s.OnStart = good
	s.Update("tvs-webapp-4", "health_status: healthy", func(c *enginetest.Container) { c.Health = "healthy" })
	s.run(t)
	for id, result := range map[string]string{first.ID: "webapp has 3 ready replicas of app:2", second.ID: "webapp has 4 ready replicas"} {
		if o, err := s.Follow(t.Context(), id, func(ipc.Event) {}); err != nil || o.Result != result {
			t.Errorf("%+v, %v", o, err)
		}
	}
	if got := s.webapps(); got != "4 5 6 7" {
		t.Errorf("webapps %q", got)
	}
}

func TestRolloutCanceled(t *testing.T) {
	s := newRollStack(t).run(t)
	good := s.OnStart
	s.OnStart = func(c *enginetest.Container) { // the second one, for ever
		if good(c); c.Name == "tvs-webapp-5" {
			c.Health = "starting"
		}
	}
	o := s.accept(t, "rollout", toImage("app:2"))
	until(t, "it waits for the second", func() bool { return strings.HasSuffix(s.webapps(), "5") })
	if err := s.Post(t.Context(), "/operations/"+o.ID+"/cancel", struct{}{}, nil); err != nil {
		t.Fatal(err)
	}
	ended, err := s.Follow(t.Context(), o.ID, func(ipc.Event) {})
	if err != nil {
		t.Fatal(err)
	}
	s.expect(t, ended, ipc.CodeCanceled, "cannot roll out webapp to app:2: canceled by "+ended.User+"; it is as before: webapp has 3 ready replicas", "1 2 3")
	s.served(t, 1, 2, 3)
	if kept := s.kept(); len(kept.Rollouts) != 0 {
		t.Errorf("kept %+v", kept.Rollouts)
	}
}

// Docker goes away in the middle, and comes back when the client hears of it.
func TestRolloutGoesOnAfterDocker(t *testing.T) {
	for _, call := range []string{"create tvs-webapp-4", "start tvs-webapp-5", "stop tvs-webapp-2", "remove tvs-webapp-3"} {
		t.Run(call, func(t *testing.T) {
			s := newRollStack(t).run(t)
			var once sync.Once
			s.Before(call, func() { once.Do(s.Down) })
			var lines []string
			o, err := s.Follow(t.Context(), s.accept(t, "rollout", toImage("app:2")).ID, func(e ipc.Event) {
				if lines = append(lines, e.Line); strings.HasPrefix(e.Line, "Docker is away") {
					s.Up()
				}
			})
			if err != nil {
				t.Fatal(err)
			}
			s.expect(t, o, "", "webapp has 3 ready replicas of app:2", "4 5 6")
			if !slices.Contains(lines, "Docker is away; this goes on when it is back") {
				t.Errorf("lines %q", lines)
			}
		})
	}
}
