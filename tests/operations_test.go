//go:build e2e

package tests

import (
	"strings"
	"sync"
	"testing"
	"time"

	"tvsctl/ipc"
)

// TestConcurrentScales: of two changes of one project one waits for the other;
// those of two projects run together.
func TestConcurrentScales(t *testing.T) {
	slow := map[string]string{"READY_AFTER": "4s"}
	a := &stack{m: shared, name: "conca", port: 3401, env: slow}
	b := &stack{m: shared, name: "concb", port: 3402, env: slow}
	a.up(t)
	b.up(t)
	var group sync.WaitGroup
	results := make([]ipc.Operation, 3)
	for i, who := range []struct {
		s     *stack
		count string
	}{{a, "2"}, {b, "2"}, {a, "3"}} {
		group.Go(func() { shared.ask(t, &results[i], "-p", who.s.name, "scale", "webapp", who.count) })
	}
	group.Wait()
	for _, o := range results {
		if o.State != ipc.OperationSucceeded {
			t.Fatalf("%+v", o)
		}
	}
	first, second := results[0], results[2]
	if second.Started.Before(first.Started) {
		first, second = second, first
	}
	if second.Started.Before(first.Ended) {
		t.Errorf("two changes of one project ran together: %v to %v, and from %v", first.Started, first.Ended, second.Started)
	}
	if second.Queued.After(first.Ended) {
		t.Error("the second did not have to wait: the test shows nothing")
	}
	if other := results[1]; !other.Started.Before(first.Ended) || !first.Started.Before(other.Ended) {
		t.Errorf("changes of two projects did not run together: %v to %v, and %v to %v", first.Started, first.Ended, other.Started, other.Ended)
	}
}

// TestReplicaThatDoesNotBecomeReady: it is removed again, the others stay, nginx is
// untouched, and the error says why, with the last lines of its log.
func TestReplicaThatDoesNotBecomeReady(t *testing.T) {
	for _, c := range []struct {
		name string
		env  map[string]string
		says []string
	}{
		{"never listens", map[string]string{"NEVER_READY": "1"}, []string{"does not accept connections on port 8080", "waiting for a database that never comes"}},
		{"exits", map[string]string{"EXIT_AFTER": "300ms", "EXIT_CODE": "3", "NEVER_READY": "1"}, []string{"exited with code 3", "exiting with status 3"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := &stack{m: shared, name: "notready", port: 3403, restart: "no", service: "labels:\n  tvs.ready.timeout: 3s\n"}
			s.up(t)
			s.tvsctl(t, "scale", "webapp", "2")
			// The newest replica is what is cloned: let it be a bad one.
			s.env = c.env
			s.write(t)
			s.compose(t, "up", "-d", "--no-recreate", "--scale", "webapp=3")
			before, upstream := s.ids(t, "webapp"), s.upstream(t)
			r := s.m.tvsctl("-p", s.name, "scale", "webapp", "5")
			if r.code != ipc.ExitNotReady {
				t.Errorf("exit status %d, want %d: %s", r.code, ipc.ExitNotReady, r)
			}
			for _, text := range c.says {
				if !strings.Contains(r.err, text) {
					t.Errorf("the error does not say %q: %s", text, r)
				}
			}
			if after := s.ids(t, "webapp"); len(after) != len(before) {
				t.Errorf("before %v, after %v", before, after)
			}
			if now := s.upstream(t); strings.Join(now, " ") != strings.Join(upstream, " ") {
				t.Errorf("the upstream changed from %v to %v", upstream, now)
			}
		})
	}
}

// TestBrokenNginxConfiguration: a configuration that fails the test is never left on
// disk, nothing else is changed, and the error shows nginx's own line.
func TestBrokenNginxConfiguration(t *testing.T) {
	s := &stack{m: shared, name: "broken", port: 3404}
	s.up(t)
	s.tvsctl(t, "scale", "webapp", "2")
	before := s.m.must(t, "docker", "exec", "broken-entry-1", "cat", "/etc/nginx/upstreams/webapp.conf")
	s.m.must(t, "docker", "exec", "broken-entry-1", "sh", "-c", "echo 'nonsense on;' > /etc/nginx/upstreams/zz.conf")
	r := s.m.tvsctl("-p", s.name, "scale", "webapp", "4")
	if r.code != ipc.ExitNginx || !strings.Contains(r.err, `unknown directive "nonsense"`) {
		t.Errorf("%s", r)
	}
	if n := len(s.ids(t, "webapp")); n != 2 {
		t.Errorf("%d replicas after the refusal, want 2", n)
	}
	if after := s.m.must(t, "docker", "exec", "broken-entry-1", "cat", "/etc/nginx/upstreams/webapp.conf"); after != before {
		t.Errorf("the upstream file changed:\n%s", after)
	}
	// The guard tries again, and then they are there for as long as nginx -t takes.
	s.m.eventually(t, 5*time.Second, "none of the files of a publication is left", func() bool {
		left := s.m.must(t, "docker", "exec", "broken-entry-1", "ls", "-A", "/etc/nginx/upstreams")
		return !strings.Contains(left, ".before") && !strings.Contains(left, ".new")
	})
	if r := s.m.tvsctl("-p", s.name, "nginx", "test"); r.code != ipc.ExitNginx {
		t.Errorf("nginx test: %s", r)
	}
	s.m.must(t, "docker", "exec", "broken-entry-1", "rm", "/etc/nginx/upstreams/zz.conf")
	s.tvsctl(t, "nginx", "test")
	s.tvsctl(t, "scale", "webapp", "4")
	s.tvsctl(t, "nginx", "reload")
	s.tvsctl(t, "verify")
}

