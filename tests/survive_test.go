//go:build e2e

package tests

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"tvsctl/ipc"
)

// TestKilledDaemon: the daemon is killed at any moment of a change, under load; the
// next one takes the change up and ends it, nothing is left over, and no request fails.
func TestKilledDaemon(t *testing.T) {
	t.Parallel()
	m := own(t, "killed")
	if err := m.install(); err != nil {
		t.Fatal(err)
	}
	s := &stack{m: m, name: "survivor", port: 3001, env: map[string]string{"ON_TERM": "exit"}}
	s.up(t)
	s.tvsctl(t, "scale", "webapp", "4")
	const kills = 24
	interrupted := 0
	r := s.underLoad(t, 6000, false, func() {
		for i := range kills {
			count := []int{1, 4}[i%2]
			id := strings.TrimSpace(s.tvsctl(t, "scale", "webapp", fmt.Sprint(count), "--detach"))
			// Over the whole of a change: it takes about half a second.
			pass := time.NewTimer(time.Duration(i) * 30 * time.Millisecond)
			<-pass.C
			m.sh(t, "kill -KILL $(systemctl show -p MainPID --value tvsctld.service)")
			if out := m.must(t, "tvsctl", "ops", id, "--follow"); !strings.Contains(out, fmt.Sprintf("webapp has %d ready", count)) {
				t.Errorf("killed after %d ms: %s", 30*i, out)
			}
			if n := len(s.ids(t, "webapp")); n != count || len(s.upstream(t)) != count || !s.right(t) {
				t.Errorf("killed after %d ms: %d containers, upstream %v of %v", 30*i, n, s.upstream(t), s.addresses(t))
			}
		}
		interrupted = strings.Count(m.journalctl(t, "-u", "tvsctld", "-o", "cat"), "Taking up again")
	})
	t.Logf("%d kills, %d changes taken up again; requests: %v", kills, interrupted, r)
	if r.Failed > 0 {
		t.Errorf("%d requests failed", r.Failed)
	}
	if interrupted < 5 {
		t.Error("hardly a change was interrupted: the test shows nothing")
	}
	unchanged(t, s, 4, "--scale", "webapp=4", "--no-recreate")
	var list []ipc.Operation
	m.ask(t, &list, "ops")
	if len(list) != kills+1 {
		t.Errorf("%d operations on record, want %d", len(list), kills+1)
	}
	for _, o := range list {
		if o.State != ipc.OperationSucceeded {
			t.Errorf("%+v", o)
		}
	}
}

// TestStopInTheMiddle: systemctl stop lets a running change come to its end, and its
// client hears of it.
func TestStopInTheMiddle(t *testing.T) {
	s := &stack{m: shared, name: "halfway", port: 3701, env: map[string]string{"READY_AFTER": "2s"}}
	s.up(t)
	done := make(chan result, 1)
	go func() { done <- s.m.tvsctl("-p", s.name, "scale", "webapp", "3") }()
	s.m.eventually(t, 10*time.Second, "the change is under way", func() bool { return len(s.ids(t, "webapp")) == 3 })
	s.m.must(t, "systemctl", "stop", "tvsctld.service")
	if r := <-done; r.code != 0 {
		t.Errorf("%s\n%s", r, s.m.journal())
	}
	if n := s.m.service(t, s.name, "webapp").Ready; n != 3 {
		t.Errorf("%d ready replicas", n)
	}
}

// TestCancel: an operation that waits does not begin, one that runs is taken back.
func TestCancel(t *testing.T) {
	s := &stack{m: shared, name: "second", port: 3702, env: map[string]string{"READY_AFTER": "20s"}, service: "labels:\n  tvs.ready.timeout: 60s\n"}
	s.write(t)
	t.Cleanup(func() { s.m.run("docker", "compose", "-f", s.file(), "down", "-t", "1") })
	s.compose(t, "up", "-d")
	running := strings.TrimSpace(s.tvsctl(t, "scale", "webapp", "3", "-d"))
	waiting := strings.TrimSpace(s.tvsctl(t, "scale", "webapp", "5", "-d"))
	s.m.eventually(t, 10*time.Second, "the change is under way", func() bool { return len(s.ids(t, "webapp")) == 3 })
	for _, id := range []string{waiting, running} {
		s.tvsctl(t, "ops", "cancel", id)
		var o ipc.Operation
		s.m.ask(t, &o, "ops", id)
		if o.State != ipc.OperationFailed || o.Error.Code != ipc.CodeCanceled || !strings.Contains(o.Error.Message, "canceled by root") {
			t.Errorf("%+v %+v", o, o.Error)
		}
	}
	if ids := s.ids(t, "webapp"); len(ids) != 1 {
		t.Errorf("left %v", ids)
	}
	if r := s.m.tvsctl("-p", s.name, "ops", running, "--follow"); r.code != ipc.ExitCanceled {
		t.Errorf("following it: %s", r)
	}
}
