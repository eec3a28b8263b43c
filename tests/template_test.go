//go:build e2e

package tests

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"tvsctl/ipc"
)

// instances is the example of template units in a machine, with the test application in
// the place of its webapp.
func instances(t *testing.T, name string) *stack {
	t.Helper()
	m := own(t, name)
	if err := m.install(); err != nil {
		t.Fatal(err)
	}
	s := &stack{m: m, name: "tvsapp", port: 2025}
	s.dropIn(t, "")
	m.must(t, "/srv/tvs/examples/tvsapp-units/install.sh")
	m.eventually(t, 30*time.Second, "polkit lets tvsctld manage the instances", func() bool { return m.tvsctl("unit", "stop", "tvsapp@35015").code == 0 })
	return s
}

// dropIn adds lines to the template's [Service].
func (s *stack) dropIn(t *testing.T, lines string) {
	t.Helper()
	writeFile(t, s.m, "/etc/systemd/system/tvsapp@.service.d/test.conf",
		"[Service]\nExecStart=\nExecStart=/srv/tvs/bin/tests/app\n"+lines)
	s.m.must(t, "systemctl", "daemon-reload")
}

// published returns the addresses that the host's nginx has on disk for webapp.
func (s *stack) published(t *testing.T) string {
	t.Helper()
	return strings.Join(servers(s.m.must(t, "cat", hostUpstreamFile)), " ")
}

// hostUpstreamFile is that of the host's nginx.
const hostUpstreamFile = "/run/tvs/upstreams/webapp.conf"

// onPorts is what published returns for instances on these ports.
func onPorts(ports ...int) string {
	var list []string
	for _, port := range ports {
		list = append(list, fmt.Sprintf("127.0.0.1:%d", port))
	}
	return strings.Join(list, " ")
}

// TestTemplateUnits: a stack without containers, instances of a template unit behind the
// host's nginx, is run like one of compose.
func TestTemplateUnits(t *testing.T) {
	t.Parallel()
	s := instances(t, "tplunits")
	s.tvsctl(t, "scale", "webapp", "3")
	t.Run("4-1-4", func(t *testing.T) { instancesUnderLoad(t, s) })
	t.Run("killed", func(t *testing.T) { instanceKilled(t, s) })
	t.Run("drift", func(t *testing.T) { instanceDrift(t, s) })
	t.Run("stop and start", func(t *testing.T) { instancesStopped(t, s) })
	t.Run("restart", func(t *testing.T) { instancesRestarted(t, s) })
	t.Run("seen", func(t *testing.T) { instancesSeen(t, s) })
	t.Run("not ready", func(t *testing.T) { instanceNotReady(t, s) })
	t.Run("notify", func(t *testing.T) { instanceNotifies(t, s) })
	t.Run("crash", func(t *testing.T) { instancesResumed(t, s) })
	t.Run("reboot", func(t *testing.T) { instancesReboot(t, s) })
	t.Run("without Docker", func(t *testing.T) { instancesAlone(t, s) })
	t.Run("its own program", func(t *testing.T) { instancesOwn(t, s) })
}

// instancesUnderLoad: 100 POST/s of 300 ms each, and none fails.
func instancesUnderLoad(t *testing.T, s *stack) {
	for _, onTerm := range []string{"drain", "exit"} {
		s.dropIn(t, "Environment=ON_TERM="+onTerm+"\n")
		s.tvsctl(t, "scale", "webapp", "4")
		r := s.underLoad(t, 3000, false, func() { walkCounts(t, s, []string{"1", "4"}) })
		t.Logf("template units behind host nginx, on SIGTERM %s, 4-1-4: %v", onTerm, r)
		if r.Failed > 0 {
			t.Errorf("%d requests failed: %v", r.Failed, r.Errors)
		}
		s.tvsctl(t, "stop")
	}
	s.tvsctl(t, "start")
	s.tvsctl(t, "scale", "webapp", "3")
	s.tvsctl(t, "verify", "-n", "30")
	if got := s.published(t); got != onPorts(35000, 35001, 35002) {
		t.Errorf("nginx serves %s", got)
	}
	if problems := s.m.service(t, s.name, "webapp").Problems; len(problems) > 0 {
		t.Errorf("problems %q", problems)
	}
	status := s.m.status(t, s.name)
	if status.State != ipc.StateUp || status.Entry != "http://127.0.0.1:2025/" {
		t.Errorf("status %+v", status)
	}
}

