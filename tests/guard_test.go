//go:build e2e

package tests

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"tvsctl/ipc"
)

// addresses returns the addresses that the running replicas of webapp have.
func (s *stack) addresses(t testing.TB) []string {
	t.Helper()
	out := s.m.sh(t, `for id in $(docker ps -q --filter label=com.docker.compose.project=`+s.name+` --filter label=com.docker.compose.service=webapp); do
		docker inspect -f '{{range .NetworkSettings.Networks}}{{.IPAddress}}:8080{{end}}' $id; done`)
	list := strings.Fields(out)
	slices.Sort(list)
	return list
}

// right reports whether nginx serves exactly the running replicas.
func (s *stack) right(t testing.TB) bool {
	t.Helper()
	file := s.m.run("docker", "exec", s.name+"-entry-1", "cat", upstreamFile)
	if file.code != 0 {
		return false // while entry starts it is not there for a moment
	}
	serving := servers(file.out)
	slices.Sort(serving)
	return slices.Equal(serving, s.addresses(t))
}

// leaves runs a command that kills a replica and returns how long its address was in
// nginx's file after that, 5 s at most. It looks in the machine: from outside a look takes
// a part of the second that is measured.
func (m *machine) leaves(t testing.TB, kill, address, file string) time.Duration {
	t.Helper()
	out := m.sh(t, kill+` >&2; start=${EPOCHREALTIME/./}; us=0
while grep -qF 'server `+address+`' `+file+` && [ $us -lt 5000000 ]; do sleep 0.02; us=$((${EPOCHREALTIME/./} - start)); done
grep -q '^upstream webapp ' `+file+` && echo $us`)
	us, err := strconv.Atoi(strings.TrimSpace(out))
	if err != nil {
		t.Fatal(err)
	}
	return time.Duration(us) * time.Microsecond
}

// TestDeadReplicaLeaves: a replica that is killed is out of the upstream within a
// second, and comes back with its restart.
func TestDeadReplicaLeaves(t *testing.T) {
	s := &stack{m: shared, name: "killed", port: 3301, restart: "no"}
	s.up(t)
	s.tvsctl(t, "scale", "webapp", "3")
	var took time.Duration
	r := s.underLoad(t, 1000, false, func() {
		victim := strings.TrimSpace(s.m.must(t, "docker", "inspect", "-f", "{{range .NetworkSettings.Networks}}{{.IPAddress}}:8080{{end}}", "killed-webapp-2"))
		pid := strings.TrimSpace(s.m.must(t, "docker", "inspect", "-f", "{{.State.Pid}}", "killed-entry-1"))
		took = s.m.leaves(t, "docker kill killed-webapp-2", victim, "/proc/"+pid+"/root"+upstreamFile)
	})
	stall := time.Duration(r.Stall) * time.Millisecond
	t.Logf("out of the upstream %v after docker kill; requests: %v", took.Round(time.Millisecond), r)
	if took > time.Second+stall { // what the machine itself stood still is no doing of ours
		t.Errorf("the dead replica was in the upstream for %v", took)
	}
	// What it was working on is lost with it; nothing that came later may be. Every 30 ms
	// it is given a request.
	if most := 40 + int(r.Stall/30); r.Failed > most {
		t.Errorf("%d requests failed, more than the %d that a replica had in hand in that time", r.Failed, most)
	}
	s.m.must(t, "docker", "start", "killed-webapp-2")
	s.m.eventually(t, 5*time.Second, "the restarted replica is back", func() bool { return len(s.upstream(t)) == 3 && s.right(t) })
}

// TestUnhealthyReplicaLeaves: an unhealthy replica leaves while a healthy one
// remains; when all are unhealthy they stay.
func TestUnhealthyReplicaLeaves(t *testing.T) {
	s := &stack{m: shared, name: "sick", port: 3302,
		service: "healthcheck:\n  test: [\"CMD\", \"/app\", \"-check\"]\n  interval: 1s\n  retries: 1\n  timeout: 5s\n"}
	s.up(t)
	s.tvsctl(t, "scale", "webapp", "2")
	s.m.eventually(t, 10*time.Second, "both are served", func() bool { return len(s.upstream(t)) == 2 })
	sick := func(name string) {
		t.Helper()
		s.m.sh(t, "touch /tmp/sick && docker cp -q /tmp/sick "+name+":/tmp/sick")
	}
	sick("sick-webapp-1")
	s.m.eventually(t, 10*time.Second, "the unhealthy replica leaves", func() bool { return len(s.upstream(t)) == 1 })
	sick("sick-webapp-2")
	s.m.eventually(t, 10*time.Second, "all are back when none is healthy", func() bool { return len(s.upstream(t)) == 2 })
	s.tvsctl(t, "nginx", "test")
}

// TestRestartsLeaveNoStaleAddress: after dockerd or nginx was restarted, nginx
// serves the addresses that the replicas have now.
func TestRestartsLeaveNoStaleAddress(t *testing.T) {
	t.Parallel()
	m := own(t, "dockerd")
	if err := m.install(); err != nil {
		t.Fatal(err)
	}
	s := &stack{m: m, name: "moved", port: 3001}
	s.up(t)
	// Containers beside it that compete for the addresses.
	other := &stack{m: m, name: "other", port: 3002}
	other.up(t)
	s.tvsctl(t, "scale", "webapp", "3")
	for _, what := range []string{"docker restart -t 1 moved-entry-1", "systemctl restart docker", "docker kill moved-entry-1 && docker start moved-entry-1",
		"docker restart -t 1 moved-webapp-1 moved-webapp-3"} {
		m.sh(t, what)
		m.eventually(t, 20*time.Second, "nginx serves the replicas' addresses after: "+what, func() bool {
			// The file is there a moment before the workers that have read it.
			return len(s.addresses(t)) == 3 && s.right(t) && m.tvsctl("-p", s.name, "verify", "-n", "30").code == 0
		})
	}
}

