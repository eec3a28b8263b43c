package dockerops

import (
	"context"
	"errors"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"tvsctl/dockerops/enginetest"
)

const patience = time.Minute // of a test whose subject hangs

// whenWatched runs do when tvs-webapp-1 is waited for: it was looked at once, and
// again because the events began to be followed.
func (r *rig) whenWatched(do func()) {
	var looks atomic.Int32
	r.Before("inspect tvs-webapp-1", func() {
		if looks.Add(1) == 2 {
			go do()
		}
	})
}

func (r *rig) wait(t *testing.T, name string, probe Probe, timeout time.Duration) error {
	t.Helper()
	return r.client.WaitReady(t.Context(), r.Container(name).ID, probe, timeout)
}

func TestWaitReadyByHealth(t *testing.T) {
	r := newRig(t, "1.45", 1)
	r.Update("tvs-webapp-1", "start", func(c *enginetest.Container) { c.Health = "starting" })
	r.whenWatched(func() {
		r.Update("tvs-webapp-1", "health_status: unhealthy", func(c *enginetest.Container) { c.Health = "unhealthy" })
		r.Update("tvs-webapp-1", "health_status: healthy", func(c *enginetest.Container) { c.Health = "healthy" })
	})
	if err := r.wait(t, "tvs-webapp-1", Probe{Port: 1}, patience); err != nil {
		t.Error(err)
	}
}

func TestWaitReadyByPort(t *testing.T) {
	r := newRig(t, "1.45", 1)
	r.Update("tvs-webapp-1", "start", func(c *enginetest.Container) { c.Health = "" })
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := listener.Addr().(*net.TCPAddr).Port
	if err := r.wait(t, "tvs-webapp-1", Probe{Port: port}, patience); err != nil {
		t.Error(err)
	}
	listener.Close()
	err = r.wait(t, "tvs-webapp-1", Probe{Port: port}, 30*time.Millisecond)
	if err == nil || !strings.Contains(err.Error(), "tvs-webapp-1 does not accept connections on port") {
		t.Errorf("err %v", err)
	}
	err = r.wait(t, "tvs-webapp-1", Probe{Port: port, Peers: []Replica{{Networks: map[string]string{"other": ""}}}}, 20*time.Millisecond)
	if err == nil {
		t.Error("ready where no peer reaches it")
	}
	if err := r.wait(t, "tvs-webapp-1", Probe{}, patience); err != nil {
		t.Errorf("without a port running is enough: %v", err)
	}
}

func TestNotReady(t *testing.T) {
	for _, c := range []struct {
		name, says string
		timeout    time.Duration // with a short one it is so from the start
		change     func(c *enginetest.Container)
	}{
		{"exits", "tvs-webapp-1 exited with code 3", patience, func(c *enginetest.Container) { c.State, c.ExitCode = "exited", 3 }},
		{"exits, and its policy is no", "exited with code 0", patience, func(c *enginetest.Container) {
			c.State, c.HostConfig["RestartPolicy"] = "exited", map[string]any{"Name": "no"}
		}},
		{"stays in its start", "tvs-webapp-1 is starting, not healthy, after 30ms", 30 * time.Millisecond, func(c *enginetest.Container) { c.Health = "starting" }},
		{"restarts again and again", "tvs-webapp-1 is restarting after 30ms, last exit code 1", 30 * time.Millisecond, func(c *enginetest.Container) {
			c.State, c.ExitCode, c.HostConfig["RestartPolicy"] = "restarting", 1, map[string]any{"Name": "always"}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, "1.45", 1)
			r.Update("tvs-webapp-1", "start", func(d *enginetest.Container) { d.Health, d.Logs = "starting", "loading\nout of luck\n" })
			if c.timeout < patience {
				r.Update("tvs-webapp-1", "die", c.change)
			} else {
				r.whenWatched(func() { r.Update("tvs-webapp-1", "die", c.change) })
			}
			err := r.wait(t, "tvs-webapp-1", Probe{}, c.timeout)
			var notReady *NotReadyError
			if !errors.As(err, &notReady) || !strings.Contains(err.Error(), c.says) || !slices.Equal(notReady.Logs, []string{"loading", "out of luck"}) {
				t.Errorf("got %v, %+v", err, notReady)
			}
		})
	}
}

func TestNotReadyBecauseGone(t *testing.T) {
	r := newRig(t, "1.45", 1)
	r.Update("tvs-webapp-1", "start", func(c *enginetest.Container) { c.Health = "starting" })
	r.whenWatched(func() { r.Remove("tvs-webapp-1") })
	if err := r.wait(t, "tvs-webapp-1", Probe{}, patience); err == nil || err.Error() != "tvs-webapp-1 was removed by somebody else" {
		t.Errorf("err %v", err)
	}
	if err := r.client.WaitReady(t.Context(), "none", Probe{}, patience); !errors.Is(err, ErrGone) {
		t.Errorf("err %v", err)
	}
}

func TestWaitReadyEndsWithItsContext(t *testing.T) {
	r := newRig(t, "1.45", 1)
	r.Update("tvs-webapp-1", "start", func(c *enginetest.Container) { c.Health = "starting" })
	ctx, cancel := context.WithCancel(t.Context())
	r.whenWatched(cancel)
	if err := r.client.WaitReady(ctx, r.Container("tvs-webapp-1").ID, Probe{}, patience); !errors.Is(err, context.Canceled) {
		t.Errorf("err %v", err)
	}
}