// instanceKilled: one that dies leaves the upstream within a second, and is back when
// systemd has started it again.
func instanceKilled(t *testing.T, s *stack) {
	s.dropIn(t, "RestartSec=10\n")
	var left, back time.Duration
	r := s.underLoadUntil(t, func() {
		left = s.m.leaves(t, "systemctl kill -s KILL tvsapp@35001.service", "127.0.0.1:35001", hostUpstreamFile)
		if got := s.published(t); got != onPorts(35000, 35002) {
			t.Errorf("nginx serves %s", got)
		}
		back = s.m.eventually(t, 25*time.Second, "it comes back", func() bool { return s.published(t) == onPorts(35000, 35001, 35002) })
	})
	t.Logf("a killed instance left nginx after %v, and was back after another %v; requests: %v", left, back, r)
	if left > time.Second+time.Duration(r.Stall)*time.Millisecond { // what the machine itself stood still is no doing of ours
		t.Errorf("it left only after %v", left)
	}
}

// instanceDrift: what somebody does by hand is shown, followed by nginx, and not fought.
func instanceDrift(t *testing.T, s *stack) {
	s.m.must(t, "systemctl", "stop", "tvsapp@35001.service")
	s.m.eventually(t, 5*time.Second, "nginx goes on without", func() bool { return s.published(t) == onPorts(35000, 35002) })
	webapp := s.m.service(t, s.name, "webapp")
	if text := strings.Join(webapp.Problems, " "); !strings.Contains(text, "drift: 3 desired, but somebody else made it 2") {
		t.Errorf("problems %q", text)
	}
	s.m.eventually(t, 10*time.Second, "the journal tells of it", func() bool {
		return strings.Contains(s.m.journal(), "Somebody else made it 2 replicas of webapp, where 3 are desired.")
	})
	if s.m.run("systemctl", "is-active", "-q", "tvsapp@35001.service").code == 0 {
		t.Error("tvsctld has started it again")
	}
	s.tvsctl(t, "scale", "webapp", "3")
	if got := s.published(t); got != onPorts(35000, 35001, 35002) {
		t.Errorf("nginx serves %s", got)
	}

	s.m.must(t, "systemctl", "start", "tvsapp@35007.service")
	s.m.eventually(t, 5*time.Second, "nginx serves it too", func() bool { return s.published(t) == onPorts(35000, 35001, 35002, 35007) })
	webapp = s.m.service(t, s.name, "webapp")
	if text := strings.Join(webapp.Problems, " "); !strings.Contains(text, "drift: 3 desired, but somebody else made it 4") {
		t.Errorf("problems %q", text)
	}
	// The next command makes them consecutive again.
	out := s.tvsctl(t, "inc")
	if !strings.Contains(out, "stop tvsapp@35007.service") || strings.Contains(out, "create") || strings.Contains(out, "remove") {
		t.Errorf("inc: %s", out)
	}
	if got := s.published(t); got != onPorts(35000, 35001, 35002, 35003, 35004) {
		t.Errorf("nginx serves %s", got)
	}
	s.tvsctl(t, "scale", "webapp", "3")
}

// instancesStopped: stop, its --db, start and reset.
func instancesStopped(t *testing.T, s *stack) {
	active := func() string {
		return strings.Join(strings.Fields(s.m.run("systemctl", "list-units", "--plain", "--no-legend", "--state=active", "tvsapp*.service").out), " ")
	}
	s.tvsctl(t, "stop", "--db")
	if now := active(); now != "" {
		t.Errorf("after stop --db there run %s", now)
	}
	if r := s.m.tvsctl("-p", s.name, "status"); r.code != ipc.ExitStopped {
		t.Errorf("%s", r)
	}
	s.tvsctl(t, "start")
	if got := s.published(t); got != onPorts(35000, 35001, 35002) || !strings.Contains(active(), "tvsapp-storage.service") {
		t.Errorf("nginx serves %s, and there run %s", got, active())
	}
	s.tvsctl(t, "stop")
	if now := active(); !strings.HasPrefix(now, "tvsapp-storage.service") || strings.Contains(now, "@") {
		t.Errorf("after stop there run %s", now)
	}
	s.tvsctl(t, "reset", "2", "35004")
	s.tvsctl(t, "start")
	if got := s.published(t); got != onPorts(35004, 35005) {
		t.Errorf("after reset 2 35004 nginx serves %s", got)
	}
	if r := s.m.tvsctl("-p", s.name, "reset", "2", "35015"); r.code != ipc.ExitOutOfRange {
		t.Errorf("%s", r)
	}
	s.tvsctl(t, "reset", "3", "35000")
	s.tvsctl(t, "start")
	s.tvsctl(t, "verify")
}

