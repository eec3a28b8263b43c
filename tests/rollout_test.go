//go:build e2e

package tests

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"tvsctl/ipc"
)

// newImages makes images of the test application: app:two, and ones that fail.
func newImages(t *testing.T, m *machine) {
	t.Helper()
	for tag, change := range map[string]string{"two": "ENV NEXT=two", "mute": "ENV NEVER_READY=1", "dies": "ENV EXIT_AFTER=2500ms EXIT_CODE=3", "gone": `ENTRYPOINT ["/nothing"]`} {
		m.sh(t, fmt.Sprintf(`tar -C /tmp/app -c . | docker import -c 'ENTRYPOINT ["/app"]' -c 'EXPOSE 8080' -c '%s' - app:%s`, change, tag))
	}
}

// images are those of the running replicas.
func (s *stack) images(t *testing.T) string {
	t.Helper()
	out := strings.Fields(s.m.must(t, "docker", "ps", "--format", "{{.Image}}", "--filter", "label=com.docker.compose.project="+s.name,
		"--filter", "label=com.docker.compose.service=webapp"))
	slices.Sort(out)
	return strings.Join(out, " ")
}

// TestRolloutUnderLoad: four replicas get a new image under load and no request fails,
// never with fewer ready replicas than before; docker compose in the same run for
// comparison.
func TestRolloutUnderLoad(t *testing.T) {
	newImages(t, shared)
	s := &stack{m: shared, name: "rolls", port: 3901, env: map[string]string{"ON_TERM": "exit"}, service: "labels: {tvs.rollout.settle: 2s}\n"}
	s.up(t)
	s.tvsctl(t, "scale", "webapp", "4")
	var least atomic.Int64
	least.Store(99)
	var took time.Duration
	r := s.underLoad(t, 2000, false, func() {
		done := make(chan result, 1)
		go func() { done <- s.m.tvsctl("-p", s.name, "rollout", "webapp", "--image", "app:two") }()
		for {
			select {
			case r := <-done:
				if took = r.took; r.code != 0 {
					t.Errorf("%s\n%s", r, s.m.journal())
				}
				return
			default:
				least.Store(min(least.Load(), int64(s.m.service(t, s.name, "webapp").Ready)))
			}
		}
	})
	t.Logf("rollout of 4 replicas in %v, at least %d ready: %v", took.Round(100*time.Millisecond), least.Load(), r)
	if r.Failed > 0 || least.Load() < 4 {
		t.Errorf("%d requests failed, at least %d replicas were ready", r.Failed, least.Load())
	}
	if got := s.images(t); got != "app:two app:two app:two app:two" {
		t.Errorf("the replicas are of %s", got)
	}
	// With the image written down, compose finds nothing to do.
	s.tvsctl(t, "override", "-o", s.dir()+"/compose.override.yaml")
	unchanged(t, &stack{m: s.m, name: s.name, files: []string{s.file(), s.dir() + "/compose.override.yaml"}}, 4)

	compose := s.underLoad(t, 2000, false, func() {
		s.m.sh(t, "sed -i 's/app:two/app/' "+s.dir()+"/compose.override.yaml")
		s.m.must(t, "docker", "compose", "-f", s.file(), "-f", s.dir()+"/compose.override.yaml", "up", "-d")
	})
	t.Logf("docker compose up -d, the same change: %v", compose)
	if compose.Failed <= r.Failed {
		t.Error("docker compose lost nothing either: the test shows nothing")
	}
}

// TestBrokenRollout: a new image that does not become ready, cannot be started, or dies
// soon, changes nothing; the old replicas serve, and the reason is said.
func TestBrokenRollout(t *testing.T) {
	newImages(t, shared)
	s := &stack{m: shared, name: "unfit", port: 3902, env: map[string]string{"ON_TERM": "exit"}, restart: "no",
		service: "labels: {tvs.ready.timeout: 2s, tvs.rollout.settle: 3s}\n"}
	s.up(t)
	s.tvsctl(t, "scale", "webapp", "4")
	before := s.ids(t, "webapp")
	for _, c := range []struct{ tag, says string }{
		{"mute", "does not accept connections on port 8080 after 2s"},
		{"gone", "cannot be started"},
		{"dies", "exited with code 3 within 3s of being ready"},
	} {
		var out result
		r := s.underLoad(t, 600, false, func() { out = s.m.tvsctl("-p", s.name, "rollout", "webapp", "--image", "app:"+c.tag) })
		t.Logf("app:%s: %v", c.tag, r)
		if out.code != ipc.ExitNotReady || !strings.Contains(out.err, c.says) || !strings.Contains(out.err, "it is as before: webapp has 4 ready replicas") {
			t.Errorf("%s", out)
		}
		// One that dies with requests in its hands takes them with it.
		if r.Failed > 0 && c.tag != "dies" {
			t.Errorf("app:%s: %d requests failed", c.tag, r.Failed)
		}
		if after := s.ids(t, "webapp"); !maps.Equal(after, before) || !s.right(t) {
			t.Errorf("app:%s: %v, before %v; upstream %v", c.tag, after, before, s.upstream(t))
		}
	}
	unchanged(t, s, 4, "--scale", "webapp=4", "--no-recreate")
}

