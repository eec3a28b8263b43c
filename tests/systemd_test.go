//go:build e2e

package tests

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"tvsctl/ipc"
)

// show returns a property of tvsctld.service.
func (m *machine) show(t testing.TB, property string) string {
	t.Helper()
	return strings.TrimSpace(m.must(t, "systemctl", "show", "-p", property, "--value", "tvsctld.service"))
}

// configure writes tvsctld.toml, reloads the service, and waits until the journal says that
// the file was read again or is broken: systemctl returns once the signal is sent.
func (m *machine) configure(t testing.TB, text string) {
	t.Helper()
	writeFile(t, m, "/etc/tvsctld/tvsctld.toml", text)
	reloads := func() int {
		return strings.Count(m.journalctl(t, "-o", "json", "MESSAGE_ID=af2a8293e78647b08a2751fb6aba4bbb", "MESSAGE_ID=075b129efdb7458ba2cdb03aa66cd582"), "\n")
	}
	before := reloads()
	m.must(t, "systemctl", "reload", "tvsctld.service")
	m.eventually(t, 10*time.Second, "the reload is over", func() bool { return reloads() > before && m.active(t) })
}

// TestService: tvsctld as a service of systemd, reloaded, stuck, stopped and crashed.
func TestService(t *testing.T) {
	m := own(t, "sysd1")
	if err := m.install(); err != nil {
		t.Fatal(err)
	}
	s := &stack{m: m, name: "shop", port: 3001, env: map[string]string{"READY_AFTER": "5s"}, service: "labels:\n  tvs.drain: 60s\n"}
	s.up(t)
	m.must(t, "tvsctl", "status")
	t.Run("reload", func(t *testing.T) { reloads(t, s) })
	// Little time for the tests; that nothing is cut short by it is part of them.
	writeFile(t, m, "/etc/systemd/system/tvsctld.service.d/short.conf", "[Service]\nWatchdogSec=6s\nTimeoutStopSec=4s\n")
	m.sh(t, "systemctl daemon-reload && systemctl restart tvsctld.service")
	t.Run("frozen engine", func(t *testing.T) { frozenEngine(t, s) })
	t.Run("watchdog", func(t *testing.T) { watchdog(t, s) })
	t.Run("stop in a drain", func(t *testing.T) { stopInADrain(t, s) })
	t.Run("crash", func(t *testing.T) { crashes(t, s) })
}

// reloads: caps hold from the reload on for those who come then; a broken file changes
// nothing, and status says so; no reload ends the daemon or loses a command.
func reloads(t *testing.T, s *stack) {
	m := s.m
	pid := m.show(t, "MainPID")
	ctx, cancel := context.WithCancel(t.Context())
	follower := m.command(ctx, "tvsctl", "events")
	if err := follower.Start(); err != nil {
		t.Fatal(err)
	}
	defer follower.Wait() // it is killed
	defer cancel()
	m.eventually(t, 10*time.Second, "the follower is connected", func() bool {
		return m.run("sh", "-c", "ss -xH | grep -q /run/tvsctld.sock").code == 0
	})
	refused := func() bool {
		r := m.tvsctl("projects")
		return r.code == ipc.ExitConflict && strings.Contains(r.err, "1 connections of yours are open")
	}
	if refused() {
		t.Error("refused before the reload")
	}
	m.configure(t, "max_connections_per_user = 1\n")
	m.eventually(t, 5*time.Second, "the cap holds beside a follower", refused)
	m.configure(t, "max_connections_per_user = 50\nmax_conections = 9\n")
	m.eventually(t, 5*time.Second, "the journal says what is wrong", func() bool {
		return strings.Contains(m.journal(), "line 2: unknown key max_conections; what was in force before stays in force.")
	})
	if !refused() {
		t.Error("the last good cap is not in force")
	}
	cancel()
	const problem = "cannot read /etc/tvsctld/tvsctld.toml: line 2: unknown key max_conections"
	m.eventually(t, 5*time.Second, "status says what is wrong", func() bool {
		return strings.Contains(m.tvsctl("status").out, problem)
	})

	m.must(t, "systemctl", "restart", "tvsctld.service")
	if problems := m.status(t, s.name).Problems; len(problems) != 1 || !strings.Contains(problems[0], problem+"; the defaults are in force") {
		t.Errorf("after a start with a broken file status says %q", problems)
	}
	pid = m.show(t, "MainPID")
	m.configure(t, "idle = \"2h\"\n")
	m.eventually(t, 5*time.Second, "status is content", func() bool { return len(m.status(t, s.name).Problems) == 0 })
	m.must(t, "rm", "/etc/tvsctld/tvsctld.toml")

	out := m.sh(t, `(until [ -e /tmp/done ]; do tvsctl version >/dev/null 2>>/tmp/errors && echo ok || echo lost; done) >/tmp/clients &
for i in $(seq 50); do systemctl reload tvsctld.service || echo "reload failed"; done; touch /tmp/done; wait; sort /tmp/clients | uniq -c; cat /tmp/errors`)
	if !strings.Contains(out, "ok") || strings.Contains(out, "lost") || strings.Contains(out, "failed") {
		t.Errorf("50 reloads under clients: %s", out)
	}
	m.eventually(t, 5*time.Second, "the reloads are over", func() bool { return m.active(t) })
	if now := m.show(t, "MainPID"); now != pid || pid == "0" {
		t.Errorf("the daemon was another one, %s, after the reloads than before, %s", now, pid)
	}
	t.Logf("50 reloads under clients: %s", strings.TrimSpace(out))
}

