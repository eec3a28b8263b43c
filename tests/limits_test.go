//go:build e2e

package tests

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"tvsctl/ipc"
)

// TestBrokenNginxUnderLoad: with a configuration of the user's own that nginx refuses,
// no change begins, no request fails, and all is as before.
func TestBrokenNginxUnderLoad(t *testing.T) {
	s := &stack{m: shared, name: "brokenload", port: 3801, env: map[string]string{"ON_TERM": "exit"}}
	s.up(t)
	s.tvsctl(t, "scale", "webapp", "3")
	before, upstream := s.ids(t, "webapp"), s.upstream(t)
	s.m.must(t, "docker", "exec", "brokenload-entry-1", "sh", "-c", "echo 'nonsense on;' >/etc/nginx/upstreams/zz.conf")
	r := s.underLoad(t, 800, false, func() {
		for _, args := range [][]string{{"scale", "webapp", "5"}, {"scale", "webapp", "1"}, {"nginx", "reload"}, {"stop"}} {
			if r := s.m.tvsctl(append([]string{"-p", s.name}, args...)...); r.code != ipc.ExitNginx || !strings.Contains(r.err, `unknown directive "nonsense"`) {
				t.Errorf("%s", r)
			}
		}
	})
	t.Logf("with a broken configuration: %v", r)
	if r.Failed > 0 {
		t.Errorf("%d requests failed", r.Failed)
	}
	if after := s.ids(t, "webapp"); !maps.Equal(before, after) || !slices.Equal(s.upstream(t), upstream) || s.running(t) != 3 {
		t.Errorf("before %v and %v, after %v and %v", before, upstream, after, s.upstream(t))
	}
	if n := s.m.service(t, s.name, "webapp").Desired; n != 3 {
		t.Errorf("%d desired", n)
	}
	s.m.must(t, "docker", "exec", "brokenload-entry-1", "rm", "/etc/nginx/upstreams/zz.conf")
	s.tvsctl(t, "scale", "webapp", "1")
}

// TestPortTaken: the next port of a published range is somebody else's, a container's or
// a program's. The scale says so, and is taken back.
func TestPortTaken(t *testing.T) {
	s := &stack{m: shared, name: "ports", port: 3802, service: "ports: [\"3811-3812:8080\"]\n"}
	s.up(t)
	s.m.eventually(t, 10*time.Second, "it is served", func() bool { return s.m.tvsctl("-p", s.name, "status").code == 0 && s.right(t) })
	before, upstream := s.ids(t, "webapp"), s.upstream(t)
	for _, taker := range []struct{ take, release, says string }{
		{"docker run -d --name=taker -p 3812:8080 app", "docker rm -f taker", "all ports are allocated"},
		{"systemd-run -q --unit=taker busybox httpd -f -p 3812", "systemctl stop taker", "0.0.0.0:3812: bind: address already in use"},
	} {
		s.m.sh(t, taker.take)
		t.Cleanup(func() { s.m.run("sh", "-c", taker.release) })
		s.m.eventually(t, 5*time.Second, "the port is taken", func() bool {
			return s.m.run("sh", "-c", "ss -Hltn 'sport = :3812' | grep -q .").code == 0
		})
		r := s.m.tvsctl("-p", s.name, "scale", "webapp", "2")
		if r.code != ipc.ExitNotReady || !strings.Contains(r.err, "ports-webapp-2 cannot be started: ") || !strings.Contains(r.err, taker.says) {
			t.Errorf("taken by %s: %s", taker.take, r)
		}
		if after := s.ids(t, "webapp"); !maps.Equal(before, after) || !slices.Equal(s.upstream(t), upstream) || s.m.service(t, s.name, "webapp").Desired != 1 {
			t.Errorf("before %v and %v, after %v and %v", before, upstream, after, s.upstream(t))
		}
		s.m.sh(t, taker.release)
	}
	s.tvsctl(t, "scale", "webapp", "2")
}

// stateOnTmpfs puts the daemon's state on a file system of its own, with what it has.
func stateOnTmpfs(t *testing.T, m *machine) {
	t.Helper()
	m.sh(t, `systemctl stop tvsctld.socket tvsctld.service 2>/dev/null; cd /var/lib && mv tvsctld before && mkdir -m 700 tvsctld
mount -t tmpfs -o size=256k,mode=0700 tmpfs tvsctld && cp -a before/. tvsctld && systemctl start tvsctld.socket`)
}

