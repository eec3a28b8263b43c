package dockerops

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"tvsctl/dockerops/enginetest"
)

// rollRig is a rig with two webapps and a rollout of them to app:2, one at a time.
func rollRig(t *testing.T, settle string) (*rig, Rollout) {
	t.Helper()
	r := newRig(t, "1.45", 2)
	for _, name := range []string{"tvs-webapp-1", "tvs-webapp-2"} {
		r.Update(name, "update", func(c *enginetest.Container) { c.Labels[labelSettle], c.Labels[labelDrain] = settle, "5s" })
	}
	r.SetImage("app:2", "sha256:2", nil)
	service := r.observe(t).Service("webapp")
	rollout := NewRollout(service)
	rollout.Spec = service.Spec.WithImage("app:2", nil, &Image{ID: "sha256:2"}, "hash-2")
	return r, rollout
}

func (r *rig) observe(t *testing.T) *Project {
	t.Helper()
	p, err := r.client.Observe(t.Context(), "tvs", nil)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// roll does what is next of a rollout, or goes back.
func (r *rig) roll(ctx context.Context, t *testing.T, rollout Rollout, back bool, composer Composer) error {
	t.Helper()
	p := r.observe(t)
	p.Retire("webapp", rollout.Stopped(p))
	if rollout.Spec != nil {
		p.Service("webapp").Spec = rollout.Spec
	}
	plan := PlanRollout(p, rollout)
	if back {
		plan = PlanBack(p, rollout)
	}
	r.outcomes = map[string]string{}
	return r.client.Apply(ctx, p, plan, r.nginx, composer, func(s Step, ended bool, err error) {
		if !ended {
			return
		}
		if r.onEnd != nil {
			r.onEnd(s)
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.outcomes[s.Text()] = "done"; err != nil {
			r.outcomes[s.Text()] = err.Error()
		}
	})
}

func TestApplyRollout(t *testing.T) {
	r, rollout := rollRig(t, "10ms")
	if err := r.roll(t.Context(), t, rollout, false, nil); err != nil {
		t.Fatal(err)
	}
	calls := r.Calls()
	slices.Sort(calls[len(calls)-2:]) // at the same time
	equal(t, "calls", calls, "create tvs-webapp-3", "start tvs-webapp-3", "stop tvs-webapp-1",
		"create tvs-webapp-4", "start tvs-webapp-4", "stop tvs-webapp-2", "remove tvs-webapp-1", "remove tvs-webapp-2")
	equal(t, "nginx", r.nginx.calls, "publish +tvs-webapp-3/running -", "publish +tvs-webapp-3/running -tvs-webapp-1/running", "drain",
		"publish +tvs-webapp-3/running,tvs-webapp-4/running -", "publish +tvs-webapp-3/running,tvs-webapp-4/running -tvs-webapp-2/running", "drain")
	equal(t, "containers", r.Names(), "tvs-entry-1 running", "tvs-webapp-3 running", "tvs-webapp-4 running")
	for _, name := range []string{"tvs-webapp-3", "tvs-webapp-4"} {
		if c := r.Container(name); c.Image != "app:2" || c.ImageID != "sha256:2" || c.Labels[labelConfigHash] != "hash-2" || c.Labels[labelImage] != "sha256:2" || !r.nginx.held[name] {
			t.Errorf("%+v", c)
		}
	}
	if got := r.outcomes["see that tvs-webapp-4 goes on running for 10ms"]; got != "done" || len(r.outcomes) != 16 {
		t.Errorf("outcomes %q", r.outcomes)
	}
	if cleared := r.Cleared(); len(cleared) != 0 {
		t.Errorf("the volumes of %q are gone", cleared)
	}
}

// A rollout ends where something fails, and leaves it as it is then. PlanBack leads back.
func TestStagedEndsAtTheFirstFailure(t *testing.T) {
	both := []string{"tvs-entry-1 running", "tvs-webapp-1 exited", "tvs-webapp-2 running", "tvs-webapp-3 running"}
	and := func(last ...string) []string { return append(slices.Clone(both), last...) }
	refuse := func(r *rig, do func(*nginxStub)) {
		r.Before("create tvs-webapp-4", func() {
			r.nginx.mu.Lock()
			defer r.nginx.mu.Unlock()
			do(r.nginx)
		})
	}
	for _, c := range []struct {
		name, says string
		fail       func(r *rig)
		left       []string
	}{
		{"create", "no room", func(r *rig) { r.Fail("create tvs-webapp-4", http.StatusInternalServerError, "no room") }, both},
		{"start", "tvs-webapp-4 cannot be started: no room", func(r *rig) { r.Fail("start tvs-webapp-4", http.StatusInternalServerError, "no room") }, and("tvs-webapp-4 created")},
		{"ready", "tvs-webapp-4 exited with code 3", func(r *rig) {
			r.OnStart = func(c *enginetest.Container) {
				if c.Health = "healthy"; c.Name == "tvs-webapp-4" {
					c.State, c.ExitCode = "exited", 3
				}
			}
		}, and("tvs-webapp-4 exited")},
		{"publish", "nginx refuses", func(r *rig) { refuse(r, func(n *nginxStub) { n.publishErr = errors.New("nginx refuses") }) }, and("tvs-webapp-4 running")},
		{"drain", "cannot look", func(r *rig) {
			refuse(r, func(n *nginxStub) { n.drain = func(context.Context) error { return errors.New("cannot look") } })
		}, and("tvs-webapp-4 running")},
		{"stop", "stuck", func(r *rig) { r.Fail("stop tvs-webapp-2", http.StatusInternalServerError, "stuck") }, and("tvs-webapp-4 running")},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, rollout := rollRig(t, "0s")
			c.fail(r)
			if err := r.roll(t.Context(), t, rollout, false, nil); err == nil || err.Error() != c.says || errors.As(err, new(*UnfinishedError)) {
				t.Errorf("err %v", err)
			}
			equal(t, "containers", r.Names(), c.left...)
			if calls := strings.Join(r.Calls(), " "); strings.Contains(calls, "remove") {
				t.Errorf("calls %s", calls)
			}
			r.nginx.publishErr, r.nginx.drain, r.nginx.calls = nil, nil, nil
			if err := r.roll(t.Context(), t, rollout, true, nil); err != nil {
				t.Errorf("back: %v", err)
			}
			equal(t, "containers at last", r.Names(), "tvs-entry-1 running", "tvs-webapp-1 running", "tvs-webapp-2 running")
			if published := strings.Join(r.nginx.calls, " "); !strings.HasPrefix(published, "publish +tvs-webapp-1/running,tvs-webapp-2/running -tvs-webapp-3/running") {
				t.Errorf("nginx %s", published)
			}
			if cleared := r.Cleared(); !slices.Contains(cleared, "tvs-webapp-3") || len(cleared) != len(c.left)-3 {
				t.Errorf("removed with volumes: %q", cleared)
			}
		})
	}
}

