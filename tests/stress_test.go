//go:build e2e

package tests

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"tvsctl/ipc"
)

// running counts the containers of webapp that run.
func (s *stack) running(t testing.TB) int {
	t.Helper()
	out := s.m.sh(t, "docker ps -q --filter label=com.docker.compose.project="+s.name+" --filter label=com.docker.compose.service=webapp")
	return len(strings.Fields(out))
}

// draining reports whether an operation drains, by a program that runs in nginx's container.
func (s *stack) draining(t testing.TB, id string) bool {
	t.Helper()
	var o ipc.Operation
	s.m.ask(t, &o, "ops", id)
	return slices.ContainsFunc(o.Steps, func(step ipc.Step) bool { return step.Kind == "drain" && step.State == ipc.StepRunning }) &&
		s.m.run("pgrep", "-f", "of programs it needs nginx").code == 0
}

// operation returns the record of an operation that has ended.
func (s *stack) operation(t testing.TB, id string) ipc.Operation {
	t.Helper()
	var o ipc.Operation
	s.m.run("tvsctl", "ops", id, "--follow") // its status is that of the operation
	s.m.ask(t, &o, "ops", id)
	if !o.State.Finished() {
		t.Fatalf("operation %s has no outcome: %+v", id, o)
	}
	return o
}

// TestDockerLost: dockerd is restarted, and killed, in the middle of a change. The
// change completes or says why not, nothing is left over, and what is desired comes
// back and is served without anybody's command.
func TestDockerLost(t *testing.T) {
	m := own(t, "str-docker")
	if err := m.install(); err != nil {
		t.Fatal(err)
	}
	s := &stack{m: m, name: "lost", port: 3001, env: map[string]string{"READY_AFTER": "1s", "ON_TERM": "exit"}}
	s.up(t)
	changes := 0
	for _, how := range []string{"systemctl restart docker", "kill -KILL $(pidof dockerd)"} {
		for _, c := range []struct{ before, count int }{{1, 4}, {4, 1}} {
			t.Run(fmt.Sprintf("%s, from %d to %d", how, c.before, c.count), func(t *testing.T) {
				m.sh(t, "systemctl reset-failed docker") // it may not be restarted as often as that
				if n := s.running(t); n != c.before {
					s.tvsctl(t, "scale", "webapp", fmt.Sprint(c.before))
					changes++
				}
				// The middle: for the one, replicas that are not ready yet; for the other, a
				// request that the drain waits for. No program starts in nginx's container then:
				// a dockerd that is killed at such a moment cannot end the container later.
				inFlight := make(chan struct{})
				go func() {
					defer close(inFlight)
					if c.count < c.before {
						m.run("curl", "-s", s.url("/?ms=15000"))
					}
				}()
				if c.count < c.before {
					m.eventually(t, 10*time.Second, "the request is under way", func() bool {
						return m.run("sh", "-c", fmt.Sprintf("ss -Htn state established 'dport = :%d' | grep -q .", s.port)).code == 0
					})
				}
				id := strings.TrimSpace(s.tvsctl(t, "scale", "webapp", fmt.Sprint(c.count), "--detach"))
				changes++
				m.eventually(t, 10*time.Second, "the change is in its middle", func() bool {
					return c.count > c.before && s.running(t) == c.count || c.count < c.before && s.draining(t, id)
				})
				start := time.Now()
				m.sh(t, how)
				o := s.operation(t, id)
				took := time.Since(start)
				<-inFlight
				count := c.count
				if o.State == ipc.OperationFailed {
					if count = c.before; o.Error.Code != ipc.CodeDocker {
						t.Errorf("it does not say why it failed: %+v", o.Error)
					}
				}
				back := m.eventually(t, 30*time.Second, "nginx serves what is desired", func() bool {
					return m.run("docker", "exec", "lost-entry-1", "true").code == 0 && s.running(t) == count && s.right(t)
				})
				t.Logf("%s: %s, %.1f s after Docker was lost; all is back %.1f s later", o.Summary, o.State, took.Seconds(), back.Seconds())
				if ids := s.ids(t, "webapp"); len(ids) != count {
					t.Errorf("left over: %v", ids)
				}
				if took > 30*time.Second {
					t.Errorf("it took %v after Docker was lost", took)
				}
				if service := m.service(t, s.name, "webapp"); service.Desired != count || len(service.Problems) > 0 {
					t.Errorf("%+v", service)
				}
			})
		}
	}
	s.tvsctl(t, "scale", "webapp", "2")
	s.tvsctl(t, "verify")
	var list []ipc.Operation
	m.ask(t, &list, "ops")
	for _, o := range list {
		if o.Verb == "scale" {
			changes--
		}
		if !o.State.Finished() {
			t.Errorf("without an outcome: %+v", o)
		}
	}
	if changes != -1 {
		t.Errorf("not every change is on record once: %+v", list)
	}
	if strings.Contains(m.journalctl(t, "-u", "tvsctld", "-o", "cat"), "Somebody stopped") {
		t.Error("what ended with Docker was taken for somebody's doing")
	}
}