// instancesRestarted: all are new processes, and no request fails meanwhile.
func instancesRestarted(t *testing.T, s *stack) {
	pids := func() string {
		return s.m.sh(t, "systemctl show -p MainPID --value tvsapp@3500{0,1,2}.service")
	}
	before := strings.Fields(pids())
	r := s.underLoadUntil(t, func() { s.tvsctl(t, "restart", "webapp") })
	t.Logf("three instances restarted: %v", r)
	if r.Failed > 0 || r.Sent == 0 {
		t.Errorf("%d requests failed: %v", r.Failed, r.Errors)
	}
	for _, pid := range before {
		if slices.Contains(strings.Fields(pids()), pid) {
			t.Errorf("process %s was not restarted", pid)
		}
	}
	if got := s.published(t); got != onPorts(35000, 35001, 35002) {
		t.Errorf("nginx serves %s", got)
	}
}

// instancesSeen: logs and doctor know units.
func instancesSeen(t *testing.T, s *stack) {
	out := s.tvsctl(t, "logs", "-n", "5", "webapp.35001")
	if !strings.Contains(out, "listening on :35001") || strings.Contains(out, ":35000") {
		t.Errorf("logs: %s", out)
	}
	if out := s.tvsctl(t, "logs"); !strings.Contains(out, "listening on :35000") || !strings.Contains(out, "listening on :35002") {
		t.Errorf("logs: %s", out)
	}
	var findings []ipc.Finding
	s.m.ask(t, &findings, "doctor")
	seen := false
	for _, f := range findings {
		seen = seen || strings.Contains(f.Text, "project tvsapp")
		if strings.Contains(f.Text, "tvsapp") && f.State != ipc.FindingOK {
			t.Errorf("doctor: %s: %s → %s", f.Check, f.Text, f.Remedy)
		}
	}
	if !seen {
		t.Errorf("doctor does not look at the project: %+v", findings)
	}
	if r := s.m.tvsctl("-p", s.name, "exec", "webapp", "--", "true"); r.code != ipc.ExitNotScalable || !strings.Contains(r.err, "units of systemd, not containers") {
		t.Errorf("%s", r)
	}
}

// instanceNotReady: one that does not become ready is stopped again, and nginx never
// hears of it.
func instanceNotReady(t *testing.T, s *stack) {
	s.dropIn(t, "Environment=NEVER_READY=1 EXIT_AFTER=100ms EXIT_CODE=3\nRestart=no\n")
	r := s.m.tvsctl("-p", s.name, "scale", "webapp", "5")
	if r.code != ipc.ExitNotReady || !strings.Contains(r.err, "exited with status 3") || !strings.Contains(r.err, "exiting with status 3 as told") {
		t.Errorf("%s", r)
	}
	if got := s.published(t); got != onPorts(35000, 35001, 35002) {
		t.Errorf("nginx serves %s", got)
	}
	s.m.sh(t, "systemctl reset-failed 'tvsapp@*.service'")
}

// instanceNotifies: with Type=notify the unit itself says when it is ready.
func instanceNotifies(t *testing.T, s *stack) {
	writeFile(t, s.m, "/etc/systemd/system/tvsapp@.service.d/test.conf",
		"[Service]\nType=notify\nNotifyAccess=all\nRestrictAddressFamilies=AF_UNIX\nExecStart=\nExecStart=/bin/sh -c '(sleep 2; systemd-notify --ready) & exec /srv/tvs/bin/tests/app'\n")
	s.m.must(t, "systemctl", "daemon-reload")
	start := time.Now()
	s.tvsctl(t, "scale", "webapp", "4")
	if took := time.Since(start); took < 2*time.Second {
		t.Errorf("ready after %v, before it said so", took)
	}
	webapp := s.m.service(t, s.name, "webapp")
	if last := webapp.Replicas[3]; last.Health != "healthy" || !last.Serving {
		t.Errorf("%+v", last)
	}
	s.dropIn(t, "")
	s.tvsctl(t, "scale", "webapp", "3")
}

