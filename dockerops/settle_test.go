package dockerops

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/mount"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/go-connections/nat"

	"tvsctl/dockerops/enginetest"
)

func (r *rig) settle(t *testing.T, d time.Duration) error {
	t.Helper()
	return r.client.Settle(t.Context(), r.Container("tvs-webapp-1").ID, d)
}

func TestSettles(t *testing.T) {
	r := newRig(t, "1.45", 1)
	r.Update("tvs-webapp-1", "start", func(c *enginetest.Container) { c.Health = "starting" })
	r.whenWatched(func() {
		r.Update("tvs-webapp-1", "health_status: healthy", func(c *enginetest.Container) { c.Health = "healthy" })
	})
	const d = 50 * time.Millisecond
	start := time.Now()
	if err := r.settle(t, d); err != nil || time.Since(start) < d {
		t.Errorf("after %v: %v", time.Since(start), err)
	}
	r.Update("tvs-webapp-1", "start", func(c *enginetest.Container) { c.Health = "" })
	if err := r.settle(t, 0); err != nil {
		t.Errorf("without a health check: %v", err)
	}
}

func TestDoesNotSettle(t *testing.T) {
	for _, c := range []struct {
		name, says string
		change     func(c *enginetest.Container)
	}{
		{"ends", "tvs-webapp-1 exited with code 3 within 1m0s of being ready", func(c *enginetest.Container) { c.State, c.ExitCode = "exited", 3 }},
		{"restarts", "exited with code 1 within", func(c *enginetest.Container) { c.State, c.ExitCode = "restarting", 1 }},
		{"was started again", "tvs-webapp-1 ended and was started again within 1m0s of being ready", func(c *enginetest.Container) { c.Started = c.Started.Add(time.Second) }},
		{"falls ill", "tvs-webapp-1 turned unhealthy within 1m0s of being ready", func(c *enginetest.Container) { c.Health = "unhealthy" }},
	} {
		for _, before := range []bool{false, true} {
			t.Run(c.name, func(t *testing.T) {
				r := newRig(t, "1.45", 1)
				r.Update("tvs-webapp-1", "start", func(c *enginetest.Container) { c.Logs = "out of luck\n" })
				if change := func() { r.Update("tvs-webapp-1", "die", c.change) }; before && c.name != "was started again" {
					change()
				} else {
					r.whenWatched(change)
				}
				err := r.settle(t, patience)
				var notReady *NotReadyError
				if !errors.As(err, &notReady) || !strings.Contains(err.Error(), c.says) || !slices.Equal(notReady.Logs, []string{"out of luck"}) {
					t.Errorf("got %v, %+v", err, notReady)
				}
			})
		}
	}
}

func TestDoesNotSettleBecauseGone(t *testing.T) {
	r := newRig(t, "1.45", 1)
	r.whenWatched(func() { r.Remove("tvs-webapp-1") })
	var notReady *NotReadyError
	if err := r.settle(t, patience); !errors.As(err, &notReady) || err.Error() != "tvs-webapp-1 was removed by somebody else" {
		t.Errorf("err %v", err)
	}
	if err := r.client.Settle(t.Context(), "none", patience); !errors.Is(err, ErrGone) {
		t.Errorf("err %v", err)
	}
}

func TestSettleEndsWithItsContext(t *testing.T) {
	r := newRig(t, "1.45", 1)
	ctx, cancel := context.WithCancel(t.Context())
	r.whenWatched(cancel)
	if err := r.client.Settle(ctx, r.Container("tvs-webapp-1").ID, patience); !errors.Is(err, context.Canceled) {
		t.Errorf("err %v", err)
	}
}

// A loss of the engine in the middle is no failure of the replica; whether it has
// settled is for a look at the end to tell.
func TestSettleWithTheEngineAway(t *testing.T) {
	r := newRig(t, "1.45", 1)
	r.whenWatched(func() { r.Down(); r.Up() })
	if err := r.settle(t, 300*time.Millisecond); err != nil {
		t.Errorf("it was back in time: %v", err)
	}
	r = newRig(t, "1.45", 1)
	r.whenWatched(r.Down)
	if err := r.settle(t, 100*time.Millisecond); !errors.Is(err, ErrUnavailable) || errors.As(err, new(*NotReadyError)) {
		t.Errorf("at the end: %v", err)
	}
	if err := r.settle(t, patience); !errors.Is(err, ErrUnavailable) {
		t.Errorf("from the start: %v", err)
	}
}