// A new one dies while it is to show that it goes on running.
func TestStagedDoesNotSettle(t *testing.T) {
	r, rollout := rollRig(t, "1m")
	r.OnStart = func(c *enginetest.Container) { c.Health = "healthy" }
	r.nginx.onPublish = func() {
		go r.Update("tvs-webapp-3", "die", func(c *enginetest.Container) { c.State, c.ExitCode = "exited", 4 })
	}
	var notReady *NotReadyError
	if err := r.roll(t.Context(), t, rollout, false, nil); !errors.As(err, &notReady) || err.Error() != "tvs-webapp-3 exited with code 4 within 1m0s of being ready" {
		t.Errorf("err %v", err)
	}
	equal(t, "containers", r.Names(), "tvs-entry-1 running", "tvs-webapp-1 running", "tvs-webapp-2 running", "tvs-webapp-3 exited")
}

func TestStagedCanceled(t *testing.T) {
	why := errors.New("the reason")
	for _, c := range []struct {
		name   string
		during func(r *rig, cancel func())
		calls  []string
	}{
		{"in a create", func(r *rig, cancel func()) { r.Before("create tvs-webapp-3", cancel) }, []string{"create tvs-webapp-3"}},
		{"while it settles", func(r *rig, cancel func()) { r.nginx.onPublish = cancel }, []string{"create tvs-webapp-3", "start tvs-webapp-3"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, rollout := rollRig(t, "1m")
			ctx, cancel := context.WithCancelCause(t.Context())
			c.during(r, func() { cancel(why) })
			if err := r.roll(ctx, t, rollout, false, nil); err != why {
				t.Errorf("err %v", err)
			}
			equal(t, "calls", r.Calls(), c.calls...)
			for text, outcome := range r.outcomes {
				if strings.HasPrefix(text, "see that") && outcome != ErrSkipped.Error() {
					t.Errorf("%s: %s", text, outcome)
				}
			}
		})
	}
	r, rollout := rollRig(t, "0s")
	ctx, cancel := context.WithCancelCause(t.Context())
	r.nginx.drain = func(ctx context.Context) error {
		cancel(why)
		<-ctx.Done()
		return ctx.Err()
	}
	if err := r.roll(ctx, t, rollout, false, nil); err != why {
		t.Errorf("err %v", err)
	}
	equal(t, "calls when it drains", r.Calls(), "create tvs-webapp-3", "start tvs-webapp-3")
}