// TestStartStopReset walks through the configurations of the course: stopped with N,
// started, stopped, with what it depends on.
func TestStartStopReset(t *testing.T) {
	s := &stack{m: shared, name: "course", port: 3405, service: "depends_on: [storage]\n",
		extra: "  storage:\n    image: app\n    restart: unless-stopped\n"}
	s.up(t)
	state := func(want ipc.State, exit, running, desired int) {
		t.Helper()
		status := s.m.status(t, s.name)
		if status.State != want {
			t.Errorf("state is %s, want %s: %+v", status.State, want, status)
		}
		if r := s.m.tvsctl("-p", s.name, "status"); r.code != exit {
			t.Errorf("status exits with %d, want %d", r.code, exit)
		}
		service := s.m.service(t, s.name, "webapp")
		if service.Running != running || service.Desired != desired || len(s.ids(t, "webapp")) != desired {
			t.Errorf("running %d, desired %d, containers %d; want %d, %d", service.Running, service.Desired, len(s.ids(t, "webapp")), running, desired)
		}
	}
	s.tvsctl(t, "reset", "3")
	state(ipc.StateStopped, ipc.ExitStopped, 0, 3)
	if n := len(s.upstream(t)); n != 0 {
		t.Errorf("%d members in the upstream of a stopped site", n)
	}
	s.tvsctl(t, "start")
	state(ipc.StateUp, ipc.ExitOK, 3, 3)
	s.tvsctl(t, "verify")
	s.tvsctl(t, "inc")
	state(ipc.StateUp, ipc.ExitOK, 4, 4)
	s.tvsctl(t, "dec", "9")
	state(ipc.StateUp, ipc.ExitOK, 1, 1)
	s.tvsctl(t, "inc", "2", "webapp")
	s.tvsctl(t, "stop", "--db")
	state(ipc.StateStopped, ipc.ExitStopped, 0, 3)
	if n := s.m.service(t, s.name, "storage").Running; n != 0 {
		t.Error("stop --db left storage running")
	}
	s.tvsctl(t, "start")
	state(ipc.StateUp, ipc.ExitOK, 3, 3)
	if n := s.m.service(t, s.name, "storage").Running; n != 1 {
		t.Error("start did not start storage")
	}
	s.tvsctl(t, "scale", "webapp", "0")
	if n := len(s.ids(t, "webapp")); n != 0 {
		t.Errorf("%d containers after scale 0", n)
	}
	s.tvsctl(t, "scale", "webapp=2") // from the kept create spec
	state(ipc.StateUp, ipc.ExitOK, 2, 2)
	s.m.must(t, "docker", "pause", "course-webapp-2")
	if r := s.m.tvsctl("-p", s.name, "status"); r.code != ipc.ExitDegraded {
		t.Errorf("with a paused replica status exits with %d", r.code)
	}
	s.m.must(t, "docker", "unpause", "course-webapp-2")
	unchanged(t, s, 2, "--scale", "webapp=2", "--no-recreate")
}

// TestJournal: one scale can be read in the journal from the request to the outcome.
func TestJournal(t *testing.T) {
	s := &stack{m: shared, name: "journal", port: 3406}
	s.up(t)
	var o ipc.Operation
	s.m.ask(t, &o, "-p", s.name, "scale", "webapp", "2")
	for _, query := range [][]string{{"TVS_OPERATION=" + o.ID}, {"-u", "tvsctld", "--since", "-1min"}} {
		var out string
		s.m.eventually(t, 5*time.Second, "the journal has the outcome", func() bool {
			out = s.m.must(t, append([]string{"journalctl", "-o", "cat", "--no-pager"}, query...)...)
			return strings.Contains(out, "Succeeded to scale webapp from 1 to 2")
		})
		at := 0
		for _, sentence := range []string{"root asks to scale webapp from 1 to 2 in project journal.", "create journal-webapp-2.",
			"start journal-webapp-2.", "publish to nginx.", "Succeeded to scale webapp from 1 to 2 in"} {
			i := strings.Index(out[at:], sentence)
			if i < 0 {
				t.Fatalf("the journal (%v) does not say %q after what came before:\n%s", query, sentence, out)
			}
			at += i
		}
	}
	fields := s.m.must(t, "journalctl", "-o", "json", "--no-pager", "TVS_OPERATION="+o.ID, "-n", "1")
	for _, field := range []string{`"TVS_PROJECT":"journal"`, `"TVS_UID":"0"`, `"SYSLOG_IDENTIFIER":"tvsctld"`, `"MESSAGE_ID":"`} {
		if !strings.Contains(fields, field) {
			t.Errorf("no %s in %s", field, fields)
		}
	}
}