// What ends with the engine has not failed: it is for another look to tell what to do.
func TestEndsWithTheEngine(t *testing.T) {
	wait := map[string]func(r *rig) error{
		"settling":      func(r *rig) error { return r.settle(t, patience) },
		"getting ready": func(r *rig) error { return r.wait(t, "tvs-webapp-1", Probe{}, patience) },
	}
	for name, change := range map[string]func(c *enginetest.Container){
		"ended":   func(c *enginetest.Container) { c.State, c.ExitCode, c.Health = "exited", 255, "" },
		"started": func(c *enginetest.Container) { c.Started = c.Started.Add(time.Second) },
	} {
		for what, do := range wait {
			if name == "started" && what == "getting ready" {
				continue // to which it makes no difference
			}
			r := newRig(t, "1.45", 1)
			r.Update("tvs-webapp-1", "start", func(c *enginetest.Container) {
				if what == "getting ready" {
					c.Health = "starting"
				}
			})
			r.whenWatched(func() {
				r.Down()
				r.Update("tvs-webapp-1", "die", change)
				until(t, "the loss is noticed", func() bool { return r.client.losses() == 1 })
				r.Up()
			})
			if err := do(r); !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), "tvs-webapp-1 ended with it") {
				t.Errorf("%s while %s: %v", name, what, err)
			}
		}
	}
}

func TestCheckRollout(t *testing.T) {
	with := func(s Service, change func(*Spec)) Service {
		s.Spec.Networks = map[string]*network.EndpointSettings{"front": {}}
		change(s.Spec)
		return s
	}
	named := func(s *Spec) { s.Separator = "" }
	port := func(s *Spec) { s.HostConfig.PortBindings = nat.PortMap{"80/tcp": {{HostPort: "8080"}}} }
	ports := func(s *Spec) { s.HostConfig.PortBindings = nat.PortMap{"80/tcp": {{HostPort: "8080-8090"}}} }
	address := func(s *Spec) {
		s.Networks["front"].IPAMConfig = &network.EndpointIPAMConfig{IPv4Address: "10.0.0.9"}
	}
	mounted := func(m mount.Mount) func(*Spec) { return func(s *Spec) { s.HostConfig.Mounts = []mount.Mount{m} } }
	bound := func(binds ...string) func(*Spec) { return func(s *Spec) { s.HostConfig.Binds = binds } }
	const recreates, both = "tvsctl up recreates it", "the old and the new replica would both write to "
	for _, c := range []struct {
		name, text, hint string // "": allowed
		reason           Reason
		service          Service
	}{
		{"any", "", "", 0, service("webapp", "1", "2 exited")},
		{"with a range of ports", "", "", 0, with(service("webapp", "1"), ports)},
		{"one that is not there", "project tvs has no such service", "", UnknownService, service("other", "1")},
		{"none", "it has no replica", "tvsctl scale webapp N", NotScalable, service("webapp")},
		{"an nginx", "it is the nginx of the project", recreates, NotScalable, service("webapp", "1").balancing("api")},
		{"named", "a new replica must stand beside the old one, and container_name is set", recreates, NotScalable, with(service("webapp", "1"), named)},
		{"a fixed port", "fixed host port 8080", recreates, NotScalable, with(service("webapp", "1"), port)},
		{"a static address", "static address 10.0.0.9", recreates, NotScalable, with(service("webapp", "1"), address)},
		{"a shared volume of a web service", "", "", 0, with(service("webapp", "1"), bound("tvs_data:/data:rw"))},
	} {
		checkRollout(t, c.name, project(entry, c.service), c.reason, c.text, c.hint)
	}
	for _, c := range []struct {
		name, text string
		change     func(*Spec)
	}{
		{"no volume", "", func(*Spec) {}},
		{"a named volume", both + "tvs_data", mounted(mount.Mount{Type: mount.TypeVolume, Source: "tvs_data"})},
		{"a directory", both + "/srv", mounted(mount.Mount{Type: mount.TypeBind, Source: "/srv"})},
		{"one to read", "", mounted(mount.Mount{Type: mount.TypeBind, Source: "/srv", ReadOnly: true})},
		{"an anonymous one", "", mounted(mount.Mount{Type: mount.TypeVolume})},
		{"memory", "", mounted(mount.Mount{Type: mount.TypeTmpfs, Source: "x"})},
		{"a bind", both + "tvs_data", bound("/etc/x:/x:ro", "tvs_data:/data:rw")},
		{"a bind without options", both + "/srv", bound("/srv:/data")},
		{"binds to read", "", bound("/etc/x:/x:z,ro", "/data")},
	} {
		text := c.text
		reason := map[bool]Reason{true: NotScalable}[text != ""]
		checkRollout(t, "without nginx, "+c.name, project(service("entry", "1").balancing("api"), with(service("webapp", "1"), c.change)), reason, text, recreates)
	}
}

func checkRollout(t *testing.T, name string, p *Project, reason Reason, text, hint string) {
	t.Helper()
	err := CheckRollout(p, "webapp")
	var refused *RefusedError
	if text == "" {
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	} else if !errors.As(err, &refused) || refused.Reason != reason || !strings.HasPrefix(err.Error(), "cannot roll out webapp: ") ||
		!strings.Contains(err.Error(), text) || !strings.Contains(refused.Hint, hint) || hint == "" != (refused.Hint == "") {
		t.Errorf("%s: %+v", name, err)
	}
}