// Once the old ones are being removed, a rollout completes.
func TestStagedRemovalsComplete(t *testing.T) {
	r, rollout := rollRig(t, "0s")
	ctx, cancel := context.WithCancel(t.Context())
	r.Before("stop tvs-webapp-2", cancel) // the last one
	if err := r.roll(ctx, t, rollout, false, nil); err != nil {
		t.Errorf("err %v", err)
	}
	equal(t, "containers", r.Names(), "tvs-entry-1 running", "tvs-webapp-3 running", "tvs-webapp-4 running")

	r, rollout = rollRig(t, "0s")
	r.Fail("remove tvs-webapp-2", http.StatusInternalServerError, "device busy")
	if err := r.roll(t.Context(), t, rollout, false, nil); !errors.As(err, new(*UnfinishedError)) || err.Error() != "device busy" {
		t.Errorf("err %v", err)
	}
	equal(t, "containers", r.Names(), "tvs-entry-1 running", "tvs-webapp-2 exited", "tvs-webapp-3 running", "tvs-webapp-4 running")
}

// Of an engine that was lost nothing can be taken back, by whatever plan.
func TestApplyLosesTheEngine(t *testing.T) {
	for _, returns := range []bool{false, true} {
		for name, apply := range map[string]func(r *rig, rollout Rollout) error{
			"a rollout": func(r *rig, rollout Rollout) error { return r.roll(t.Context(), t, rollout, false, nil) },
			"scaling":   func(r *rig, _ Rollout) error { return r.apply(t, scale("webapp", 3), nil) },
		} {
			t.Run(name, func(t *testing.T) {
				r, rollout := rollRig(t, "0s")
				changed, cancel := r.client.Subscribe("tvs")
				defer cancel()
				told(t, "at the connection", changed)
				over := make(chan struct{})
				r.Before("start tvs-webapp-3", func() {
					defer close(over)
					if r.Down(); returns {
						until(t, "the loss is noticed", func() bool { return r.client.losses() == 1 })
						r.Up()
					}
				})
				r.onEnd = func(s Step) {
					if s.Kind == StepStart {
						<-over // and the engine perhaps back
					}
				}
				if err := apply(r, rollout); !errors.Is(err, ErrUnavailable) || strings.Contains(err.Error(), "\n") {
					t.Errorf("err %v", err)
				}
				if calls := r.Calls(); len(calls) != 2 {
					t.Errorf("calls %q", calls)
				}
				if names := r.Names(); len(names) != 4 {
					t.Errorf("containers %q", names)
				}
			})
		}
	}
}

