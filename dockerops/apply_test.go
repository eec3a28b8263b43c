package dockerops

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"tvsctl/dockerops/enginetest"
)

type rig struct {
	*enginetest.Engine
	client *Engine
	nginx  *nginxStub
	onEnd  func(Step) // of a step

	mu       sync.Mutex
	outcomes map[string]string // of the steps, by their text
}

// newRig is an engine with entry, storage and the given number of webapps.
func newRig(t *testing.T, api string, webapps int) *rig {
	t.Helper()
	r := &rig{Engine: enginetest.Start(t, api), outcomes: map[string]string{}}
	r.nginx = &nginxStub{engine: r.Engine}
	r.Add("entry", 1, func(c *enginetest.Container) { c.Labels[labelNginx] = "webapp:8080" })
	for n := range webapps {
		r.Add("webapp", n+1, func(c *enginetest.Container) {
			c.Health = "healthy"
			c.Networks["tvs_back"] = map[string]any{"Aliases": []string{"webapp"}}
		})
	}
	r.OnStart = func(c *enginetest.Container) { c.Health = "healthy" }
	r.client = Open()
	return r
}

func (r *rig) apply(t *testing.T, request Request, composer Composer) error {
	t.Helper()
	p, err := r.client.Observe(t.Context(), "tvs", nil)
	if err != nil {
		t.Fatal(err)
	}
	return r.client.Apply(t.Context(), p, MakePlan(p, request), r.nginx, composer, func(s Step, ended bool, err error) {
		if !ended {
			return
		}
		if r.onEnd != nil {
			r.onEnd(s)
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		r.outcomes[s.Text()] = "done"
		if err != nil {
			r.outcomes[s.Text()] = err.Error()
		}
	})
}

func equal(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s:\ngot  %q\nwant %q", what, got, want)
	}
}

func TestApplyGrowsAndShrinks(t *testing.T) {
	r := newRig(t, "1.45", 1)
	if err := r.apply(t, scale("webapp", 3), nil); err != nil {
		t.Fatal(err)
	}
	equal(t, "containers", r.Names(), "tvs-entry-1 running", "tvs-webapp-1 running", "tvs-webapp-2 running", "tvs-webapp-3 running")
	equal(t, "nginx", r.nginx.calls, "publish +tvs-webapp-2/running,tvs-webapp-3/running -")
	if !r.nginx.held["tvs-webapp-2"] || !r.nginx.held["tvs-webapp-3"] || r.nginx.held["tvs-webapp-1"] {
		t.Errorf("held %v", r.nginx.held)
	}
	r.nginx.calls = nil
	if err := r.apply(t, scale("webapp", 1), nil); err != nil {
		t.Fatal(err)
	}
	equal(t, "containers", r.Names(), "tvs-entry-1 running", "tvs-webapp-1 running")
	equal(t, "nginx", r.nginx.calls, "publish + -tvs-webapp-2/running,tvs-webapp-3/running", "drain")
}

func TestApplyOrder(t *testing.T) {
	r := newRig(t, "1.45", 1)
	if err := r.apply(t, scale("webapp", 2), nil); err != nil {
		t.Fatal(err)
	}
	equal(t, "calls", r.Calls(), "create tvs-webapp-2", "start tvs-webapp-2")
	if r.nginx.prepared != 1 {
		t.Errorf("prepared %d times", r.nginx.prepared)
	}
	if got := r.outcomes["wait until tvs-webapp-2 is ready"]; got != "done" || len(r.outcomes) != 4 {
		t.Errorf("outcomes %v", r.outcomes)
	}
}

func TestApplyConnectsNetworks(t *testing.T) {
	for api, calls := range map[string][]string{
		"1.43": {"create tvs-webapp-2", "connect tvs_back tvs-webapp-2", "start tvs-webapp-2"},
		"1.44": {"create tvs-webapp-2", "start tvs-webapp-2"},
	} {
		r := newRig(t, api, 1)
		if err := r.apply(t, scale("webapp", 2), nil); err != nil {
			t.Fatal(err)
		}
		equal(t, api, r.Calls(), calls...)
		for _, name := range []string{"tvs_default", "tvs_back"} {
			endpoint := r.Container("tvs-webapp-2").Networks[name]
			aliases, _ := endpoint["Aliases"].([]any)
			if !slices.Contains(aliases, any("tvs-webapp-2")) || !slices.Contains(aliases, any("webapp")) || slices.Contains(aliases, any("tvs-webapp-1")) {
				t.Errorf("%s: %s has %v", api, name, endpoint)
			}
		}
	}
}