// instancesResumed: a daemon that is killed in a change leaves its end to the next one.
func instancesResumed(t *testing.T, s *stack) {
	s.dropIn(t, "Environment=READY_AFTER=3s\n")
	id := strings.TrimSpace(s.tvsctl(t, "scale", "webapp", "4", "--detach"))
	s.m.eventually(t, 10*time.Second, "the fourth is started", func() bool {
		return s.m.run("systemctl", "is-active", "-q", "tvsapp@35003.service").code == 0
	})
	s.m.sh(t, "systemctl kill -s KILL tvsctld.service")
	s.m.eventually(t, 15*time.Second, "the change ends", func() bool {
		var o ipc.Operation
		s.m.ask(t, &o, "ops", id)
		return o.State == ipc.OperationSucceeded
	})
	if got := s.published(t); got != onPorts(35000, 35001, 35002, 35003) {
		t.Errorf("nginx serves %s", got)
	}
	s.dropIn(t, "")
	s.tvsctl(t, "scale", "webapp", "3")
}

// instancesReboot: those that are desired come back with the machine, and not by being
// enabled.
func instancesReboot(t *testing.T, s *stack) {
	reboot(t, s.m)
	took := s.m.eventually(t, time.Minute, "three serve again", func() bool {
		return s.published(t) == onPorts(35000, 35001, 35002) && s.m.tvsctl("-p", s.name, "verify").code == 0
	})
	t.Logf("after a reboot all serve again %v after the machine was up", took)
	s.tvsctl(t, "stop")
	reboot(t, s.m)
	s.m.must(t, "tvsctl", "projects")
	if r := s.m.tvsctl("-p", s.name, "status"); r.code != ipc.ExitStopped {
		t.Errorf("what was stopped came back: %s", r)
	}
	s.tvsctl(t, "start")
}

// instancesAlone: a project without containers needs no Docker.
func instancesAlone(t *testing.T, s *stack) {
	s.m.sh(t, "systemctl stop docker.socket docker.service; systemctl restart tvsctld.service")
	s.m.must(t, "tvsctl", "status")
	s.m.must(t, "tvsctl", "scale", "webapp", "2")
	s.m.must(t, "tvsctl", "inc")
	// So late that the guard sees it dead, however busy the machine is.
	s.dropIn(t, "RestartSec=8\n")
	s.m.sh(t, "systemctl kill -s KILL tvsapp@35001.service")
	s.m.eventually(t, 7*time.Second, "the dead one leaves nginx", func() bool { return s.published(t) == onPorts(35000, 35002) })
	s.m.eventually(t, 20*time.Second, "it comes back", func() bool { return s.published(t) == onPorts(35000, 35001, 35002) })
	s.m.must(t, "systemctl", "start", "docker.service")
}

// instancesOwn: the example's own program answers, in the sandbox of its unit, and the
// example's removal leaves nothing but the database's directory.
func instancesOwn(t *testing.T, s *stack) {
	s.m.sh(t, "rm -r /etc/systemd/system/tvsapp@.service.d; systemctl daemon-reload")
	s.tvsctl(t, "restart", "webapp")
	s.tvsctl(t, "verify")
	for range 3 {
		// An instance waits a second for the database, and says so then.
		s.m.eventually(t, 10*time.Second, "the page has the visits", func() bool {
			page := s.m.must(t, "curl", "-fsS", s.url("/"))
			return strings.Contains(page, "HOST <b>") && strings.Contains(page, "VISITS <b>")
		})
	}
	s.m.must(t, "/srv/tvs/examples/tvsapp-units/install.sh", "--uninstall")
	left := s.m.sh(t, `find /etc /opt /run /usr/local \( -name '*tvsapp*' -o -path /run/tvs/upstreams/webapp.conf \) -print
grep -rl --exclude=policy.toml tvsapp /etc || true
systemctl list-units --all --plain --no-legend 'tvsapp*'`)
	if left != "" {
		t.Errorf("the example leaves: %s", left)
	}
	if out := s.m.must(t, "tvsctl", "projects"); strings.Contains(out, s.name) {
		t.Errorf("projects: %s", out)
	}
	s.m.must(t, "systemctl", "is-active", "nginx.service", "tvsctld.service")
}
