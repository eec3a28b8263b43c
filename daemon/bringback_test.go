package daemon

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"tvsctl/dockerops/enginetest"
	"tvsctl/ipc"
)

// goDown ends every container that runs, as a start of the machine or of Docker does.
func (s *rollStack) goDown() {
	for _, name := range s.Names() {
		if name, runs := strings.CutSuffix(name, " running"); runs {
			s.Update(name, "die", func(c *enginetest.Container) { c.State, c.Health = "exited", "" })
		}
	}
}

// booted is a stack whose machine was started again in the middle of a rollout to app:2.
func booted(t *testing.T, keep func(s *rollStack, k *projectState, r *rollout), webapps ...string) *rollStack {
	t.Helper()
	s := cutOff(t, "rollout", asItIs, func(s *rollStack) {
		s.leave(t, webapps...)
		s.goDown()
	})
	store := openStore(s.state)
	err := store.update("tvs", func(k *projectState) { keep(s, k, k.Rollouts["webapp"]) })
	if err := errors.Join(err, store.keepEpoch("an earlier one"), store.close()); err != nil {
		t.Fatal(err)
	}
	return s
}

// before are the starts and stops up to a call, sorted.
func (s *rollStack) before(call string) (before []string) {
	for _, c := range s.Calls() {
		if c == call {
			break
		}
		if strings.HasPrefix(c, "start ") || strings.HasPrefix(c, "stop ") {
			before = append(before, c)
		}
	}
	slices.Sort(before)
	return before
}

// The machine was started again in the middle of a rollout: what served before serves
// again before the rollout goes on, and not only when the restore has its turn.
func TestRolloutGoesOnAfterABoot(t *testing.T) {
	for name, c := range map[string]struct {
		webapps []string
		want    []string // that is called before the next one is created
	}{
		"after the first create": {[]string{"1", "2", "3", "4 created"},
			[]string{"start tvs-entry-1", "start tvs-webapp-1", "start tvs-webapp-2", "start tvs-webapp-3", "start tvs-webapp-4", "stop tvs-webapp-1"}},
		"while the first one settles": {[]string{"1", "2", "3", "4"},
			[]string{"start tvs-entry-1", "start tvs-webapp-1", "start tvs-webapp-2", "start tvs-webapp-3", "start tvs-webapp-4", "stop tvs-webapp-1"}},
		"in the second group": {[]string{"1 exited", "2", "3", "4", "5"},
			[]string{"start tvs-entry-1", "start tvs-webapp-2", "start tvs-webapp-3", "start tvs-webapp-4", "start tvs-webapp-5", "stop tvs-webapp-2"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := booted(t, func(*rollStack, *projectState, *rollout) {}, c.webapps...)
			next := "create tvs-webapp-5"
			if slices.Contains(c.webapps, "5") {
				next = "create tvs-webapp-6"
			}
			s.run(t)
			s.expect(t, s.outcome(t), "", "webapp has 3 ready replicas of app:2", "4 5 6")
			s.served(t, 4, 5, 6)
			if got := s.before(next); !slices.Equal(got, c.want) {
				t.Errorf("before %s came %q, want %q", next, got, c.want)
			}
		})
	}
}

// An old replica that cannot be started again, or that somebody ended, is replaced all the same.
func TestRolloutGoesOnWithoutWhatIsBroken(t *testing.T) {
	s := booted(t, func(s *rollStack, k *projectState, _ *rollout) { k.Exited = []string{s.Container("tvs-webapp-1").ID} }, "1", "2", "3", "4")
	good := s.OnStart
	s.OnStart = func(c *enginetest.Container) {
		if good(c); c.Name == "tvs-webapp-2" {
			c.State, c.ExitCode = "exited", 3
		}
	}
	s.run(t)
	s.expect(t, s.outcome(t), "", "webapp has 3 ready replicas of app:2", "4 5 6")
	if got, want := s.before("create tvs-webapp-5"), []string{"start tvs-entry-1", "start tvs-webapp-2", "start tvs-webapp-3", "start tvs-webapp-4"}; !slices.Equal(got, want) {
		t.Errorf("it began with %q, want %q", got, want)
	}
}