func TestApplyTakesBack(t *testing.T) {
	for _, c := range []struct{ name, call, want string }{
		{"create", "create tvs-webapp-3", "no room"},
		{"connect", "connect tvs_back tvs-webapp-3", "no room"},
		{"start", "start tvs-webapp-3", "tvs-webapp-3 cannot be started: no room"},
		{"ready", "inspect tvs-webapp-3", "no room"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, "1.43", 1)
			r.Fail(c.call, http.StatusInternalServerError, "no room")
			if err := r.apply(t, scale("webapp", 3), nil); err == nil || err.Error() != c.want {
				t.Errorf("err %v", err)
			}
			equal(t, "containers", r.Names(), "tvs-entry-1 running", "tvs-webapp-1 running")
			equal(t, "nginx", r.nginx.calls)
			if got, ran := r.outcomes["publish to nginx"]; ran {
				t.Errorf("publish: %s", got)
			}
		})
	}
}

// That not all could be taken back does not hide why.
func TestApplyCannotTakeBack(t *testing.T) {
	r := newRig(t, "1.45", 1)
	r.Fail("start tvs-webapp-2", http.StatusInternalServerError, "no room")
	r.Fail("remove tvs-webapp-2", http.StatusInternalServerError, "device busy")
	r.Fail("remove tvs-webapp-3", http.StatusInternalServerError, "device busy")
	err := r.apply(t, scale("webapp", 3), nil)
	var leftover *LeftoverError
	if !errors.As(err, &leftover) || !errors.As(err, new(*NotReadyError)) || strings.Contains(leftover.Err.Error(), "busy") {
		t.Fatalf("err %v", err)
	}
	// Whether the other one was made by then is chance.
	if text := err.Error(); !strings.HasPrefix(text, "tvs-webapp-2 cannot be started: no room; and not all could be taken back: ") ||
		!strings.Contains(text, "cannot remove tvs-webapp-2: device busy") || strings.Contains(text, "\n") {
		t.Errorf("err %q", text)
	}
}

// The others are in the middle of being created when one fails.
func TestApplyTakesBackWhatWasUnderWay(t *testing.T) {
	r := newRig(t, "1.45", 1)
	under := make(chan struct{})
	r.Before("create tvs-webapp-2", func() { <-under })
	r.Fail("create tvs-webapp-3", http.StatusConflict, "no room")
	p, err := r.client.Observe(t.Context(), "tvs", nil)
	if err != nil {
		t.Fatal(err)
	}
	err = r.client.Apply(t.Context(), p, MakePlan(p, scale("webapp", 3)), r.nginx, nil, func(s Step, ended bool, err error) {
		if s.Kind == StepCreate && s.Number == 3 && err != nil {
			// After the cancellation that follows this report; a short wait errs
			// on the side of a pass.
			time.AfterFunc(20*time.Millisecond, func() { close(under) })
		}
	})
	if err == nil || !strings.Contains(err.Error(), "no room") {
		t.Errorf("err %v", err)
	}
	equal(t, "containers", r.Names(), "tvs-entry-1 running", "tvs-webapp-1 running")
}

func TestApplyTakesBackStarts(t *testing.T) {
	r := newRig(t, "1.45", 1)
	r.Add("webapp", 2, func(c *enginetest.Container) { c.State = "exited" })
	r.nginx.publishErr = errors.New("nginx refuses")
	if err := r.apply(t, scale("webapp", 3), nil); err == nil || err.Error() != "nginx refuses" {
		t.Errorf("err %v", err)
	}
	equal(t, "containers", r.Names(), "tvs-entry-1 running", "tvs-webapp-1 running", "tvs-webapp-2 exited")
	if r.outcomes["stop tvs-webapp-2"] != "done" || r.outcomes["remove tvs-webapp-3"] != "done" {
		t.Errorf("the undo is not told: %v", r.outcomes)
	}
}

func TestApplyPublishFailsAndNothingStops(t *testing.T) {
	r := newRig(t, "1.45", 3)
	r.nginx.publishErr = errors.New("nginx refuses")
	if err := r.apply(t, scale("webapp", 1), nil); err == nil || err.Error() != "nginx refuses" {
		t.Errorf("err %v", err)
	}
	equal(t, "calls", r.Calls())
}

func TestApplyGoesOnAfterThePublication(t *testing.T) {
	r := newRig(t, "1.45", 3)
	r.Fail("stop tvs-webapp-3", http.StatusInternalServerError, "stuck")
	if err := r.apply(t, scale("webapp", 1), nil); err == nil || err.Error() != "stuck" {
		t.Errorf("err %v", err)
	}
	equal(t, "containers", r.Names(), "tvs-entry-1 running", "tvs-webapp-1 running", "tvs-webapp-3 running")
	if _, ran := r.outcomes["remove tvs-webapp-3"]; ran {
		t.Error("what could not be stopped was removed")
	}
}