// The engine goes away and comes back while a replica becomes ready.
func TestWaitReadyAcrossARestartOfTheEngine(t *testing.T) {
	r := newRig(t, "1.45", 1)
	r.Update("tvs-webapp-1", "start", func(c *enginetest.Container) { c.Health = "starting" })
	r.whenWatched(func() {
		r.Down()
		r.Update("tvs-webapp-1", "health_status: healthy", func(c *enginetest.Container) { c.Health = "healthy" })
		r.Up()
	})
	if err := r.wait(t, "tvs-webapp-1", Probe{}, patience); err != nil {
		t.Error(err)
	}
}

func TestUnavailable(t *testing.T) {
	t.Setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
	e := Open()
	ctx := t.Context()
	_, observeErr := e.Observe(ctx, "tvs", nil)
	_, lookErr := e.Look(ctx, "x")
	_, projectsErr := e.Projects(ctx)
	_, nginxErr := e.NginxProjects(ctx)
	_, _, versionErr := e.Version(ctx)
	_, execErr := e.StartExec(ctx, "x", []string{"true"})
	for i, err := range []error{observeErr, lookErr, projectsErr, nginxErr, versionErr, execErr, e.WaitReady(ctx, "x", Probe{}, patience)} {
		if !errors.Is(err, ErrUnavailable) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%d: %v", i, err)
		}
	}
}

func TestEngineGoesInTheMiddle(t *testing.T) {
	r := newRig(t, "1.45", 1)
	r.Before("start tvs-webapp-2", r.Down)
	if err := r.apply(t, scale("webapp", 2), nil); err == nil {
		t.Error("no error")
	}
	equal(t, "nginx", r.nginx.calls)
}

func TestExec(t *testing.T) {
	r := newRig(t, "1.45", 1)
	r.OnExec = func(c *enginetest.Container, argv []string, input string) (string, int) {
		return c.Name + " " + strings.Join(argv, " ") + " < " + input, 7
	}
	exec, err := r.client.StartExec(t.Context(), r.Container("tvs-entry-1").ID, []string{"nginx", "-t"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := exec.Write([]byte("hello")); err != nil {
		t.Error(err)
	}
	output, status, err := exec.Wait(t.Context())
	if output != "tvs-entry-1 nginx -t < hello" || status != 7 || err != nil {
		t.Errorf("%q, %d, %v", output, status, err)
	}
}

func TestProjects(t *testing.T) {
	r := newRig(t, "1.45", 2)
	r.Add("job", 1, func(c *enginetest.Container) { c.Labels[labelOneOff] = "True" })
	r.Add("other", 1, func(c *enginetest.Container) { c.Labels[labelProject], c.State = "other", "exited" })
	projects, err := r.client.Projects(t.Context())
	if err != nil || len(projects) != 2 || projects["tvs"] != [2]int{3, 3} || projects["other"] != [2]int{1, 0} {
		t.Errorf("%v, %v", projects, err)
	}
	names, err := r.client.NginxProjects(t.Context())
	if err != nil || !slices.Equal(names, []string{"tvs"}) {
		t.Errorf("%v, %v", names, err)
	}
	p, err := r.client.Observe(t.Context(), "tvs", nil)
	if err != nil || p.Service("job") != nil || len(p.Services) != 2 {
		t.Errorf("%+v, %v", p, err)
	}
}

// While events are followed, a project where nothing happens costs one call.
func TestObserveAsksOnce(t *testing.T) {
	r := newRig(t, "1.45", 2)
	var inspections atomic.Int32
	for _, name := range []string{"entry-1", "webapp-1", "webapp-2"} {
		r.Before("inspect tvs-"+name, func() { inspections.Add(1) })
	}
	observe := func(want int32) *Project {
		t.Helper()
		p, err := r.client.Observe(t.Context(), "tvs", nil)
		if err != nil {
			t.Fatal(err)
		}
		if n := inspections.Swap(0); n != want {
			t.Errorf("%d inspections, not %d", n, want)
		}
		return p
	}
	observe(3)
	observe(3) // nobody follows, so nobody would hear of a change
	changed, cancel := r.client.Subscribe("tvs")
	defer cancel()
	told(t, "at the connection", changed)
	observe(3)
	observe(0)
	r.Update("tvs-webapp-2", "die", func(c *enginetest.Container) { c.State, c.ExitCode = "exited", 3 })
	told(t, "of the end", changed)
	if p := observe(1); p.Service("webapp").Replicas[1].ExitCode != 3 {
		t.Errorf("%+v", p.Service("webapp").Replicas[1])
	}
	r.Update("tvs-webapp-1", "top", func(c *enginetest.Container) { c.Address = "10.0.0.99" }) // no event of use
	if p := observe(1); p.Service("webapp").Replicas[0].Address(nil) != "10.0.0.99" {
		t.Errorf("%+v", p.Service("webapp").Replicas[0])
	}
	r.Down()
	told(t, "of the loss", changed)
	r.Up()
	told(t, "of the return", changed)
	observe(3)
}
