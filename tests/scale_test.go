//go:build e2e

package tests

import (
	"slices"
	"testing"
	"time"
)

// TestNoRequestFails is the main promise: 100 POST/s of 300 ms each, open loop, while
// the service is scaled, and none fails.
func TestNoRequestFails(t *testing.T) {
	shared.newNginx(t)
	nginxes := []struct {
		name      string
		image     string
		keepalive bool
		entry     map[string]string
	}{
		{"nginx 1.26, client keep-alive off", "tvs-entry", false, nil},
		{"nginx 1.30, keep-alive clients", "entry-new", true, nil},
	}
	walks := []struct {
		name   string
		counts []string
		count  int
	}{
		{"4-1-4", []string{"4", "1", "4"}, 3000},
		{"1-10-1", []string{"1", "10", "1"}, 3000},
	}
	port := 3100
	for _, nginx := range nginxes {
		for _, onTerm := range []string{"drain", "exit"} {
			for _, walk := range walks {
				port++
				t.Run(nginx.name+"/"+onTerm+"/"+walk.name, func(t *testing.T) {
					s := &stack{m: shared, name: "load", port: port, image: nginx.image, entry: nginx.entry,
						env: map[string]string{"ON_TERM": onTerm}}
					s.up(t)
					s.tvsctl(t, "scale", "webapp", walk.counts[0])
					r := s.underLoad(t, walk.count, nginx.keepalive, func() { walkCounts(t, s, walk.counts[1:]) })
					t.Logf("%s, on SIGTERM %s, %s: %v", nginx.name, onTerm, walk.name, r)
					if r.Failed > 0 {
						t.Errorf("%d requests failed: %v\n%s", r.Failed, r.Errors, s.story())
					}
					// A server that is lost costs 2 s, proxy_connect_timeout of entry. What the
					// machine itself stood still is no doing of ours.
					if r.P99 >= 1500+r.Stall {
						t.Errorf("p99 is %.0f ms, want under 1500 (and %.0f that the machine stood still)", r.P99, r.Stall)
					}
				})
			}
		}
	}
}

// walkCounts scales to each count, with time for requests to flow between.
func walkCounts(t *testing.T, s *stack, counts []string) {
	t.Helper()
	for _, n := range counts {
		pass := time.NewTimer(4 * time.Second)
		<-pass.C
		s.tvsctl(t, "scale", "webapp", n)
	}
}

// TestKeepAliveWithOldNginx prints what remains where neither keepalive_min_timeout
// exists nor keep-alive is off: it is what README and status say, not a promise.
func TestKeepAliveWithOldNginx(t *testing.T) {
	s := &stack{m: shared, name: "oldkeep", port: 3120, env: map[string]string{"ON_TERM": "exit"},
		entry: map[string]string{"TVS_KEEPALIVE": "75s"}}
	s.up(t)
	s.tvsctl(t, "scale", "webapp", "4")
	r := s.underLoad(t, 3000, true, func() { walkCounts(t, s, []string{"1", "4"}) })
	t.Logf("nginx 1.26, keep-alive clients, keep-alive on: %v", r)
	var problems []string
	for _, n := range s.m.status(t, s.name).Nginx {
		problems = append(problems, n.Problems...)
	}
	if !slices.ContainsFunc(problems, func(p string) bool { return len(p) > 0 }) {
		t.Error("status does not say that requests can be lost")
	}
}