// In a later life compose still counts, but nobody takes what has retired for new.
func TestStagedComposeBesideRetiredOnes(t *testing.T) {
	r, rollout := rollRig(t, "0s")
	rollout.Spec, rollout.Creator, rollout.Hold = nil, ByComposeFirst, 1
	r.Update("tvs-webapp-1", "die", func(c *enginetest.Container) { c.State, c.Health = "exited", "" })
	composer := composerStub(func(_ string, count int) error {
		if count != 3 {
			t.Errorf("create up to %d", count)
		}
		r.Add("webapp", 3, func(c *enginetest.Container) { c.State, c.Labels[labelSettle] = "created", "0s" })
		return nil
	})
	if err := r.roll(t.Context(), t, rollout, false, composer); err != nil {
		t.Fatal(err)
	}
	equal(t, "nginx", r.nginx.calls, "hold new webapp above 2", "publish +tvs-webapp-3/running -")
	if r.nginx.held["tvs-webapp-1"] {
		t.Errorf("held %v", r.nginx.held)
	}
}

// What compose creates first, the others are clones of, also when the clock has been set back.
func TestStagedClonesWhatComposeCreates(t *testing.T) {
	for _, later := range []time.Duration{time.Hour, -time.Hour} {
		r, rollout := rollRig(t, "0s")
		rollout.Spec, rollout.Creator = nil, ByComposeFirst
		r.SetImage("app:3", "sha256:3", nil)
		composer := composerStub(func(service string, count int) error {
			if service != "webapp" || count != 3 {
				t.Errorf("create %s up to %d", service, count)
			}
			r.Add("webapp", 3, func(c *enginetest.Container) {
				c.State, c.Image, c.ImageID, c.Created = "created", "app:3", "sha256:3", time.Now().Add(later)
				c.Labels[labelConfigHash], c.Labels[labelSettle] = "hash-3", "0s"
			})
			return nil
		})
		if err := r.roll(t.Context(), t, rollout, false, composer); err != nil {
			t.Fatal(err)
		}
		equal(t, "containers", r.Names(), "tvs-entry-1 running", "tvs-webapp-3 running", "tvs-webapp-4 running")
		if c := r.Container("tvs-webapp-4"); c.Image != "app:3" || c.ImageID != "sha256:3" || c.Labels[labelConfigHash] != "hash-3" {
			t.Errorf("created %v later: %+v", later, c)
		}
		if !r.nginx.held["tvs-webapp-3"] || r.nginx.calls[0] != "hold new webapp above 2" || r.nginx.held["tvs-webapp-1"] {
			t.Errorf("held %v, nginx %q", r.nginx.held, r.nginx.calls)
		}
	}
}

// What an earlier attempt has started and held joins when it is found to be ready.
func TestApplyJoinsWhatIsReady(t *testing.T) {
	r := newRig(t, "1.45", 2)
	p, err := r.client.Observe(t.Context(), "tvs", nil)
	if err != nil {
		t.Fatal(err)
	}
	one, two := p.Service("webapp").Replicas[0], p.Service("webapp").Replicas[1]
	plan := &Plan{Project: "tvs", Steps: []Step{
		{ID: 1, Kind: StepReady, Service: "webapp", Replica: two.Name, Container: two.ID},
		{ID: 2, Kind: StepPublish, Needs: []int{1}, Retires: []string{one.ID}},
	}}
	if err := r.client.Apply(t.Context(), p, plan, r.nginx, nil, func(Step, bool, error) {}); err != nil {
		t.Fatal(err)
	}
	if want := []string{"publish +tvs-webapp-2/running -tvs-webapp-1/running"}; !slices.Equal(r.nginx.calls, want) {
		t.Errorf("%q, want %q", r.nginx.calls, want)
	}
}