// TestStateUnwritable: with a state directory that is full, or read-only, a change is
// refused before it does anything, everything else goes on, and when the directory is
// mended so do changes. What was refused is not done later.
func TestStateUnwritable(t *testing.T) {
	m := own(t, "str-state")
	if err := m.install(); err != nil {
		t.Fatal(err)
	}
	s := &stack{m: m, name: "full", port: 3001, restart: "no"}
	s.up(t)
	s.tvsctl(t, "scale", "webapp", "3")
	refused := func(t *testing.T, args ...string) bool {
		t.Helper()
		before := s.ids(t, "webapp")
		r := m.tvsctl(append([]string{"-p", s.name}, args...)...)
		if r.code == 0 {
			return false
		}
		if after := s.ids(t, "webapp"); r.code != ipc.ExitState || !strings.Contains(r.err, "state") || fmt.Sprint(after) != fmt.Sprint(before) || s.running(t) != len(before) {
			t.Errorf("%s\nbefore %v, after %v", r, before, after)
		}
		return true
	}
	// guarded: reads work, and a replica that dies leaves nginx.
	guarded := func(t *testing.T) {
		t.Helper()
		for _, args := range [][]string{{"status"}, {"ops"}, {"projects"}, {"verify"}} {
			s.tvsctl(t, args...)
		}
		count := s.running(t)
		victim := fmt.Sprintf("%s-webapp-%d", s.name, count)
		m.must(t, "docker", "kill", victim)
		m.eventually(t, 5*time.Second, "the dead replica leaves", func() bool { return len(s.upstream(t)) == count-1 && s.right(t) })
		m.must(t, "docker", "start", victim)
		m.eventually(t, 5*time.Second, "it is back", func() bool { return len(s.upstream(t)) == count && s.right(t) })
	}
	concluded := func(t *testing.T) {
		t.Helper()
		s.tvsctl(t, "scale", "webapp", "3")
		var list []ipc.Operation
		m.ask(t, &list, "ops")
		for _, o := range list {
			if !o.State.Finished() {
				t.Errorf("without an outcome: %+v", o)
			}
		}
	}
	works := func(t *testing.T) {
		t.Helper()
		for _, count := range []int{2, 3} {
			s.tvsctl(t, "scale", "webapp", strconv.Itoa(count))
			if n := len(s.ids(t, "webapp")); n != count {
				t.Errorf("%d replicas", n)
			}
		}
		concluded(t)
	}

	t.Run("full", func(t *testing.T) {
		stateOnTmpfs(t, m)
		s.tvsctl(t, "status")
		pid := m.show(t, "MainPID")
		// exhaust leaves room for some pages, and uses it up with changes that do nothing.
		exhaust := func(room int) {
			out := m.sh(t, fmt.Sprintf(`cd /var/lib/tvsctld; dd if=/dev/zero of=fill bs=4k 2>/dev/null; truncate -s -%d fill
for i in $(seq 200); do tvsctl -p full scale webapp 3 >/dev/null 2>/tmp/refused || { echo $?; break; }; done`, room*4096))
			if strings.TrimSpace(out) != strconv.Itoa(ipc.ExitState) {
				t.Errorf("with room for %d pages: %q %s", room, out, m.run("cat", "/tmp/refused").out)
			}
		}
		// The room ends in any of the writes of a change: what failed is over all the same.
		for room := range 5 {
			exhaust(room)
			m.must(t, "rm", "/var/lib/tvsctld/fill")
			concluded(t)
		}
		exhaust(0)
		for _, args := range [][]string{{"scale", "webapp", "6"}, {"scale", "webapp", "1"}, {"stop"}, {"reset", "2"}} {
			if !refused(t, args...) {
				t.Errorf("%v was done", args)
			}
		}
		guarded(t)
		m.must(t, "rm", "/var/lib/tvsctld/fill")
		works(t)
		if now := m.show(t, "MainPID"); now != pid {
			t.Errorf("the daemon was started again\n%s", m.journal())
		}
		// The next life takes nothing up.
		m.must(t, "systemctl", "restart", "tvsctld.service")
		s.tvsctl(t, "status")
		guarded(t)
		if n := len(s.ids(t, "webapp")); n != 3 || strings.Contains(m.journal(), "Taking up again") {
			t.Errorf("%d replicas\n%s", n, m.journal())
		}
	})
	t.Run("read-only", func(t *testing.T) {
		m.sh(t, "systemctl stop tvsctld.socket tvsctld.service 2>/dev/null; mount -o remount,ro /var/lib/tvsctld; systemctl start tvsctld.socket")
		if out := s.tvsctl(t, "status"); !strings.Contains(out, "changes are refused") {
			t.Errorf("status does not say it: %s", out)
		}
		for _, args := range [][]string{{"scale", "webapp", "4"}, {"scale", "webapp", "1"}, {"stop"}} {
			if !refused(t, args...) {
				t.Errorf("%v was done", args)
			}
		}
		guarded(t)
		// Its mount namespace was made when the mount was read-only, and stays so.
		m.sh(t, "mount -o remount,rw /var/lib/tvsctld; systemctl restart tvsctld.service")
		works(t)
		if out := s.tvsctl(t, "status"); strings.Contains(out, "changes are refused") {
			t.Errorf("status still says: %s", out)
		}
	})
}