// frozenEngine: an engine that hangs for longer than the watchdog's time does not trip it.
func frozenEngine(t *testing.T, s *stack) {
	pid := s.m.show(t, "MainPID")
	s.m.sh(t, "kill -STOP $(pidof dockerd); systemctl reload tvsctld.service; sleep 15; kill -CONT $(pidof dockerd)")
	if now := s.m.show(t, "MainPID"); now != pid {
		t.Errorf("the daemon was restarted\n%s", s.m.journal())
	}
}

// watchdog: a daemon that hangs in the middle of a change is restarted by systemd, and
// the next one serves, and ends the change.
func watchdog(t *testing.T, s *stack) {
	pid := s.m.show(t, "MainPID")
	id := strings.TrimSpace(s.tvsctl(t, "scale", "webapp", "3", "--detach"))
	s.m.eventually(t, 10*time.Second, "the change is under way", func() bool { return len(s.ids(t, "webapp")) == 3 })
	s.m.must(t, "kill", "-STOP", pid)
	took := s.m.eventually(t, 30*time.Second, "systemd starts another one", func() bool { return s.m.another(t, pid) })
	t.Logf("restarted %v after it hung", took.Round(10*time.Millisecond))
	if out := s.m.must(t, "tvsctl", "ops", id, "--follow"); !strings.Contains(out, "webapp has 3 ready replicas") {
		t.Errorf("the change: %s", out)
	}
	s.m.eventually(t, 5*time.Second, "the status is that nothing runs", func() bool { return s.m.show(t, "StatusText") == "Nothing runs" })
	if out := s.m.journalctl(t, "-u", "tvsctld", "-o", "cat"); !strings.Contains(out, "Watchdog timeout") || !strings.Contains(out, "Taking up again") {
		t.Error("the journal tells of no watchdog, or of nothing that was taken up again")
	}
}

// stopInADrain: systemctl stop waits for a drain beyond TimeoutStopSec=, so the requests
// on their way to a replica that leaves are answered.
func stopInADrain(t *testing.T, s *stack) {
	const requests = 6
	answers := make(chan result, requests)
	for range requests {
		go func() {
			answers <- s.m.run("curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", s.url("/?ms=30000"))
		}()
	}
	s.m.eventually(t, 15*time.Second, "the requests are on their way", func() bool {
		out := s.m.sh(t, `for id in $(docker ps -q --filter label=com.docker.compose.service=webapp); do nsenter -n -t $(docker inspect -f '{{.State.Pid}}' $id) ss -Htn state established '( sport = :8080 )'; done`)
		return strings.Count(out, "\n") == requests
	})
	id := strings.TrimSpace(s.tvsctl(t, "scale", "webapp", "1", "--detach"))
	s.m.eventually(t, 10*time.Second, "it drains", func() bool {
		var o ipc.Operation
		s.m.ask(t, &o, "ops", id)
		for _, step := range o.Steps {
			if step.Kind == "drain" && step.State == ipc.StepRunning {
				return true
			}
		}
		return false
	})
	if text := s.m.show(t, "StatusText"); text != "Running: scale webapp from 3 to 1 in project shop, for root" {
		t.Errorf("the status is %q", text)
	}
	stop := s.m.run("systemctl", "stop", "tvsctld.service")
	if stop.code != 0 || stop.took < 5*time.Second {
		t.Errorf("the stop was not longer than its time: the test shows nothing: %s", stop)
	}
	for range requests {
		if r := <-answers; r.out != "200" {
			t.Errorf("a request that was on its way: %s", r)
		}
	}
	if result := s.m.show(t, "Result"); result != "success" {
		t.Errorf("the service's result is %s\n%s", result, s.m.journal())
	}
	var o ipc.Operation
	if s.m.ask(t, &o, "ops", id); o.State != ipc.OperationSucceeded || o.Result != "webapp has 1 ready replica" {
		t.Errorf("the change: %+v", o)
	}
	if out := s.m.journalctl(t, "TVS_OPERATION="+id, "-o", "cat"); strings.Contains(out, "Taking up again") {
		t.Error("the change was cut off, and taken up by the next life")
	}
	t.Logf("the stop took %v with TimeoutStopSec=4s", stop.took.Round(10*time.Millisecond))
}

// another reports whether the service runs with another main process than pid. While
// systemd has yet to see the end of that one it names none, 0, and the unit is active still.
func (m *machine) another(t testing.TB, pid string) bool {
	t.Helper()
	now := m.show(t, "MainPID")
	return now != "0" && now != pid && m.active(t)
}

// crashes: whatever ends the daemon, systemd starts it again without a client.
func crashes(t *testing.T, s *stack) {
	m := s.m
	m.must(t, "tvsctl", "status")
	for i, signal := range []string{"SEGV", "ABRT", "KILL"} {
		before, pid := m.show(t, "NRestarts"), m.show(t, "MainPID")
		m.must(t, "kill", "-"+signal, pid)
		m.eventually(t, 10*time.Second, "it is back after "+signal, func() bool { return m.another(t, pid) })
		n, err := strconv.Atoi(before)
		if now := m.show(t, "NRestarts"); err != nil || now != fmt.Sprint(n+1) {
			t.Errorf("%s restarts, then %s", before, now)
		}
		s.tvsctl(t, "scale", "webapp", fmt.Sprint(2+i%2))
	}
}