// One that goes back starts the old ones by itself, but nothing else.
func TestRolloutGoesBackAfterABoot(t *testing.T) {
	s := booted(t, func(_ *rollStack, _ *projectState, r *rollout) {
		r.Back, r.Failure = true, &ipc.Error{Code: ipc.CodeNotReady, Message: "it failed"}
	}, "1 exited", "2", "3", "4")
	s.run(t)
	s.expect(t, s.outcome(t), ipc.CodeNotReady, "it failed; it is as before: webapp has 3 ready replicas", "1 2 3")
	if got, want := s.before("remove tvs-webapp-4"), []string{"start tvs-entry-1", "start tvs-webapp-1", "start tvs-webapp-2", "start tvs-webapp-3"}; !slices.Equal(got, want) || s.Calls()[0] == "start tvs-webapp-1" {
		t.Errorf("it began with %q", got)
	}
}

// What ended with Docker comes back with it, and what the rollout goes on with serves.
func TestRolloutGoesOnAfterDockerEndedAll(t *testing.T) {
	for _, call := range []string{"create tvs-webapp-4", "create tvs-webapp-5", "stop tvs-webapp-2"} {
		t.Run(call, func(t *testing.T) {
			s := newRollStack(t).run(t)
			s.Before(call, func() {
				s.Before(call, func() {})
				s.Down()
			})
			o, err := s.Follow(t.Context(), s.accept(t, "rollout", toImage("app:2")).ID, func(e ipc.Event) {
				if strings.HasPrefix(e.Line, "Docker is away") {
					s.goDown()
					if err := s.d.state.keepEpoch("an earlier one"); err != nil {
						t.Error(err)
					}
					s.Up()
				}
			})
			if err != nil {
				t.Fatal(err)
			}
			s.expect(t, o, "", "webapp has 3 ready replicas of app:2", "4 5 6")
			s.served(t, 4, 5, 6)
			for _, start := range []string{"start tvs-entry-1", "start tvs-webapp-3"} {
				if !slices.Contains(s.Calls(), start) {
					t.Errorf("calls %q, without %s", s.Calls(), start)
				}
			}
		})
	}
}

// The machine was started again in the middle of a scale-up: what ran then runs again before
// that goes on, and does so also when it fails.
func TestScaleGoesOnAfterABoot(t *testing.T) {
	for name, works := range map[string]bool{"and succeeds": true, "and fails": false} {
		t.Run(name, func(t *testing.T) {
			var before []string
			s := interrupted(t, 3, func(s *stack) {
				s.Add("webapp", 2, func(c *enginetest.Container) { c.State, c.Address = "created", "172.20.0.2" })
				for _, name := range []string{"tvs-entry-1", "tvs-webapp-1"} {
					s.Update(name, "die", func(c *enginetest.Container) { c.State, c.Health = "exited", "" })
				}
				good := s.OnStart
				s.OnStart = func(c *enginetest.Container) {
					if good(c); !works && c.Name == "tvs-webapp-2" {
						c.State, c.ExitCode = "exited", 3
					}
				}
				s.Before("start tvs-webapp-2", func() { before = s.Names() })
			})
			o := s.outcome(t)
			if o.State == ipc.OperationSucceeded != works {
				t.Errorf("%+v %+v", o, o.Error)
			}
			for _, name := range []string{"tvs-entry-1 running", "tvs-webapp-1 running"} {
				if !slices.Contains(before, name) || !slices.Contains(s.Names(), name) {
					t.Errorf("before the first new one %q, in the end %q", before, s.Names())
				}
			}
			if got := s.Names(); !works && len(got) != 2 {
				t.Errorf("in the end %q", got)
			}
		})
	}
}

// A rollout that waited for its turn when the machine was started again replaces what ran
// before, and not what is down.
func TestRolloutIsDecidedAfterABoot(t *testing.T) {
	s := newRollStack(t)
	s.goDown()
	store := openStore(s.state)
	err := store.update("tvs", func(k *projectState) { k.Desired = map[string]int{"webapp": 3} })
	request, _ := json.Marshal(toImage("app:2"))
	record := ipc.Operation{ID: "abcd", Project: "tvs", Verb: "rollout", Services: []string{"webapp"}, State: ipc.OperationQueued, Queued: time.Now()}
	if err := errors.Join(err, store.record(record, &job{Kind: "rollout", Request: request}), store.keepEpoch("an earlier one"), store.close()); err != nil {
		t.Fatal(err)
	}
	s.run(t)
	s.expect(t, s.outcome(t), "", "webapp has 3 ready replicas of app:2", "4 5 6")
	if got, want := s.before("create tvs-webapp-4"), []string{"start tvs-entry-1", "start tvs-webapp-1", "start tvs-webapp-2", "start tvs-webapp-3"}; !slices.Equal(got, want) {
		t.Errorf("it began with %q, want %q", got, want)
	}
}