// TestRolloutToChangedFile: new replicas are what the changed compose file says, a
// tag that moved is followed, and compose has nothing to do afterwards.
func TestRolloutToChangedFile(t *testing.T) {
	newImages(t, shared)
	s := &stack{m: shared, name: "edited", port: 3903, env: map[string]string{"COLOUR": "blue"}, service: "labels: {tvs.rollout.settle: 0s}\n"}
	s.up(t)
	s.tvsctl(t, "scale", "webapp", "3")
	environment := func() string {
		return s.m.sh(t, "docker inspect -f '{{.Config.Env}}' $(docker ps -q --filter label=com.docker.compose.project=edited --filter label=com.docker.compose.service=webapp)")
	}
	if out := s.tvsctl(t, "rollout", "webapp"); !strings.Contains(out, "nothing to do") {
		t.Error(out)
	}
	s.env["COLOUR"] = "green"
	s.write(t)
	if out := s.tvsctl(t, "plan", "rollout", "webapp"); !strings.Contains(out, "let docker compose create edited-webapp-4") {
		t.Error(out)
	}
	s.tvsctl(t, "rollout", "webapp", "--max-surge", "2")
	if env := environment(); strings.Count(env, "COLOUR=green") != 3 {
		t.Error(env)
	}
	unchanged(t, s, 3, "--scale", "webapp=3")
	s.tvsctl(t, "rollback", "webapp")
	if env := environment(); strings.Count(env, "COLOUR=blue") != 3 {
		t.Error(env)
	}
	s.tvsctl(t, "rollout", "webapp")
	s.m.sh(t, "docker tag app app:kept; docker tag app:two app")
	defer s.m.sh(t, "docker tag app:kept app")
	s.tvsctl(t, "rollout", "webapp")
	if env := environment(); strings.Count(env, "COLOUR=green") != 3 || strings.Count(env, "NEXT=two") != 3 {
		t.Error(env)
	}
	unchanged(t, s, 3, "--scale", "webapp=3")
	s.tvsctl(t, "restart", "webapp", "--max-surge", "3")
	unchanged(t, s, 3, "--scale", "webapp=3")
}

// TestCanary: a rollout that holds goes on holding over restarts of the daemon and of the
// machine, keeps others from changing the service, and goes on or back.
func TestCanary(t *testing.T) {
	t.Parallel()
	m := own(t, "canary")
	if err := m.install(); err != nil {
		t.Fatal(err)
	}
	newImages(t, m)
	s := &stack{m: m, name: "canary", port: 3000, service: "labels: {tvs.rollout.settle: 1s}\n"}
	s.up(t)
	s.tvsctl(t, "scale", "webapp", "3")
	s.tvsctl(t, "rollout", "webapp", "--image", "app:two", "--pause-after", "1")
	holds := func() {
		t.Helper()
		if got := s.images(t); got != "app app app:two" {
			t.Errorf("the replicas are of %s", got)
		}
		service := s.m.service(t, s.name, "webapp")
		if r := service.Rollout; r == nil || !r.Paused || r.New != 1 || r.Count != 3 || service.Ready != 3 || len(service.Problems) > 0 {
			t.Errorf("%+v", service)
		}
	}
	holds()
	if r := m.tvsctl("scale", "webapp", "5"); r.code != ipc.ExitConflict || !strings.Contains(r.err, "rollout continue webapp") {
		t.Errorf("%s", r)
	}
	m.must(t, "systemctl", "restart", "tvsctld.service")
	holds()
	reboot(t, m)
	m.eventually(t, 30*time.Second, "all serve again", func() bool { return s.right(t) && len(s.upstream(t)) == 3 })
	holds()
	s.tvsctl(t, "rollback", "webapp")
	if got := s.images(t); got != "app app app" {
		t.Errorf("rolled back to %s", got)
	}
	s.tvsctl(t, "rollout", "webapp", "--image", "app:two", "--pause-after", "1")
	s.tvsctl(t, "rollout", "continue", "webapp")
	if got := s.images(t); got != "app:two app:two app:two" || len(s.ids(t, "webapp")) != 3 {
		t.Errorf("went on to %s, %v", got, s.ids(t, "webapp"))
	}
	if r := m.tvsctl("rollout", "continue", "webapp"); r.code != ipc.ExitConflict {
		t.Errorf("%s", r)
	}
}

// TestStopInARollout: systemctl stop does not wait for the end of a rollout; the next
// start of the daemon goes on with it, and its client hears of the end.
func TestStopInARollout(t *testing.T) {
	newImages(t, shared)
	s := &stack{m: shared, name: "pausing", port: 3904, env: map[string]string{"ON_TERM": "exit"}, service: "labels: {tvs.rollout.settle: 5s}\n"}
	s.up(t)
	s.tvsctl(t, "scale", "webapp", "2")
	r := s.underLoad(t, 1500, false, func() {
		done := make(chan result, 1)
		go func() { done <- s.m.tvsctl("-p", s.name, "rollout", "webapp", "--image", "app:two") }()
		s.m.eventually(t, 10*time.Second, "a new one serves", func() bool { return len(s.upstream(t)) == 3 })
		if stop := s.m.run("systemctl", "stop", "tvsctld.service"); stop.code != 0 || stop.took > 4*time.Second {
			t.Errorf("it does not stop at once: %s", stop)
		}
		s.m.must(t, "systemctl", "start", "tvsctld.service")
		if r := <-done; r.code != 0 || !strings.Contains(r.out, "webapp has 2 ready replicas of app:two") {
			t.Errorf("%s\n%s", r, s.m.journal())
		}
	})
	t.Log(r)
	if r.Failed > 0 {
		t.Errorf("%d requests failed", r.Failed)
	}
}