func TestApplyDrain(t *testing.T) {
	r := newRig(t, "1.45", 2)
	r.nginx.drain = func(ctx context.Context) error {
		if deadline, has := ctx.Deadline(); !has || time.Until(deadline) > DefaultDrain {
			t.Errorf("deadline %v", deadline)
		}
		return context.DeadlineExceeded // the stack's own setting ran out
	}
	if err := r.apply(t, scale("webapp", 1), nil); err != nil {
		t.Error(err)
	}
	equal(t, "calls", r.Calls(), "stop tvs-webapp-2", "remove tvs-webapp-2")

	r = newRig(t, "1.45", 2)
	r.nginx.drain = func(context.Context) error { return errors.New("cannot look") }
	if err := r.apply(t, scale("webapp", 1), nil); err == nil || err.Error() != "cannot look" {
		t.Errorf("err %v", err)
	}
	equal(t, "calls", r.Calls())
}

func TestApplyImageName(t *testing.T) {
	for want, images := range map[string]map[string]string{
		"web":        {"web": "sha256:web"},
		"sha256:web": {"web": "sha256:moved"},
	} {
		r := newRig(t, "1.45", 1)
		r.Images = images
		if err := r.apply(t, scale("webapp", 2), nil); err != nil {
			t.Fatal(err)
		}
		if got := r.Container("tvs-webapp-2").Image; got != want {
			t.Errorf("images %v: created from %s", images, got)
		}
	}
	r := newRig(t, "1.45", 1)
	r.Images = nil // removed, with the containers still there
	if err := r.apply(t, scale("webapp", 2), nil); err != nil || r.Container("tvs-webapp-2").Image != "sha256:web" {
		t.Errorf("%v", err)
	}
	r.Fail("inspect image sha256:web", http.StatusInternalServerError, "broken store")
	if err := r.apply(t, scale("webapp", 3), nil); err == nil || err.Error() != "broken store" {
		t.Errorf("err %v", err)
	}
}

// Somebody else makes the replica at the same time: it is theirs, and not taken back.
func TestApplyNameIsTaken(t *testing.T) {
	r := newRig(t, "1.45", 1)
	p, err := r.client.Observe(t.Context(), "tvs", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Add("webapp", 2, func(*enginetest.Container) {})
	err = r.client.Apply(t.Context(), p, MakePlan(p, scale("webapp", 2)), r.nginx, nil, func(Step, bool, error) {})
	if err == nil || !strings.Contains(err.Error(), "already in use") {
		t.Errorf("err %v", err)
	}
	equal(t, "containers", r.Names(), "tvs-entry-1 running", "tvs-webapp-1 running", "tvs-webapp-2 running")
}

func TestApplyRemoves(t *testing.T) {
	r := newRig(t, "1.45", 1)
	r.Add("webapp", 2, func(c *enginetest.Container) { c.State = "exited" })
	r.Add("webapp", 3, func(c *enginetest.Container) { c.State = "exited" })
	r.Before("remove tvs-webapp-2", func() {
		// A restart policy brought it back.
		r.Update("tvs-webapp-2", "start", func(c *enginetest.Container) { c.State = "running" })
		r.Before("remove tvs-webapp-2", nil)
	})
	r.Before("remove tvs-webapp-3", func() { r.Remove("tvs-webapp-3") })
	r.Fail("remove tvs-webapp-3", http.StatusNotFound, "No such container")
	if err := r.apply(t, scale("webapp", 1), nil); err != nil {
		t.Error(err)
	}
	equal(t, "containers", r.Names(), "tvs-entry-1 running", "tvs-webapp-1 running")
}

type composerStub func(service string, count int) error

func (c composerStub) Scale(_ context.Context, service string, count int) error {
	return c(service, count)
}

func (f composerStub) Create(_ context.Context, service string, count int) error {
	return f(service, count)
}

func TestApplyViaCompose(t *testing.T) {
	for _, failure := range []error{nil, errors.New("compose failed half way")} {
		r := newRig(t, "1.45", 1)
		request := scale("webapp", 2)
		request.ViaCompose = map[string]bool{"webapp": true}
		err := r.apply(t, request, composerStub(func(service string, count int) error {
			if service != "webapp" || count != 2 {
				t.Errorf("scale %s %d", service, count)
			}
			r.Add("webapp", 2, func(c *enginetest.Container) { c.Health = "healthy" })
			return failure
		}))
		want := []string{"tvs-entry-1 running", "tvs-webapp-1 running", "tvs-webapp-2 running"}
		if failure != nil {
			want = want[:2]
		}
		if !errors.Is(err, failure) {
			t.Errorf("err %v", err)
		}
		equal(t, "containers", r.Names(), want...)
		if !r.nginx.held["tvs-webapp-2"] {
			t.Error("it was not held")
		}
	}
}