// TestRestoreAfterDocker: replicas without a restart policy come back with Docker,
// but for those that somebody stopped before.
func TestRestoreAfterDocker(t *testing.T) {
	t.Parallel()
	m := own(t, "restore")
	if err := m.install(); err != nil {
		t.Fatal(err)
	}
	s := &stack{m: m, name: "nopolicy", port: 3001, restart: "no"}
	s.up(t)
	s.tvsctl(t, "scale", "webapp", "3")
	halted := &stack{m: m, name: "halted", port: 3002, restart: "no"}
	halted.up(t)
	halted.tvsctl(t, "scale", "webapp", "2")
	m.must(t, "docker", "stop", "-t", "1", "halted-webapp-1", "halted-webapp-2")
	says := regexp.MustCompile(`(?m)^Somebody stopped (.*): tvsctld leaves them so\.$`)
	m.eventually(t, 15*time.Second, "the stop is taken for what somebody wants", func() bool {
		var names []string // of one line, or of two if the second ended a while after the first
		for _, line := range says.FindAllStringSubmatch(m.journalctl(t, "-u", "tvsctld", "-o", "cat"), -1) {
			names = append(names, strings.Split(line[1], ", ")...)
		}
		slices.Sort(names)
		return slices.Equal(names, []string{"halted-webapp-1", "halted-webapp-2"})
	})
	m.must(t, "systemctl", "restart", "docker")
	m.eventually(t, 20*time.Second, "the replicas are back and served", func() bool {
		return m.tvsctl("-p", s.name, "status").code == 0 && len(s.addresses(t)) == 3 && s.right(t)
	})
	if n := m.service(t, halted.name, "webapp").Running; n != 0 {
		t.Errorf("%d replicas run that somebody stopped", n)
	}
	if r := m.tvsctl("-p", halted.name, "start"); r.code != 0 {
		t.Error(r)
	}
}

// TestGrace: where nginx knows keepalive_min_timeout and the stack does not set it,
// the first publication does.
func TestGrace(t *testing.T) {
	shared.newNginx(t)
	s := &stack{m: shared, name: "grace", port: 3303, image: "entry-new", entry: map[string]string{"TVS_KEEPALIVE": "75s"}}
	s.up(t)
	s.tvsctl(t, "scale", "webapp", "2")
	if out := s.m.must(t, "docker", "exec", "grace-entry-1", "nginx", "-T"); !strings.Contains(out, "keepalive_min_timeout 3s;") {
		t.Error("keepalive_min_timeout is not in force")
	}
	for _, n := range s.m.status(t, s.name).Nginx {
		if len(n.Problems) > 0 {
			t.Errorf("status complains: %v", n.Problems)
		}
	}
}

// TestNginxWithoutInclude: it is reloaded all the same, and both the command and
// status say that requests can be lost.
func TestNginxWithoutInclude(t *testing.T) {
	s := &stack{m: shared, name: "noinclude", port: 3304}
	s.write(t)
	text := strings.Replace(s.yaml(), "tvs.nginx: \"webapp:8080\"\n", "tvs.nginx: \"webapp:8080\"\n      tvs.nginx.upstreams: /etc/nginx/elsewhere\n", 1)
	writeFile(t, s.m, s.file(), text)
	t.Cleanup(func() { s.m.run("docker", "compose", "-f", s.file(), "down", "-t", "1", "-v") })
	s.compose(t, "up", "-d")
	const says = "does not include /etc/nginx/elsewhere/*.conf: requests can be lost"
	if out := s.tvsctl(t, "scale", "webapp", "2"); !strings.Contains(out, says) {
		t.Errorf("the command does not say it: %s", out)
	}
	if out := s.tvsctl(t, "status"); !strings.Contains(out, says) {
		t.Errorf("status does not say it: %s", out)
	}
	// Mended by the user, and reloaded: from now on it is served.
	s.m.must(t, "docker", "exec", "noinclude-entry-1", "sh", "-c",
		"mkdir -p /etc/nginx/elsewhere && rm /etc/nginx/upstreams/*.conf && sed -i 's,/etc/nginx/upstreams/,/etc/nginx/elsewhere/,' /etc/nginx/nginx.conf && printf 'upstream webapp { server 127.0.0.1:9 down; }\n' >/etc/nginx/elsewhere/webapp.conf")
	s.tvsctl(t, "nginx", "reload")
	if out := s.tvsctl(t, "status"); strings.Contains(out, says) {
		t.Errorf("status still says it: %s", out)
	}
	s.m.eventually(t, 10*time.Second, "it is served", func() bool { return s.m.tvsctl("-p", s.name, "verify").code == 0 })
}

// TestFrozenDocker: with an engine that hangs a request gets its answer all the same.
func TestFrozenDocker(t *testing.T) {
	m := own(t, "frozen")
	if err := m.install(); err != nil {
		t.Fatal(err)
	}
	s := &stack{m: m, name: "frozen", port: 3001}
	s.up(t)
	m.must(t, "tvsctl", "status")
	m.sh(t, "kill -STOP $(pidof dockerd)")
	r := m.tvsctl("status")
	m.sh(t, "kill -CONT $(pidof dockerd)")
	if r.code != ipc.ExitDocker || r.took > 30*time.Second {
		t.Errorf("with a frozen engine: %s", r)
	}
	m.must(t, "tvsctl", "scale", "webapp", "2")
	if starts := strings.Count(m.journalctl(t, "-u", "tvsctld", "-o", "cat"), "serves /run"); starts != 1 {
		t.Errorf("the daemon was started %d times", starts)
	}
}