// TestStoppedDocker: dockerd hangs for 20 s in the middle of a change. Whoever asks gets
// an answer, the watchdog is fed, and the change ends well.
func TestStoppedDocker(t *testing.T) {
	m := own(t, "str-frozen")
	if err := m.install(); err != nil {
		t.Fatal(err)
	}
	// So short that a daemon that waits for Docker would be ended.
	writeFile(t, m, "/etc/systemd/system/tvsctld.service.d/stress.conf", "[Service]\nWatchdogSec=10\n")
	m.must(t, "systemctl", "daemon-reload")
	s := &stack{m: m, name: "hung", port: 3001, env: map[string]string{"READY_AFTER": "5s"}}
	s.up(t)
	s.tvsctl(t, "status")
	pid, starts := m.show(t, "MainPID"), m.show(t, "NRestarts")
	id := strings.TrimSpace(s.tvsctl(t, "scale", "webapp", "3", "--detach"))
	m.eventually(t, 10*time.Second, "the change is in its middle", func() bool { return s.running(t) == 3 })
	m.sh(t, "kill -STOP $(pidof dockerd)")
	thaw := sync.OnceFunc(func() { m.sh(t, "kill -CONT $(pidof dockerd)") })
	defer thaw()
	stopped := time.NewTimer(20 * time.Second)
	var group sync.WaitGroup
	for _, c := range []struct {
		args   []string
		code   int
		says   string
		within time.Duration
	}{
		{[]string{"ops", id}, ipc.ExitOK, "running", 4 * time.Second}, // Docker is not asked
		{[]string{"version"}, ipc.ExitOK, "tvsctld: ", 25 * time.Second},
		{[]string{"-p", s.name, "status"}, ipc.ExitDocker, "the Docker Engine cannot be reached: it does not answer", 25 * time.Second},
		{[]string{"-p", "other", "scale", "webapp", "2"}, ipc.ExitDocker, "the Docker Engine cannot be reached: it does not answer", 25 * time.Second},
	} {
		group.Go(func() {
			if r := m.tvsctl(c.args...); r.code != c.code || !strings.Contains(r.out+r.err, c.says) || r.took > c.within {
				t.Errorf("want exit status %d and %q within %v: %s", c.code, c.says, c.within, r)
			}
		})
	}
	group.Wait()
	<-stopped.C
	thaw()
	if o := s.operation(t, id); o.State != ipc.OperationSucceeded {
		t.Errorf("%+v %+v", o, o.Error)
	}
	if len(s.ids(t, "webapp")) != 3 || !s.right(t) {
		t.Errorf("containers %v, nginx has %v", s.ids(t, "webapp"), s.upstream(t))
	}
	if m.show(t, "MainPID") != pid || m.show(t, "NRestarts") != starts {
		t.Errorf("the daemon was started again:\n%s", m.journal())
	}
	s.tvsctl(t, "scale", "webapp", "1")
}

// TestBusRestarted: D-Bus and systemd itself are restarted over and over while the
// host's nginx is reloaded. Nothing hangs, and every result is right.
func TestBusRestarted(t *testing.T) {
	m := own(t, "str-bus")
	if err := m.install(); err != nil {
		t.Fatal(err)
	}
	s := hostStack(t, m)
	done, restarts := make(chan struct{}), make(chan int)
	go func() {
		pause := time.NewTicker(200 * time.Millisecond)
		defer pause.Stop()
		for n := 0; ; n++ {
			what := "systemctl reset-failed dbus.service dbus.socket; systemctl restart dbus"
			if n%3 == 2 {
				what = "systemctl daemon-reexec"
			}
			if r := m.run("sh", "-c", what); r.code != 0 {
				t.Errorf("%s", r)
			}
			select {
			case <-done:
				restarts <- n
				return
			case <-pause.C:
			}
		}
	}()
	var slowest time.Duration
	for i := range 20 {
		args := []string{"nginx", "reload"}
		if i%5 == 4 {
			args = []string{"scale", "webapp", fmt.Sprint(1 + i/5%3)}
		}
		r := m.tvsctl(args...)
		slowest = max(slowest, r.took)
		if r.code != 0 || r.took > 15*time.Second {
			t.Error(r)
		}
	}
	close(done)
	n := <-restarts
	t.Logf("%d restarts of D-Bus or systemd, the slowest command took %.1f s", n, slowest.Seconds())
	if n < 10 {
		t.Error("hardly a restart: the test shows nothing")
	}
	status := m.status(t, s.name)
	if status.State != ipc.StateUp || len(status.Problems) > 0 || len(status.Nginx[0].Problems) > 0 {
		t.Errorf("%+v", status)
	}
	m.must(t, "tvsctl", "verify", s.url("/"))
}
