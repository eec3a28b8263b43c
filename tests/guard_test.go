//go:build e2e

package tests

import (
	"slices"
	"strings"
	"testing"
	"time"
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
	serving := s.upstream(t)
	slices.Sort(serving)
	return slices.Equal(serving, s.addresses(t))
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
		s.m.must(t, "docker", "kill", "killed-webapp-2")
		took = s.m.eventually(t, 5*time.Second, "the dead replica leaves the upstream", func() bool {
			return !slices.Contains(s.upstream(t), victim)
		})
	})
	t.Logf("out of the upstream %v after docker kill; requests: %v", took.Round(time.Millisecond), r)
	if took > time.Second {
		t.Errorf("the dead replica was in the upstream for %v", took)
	}
	// What it was working on is lost with it; nothing that came later may be.
	if most := 40; r.Failed > most {
		t.Errorf("%d requests failed, more than the %d that a replica had in hand in that time", r.Failed, most)
	}
	s.m.must(t, "docker", "start", "killed-webapp-2")
	s.m.eventually(t, 5*time.Second, "the restarted replica is back", func() bool { return len(s.upstream(t)) == 3 && s.right(t) })
}

// TestUnhealthyReplicaLeaves: an unhealthy replica leaves while a healthy one
// remains; when all are unhealthy they stay.
func TestUnhealthyReplicaLeaves(t *testing.T) {
	s := &stack{m: shared, name: "sick", port: 3302,
		service: "healthcheck:\n  test: [\"CMD\", \"/app\", \"-check\"]\n  interval: 1s\n  retries: 1\n  timeout: 1s\n"}
	s.up(t)
	s.tvsctl(t, "scale", "webapp", "2")
	if n := len(s.upstream(t)); n != 2 {
		t.Fatalf("%d members", n)
	}
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
			return len(s.addresses(t)) == 3 && s.m.run("docker", "exec", "moved-entry-1", "true").code == 0 && s.right(t)
		})
		s.tvsctl(t, "verify", "-n", "30")
	}
}
