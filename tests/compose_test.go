//go:build e2e

package tests

import (
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"tvsctl/ipc"
)

// unchanged runs plain compose with the count written on its command line, dry and
// for real, and demands that it finds nothing to do.
func unchanged(t *testing.T, s *stack, count int, args ...string) {
	t.Helper()
	before := s.ids(t, "webapp")
	if len(before) != count {
		t.Fatalf("there are %d containers, want %d: %v", len(before), count, before)
	}
	dry := s.compose(t, append([]string{"up", "-d", "--dry-run"}, args...)...)
	for _, verb := range []string{"Creat", "Recreat", "Start", "Stopp", "Remov"} {
		if strings.Contains(dry, verb) {
			t.Errorf("compose up --dry-run %v would change something:\n%s", args, dry)
		}
	}
	s.compose(t, append([]string{"up", "-d"}, args...)...)
	if after := s.ids(t, "webapp"); !maps.Equal(before, after) {
		t.Errorf("compose up %v changed the containers from %v to %v", args, before, after)
	}
}

func TestComposeFindsNothingToDo(t *testing.T) {
	s := &stack{m: shared, name: "same", port: 3201, env: map[string]string{"ON_TERM": "exit"},
		service: "networks: [front, back]\nvolumes: [\"data:/data\", \"/scratch\"]\nhealthcheck:\n  test: [\"CMD\", \"/app\", \"-check\"]\n  interval: 1s\n",
		extra:   "networks:\n  front: {}\n  back: {}\nvolumes:\n  data: {}\n"}
	text := strings.Replace(s.yaml(), "  entry:\n", "  entry:\n    networks: [front]\n", 1)
	s.write(t)
	writeFile(t, s.m, s.file(), text)
	t.Cleanup(func() { s.m.run("docker", "compose", "-f", s.file(), "down", "-t", "1", "-v") })
	s.compose(t, "up", "-d")
	for _, n := range []int{3, 5, 2, 4, 1, 3} {
		count := strconv.Itoa(n)
		s.tvsctl(t, "scale", "webapp", count)
		unchanged(t, s, n, "--scale", "webapp="+count, "--no-recreate")
	}
}

// TestOverrideAgrees: plain docker compose up, with the override beside the file,
// changes nothing, whether or not the file has deploy.replicas.
func TestOverrideAgrees(t *testing.T) {
	for _, form := range []struct{ name, service string }{
		{"scale", ""},
		{"deploy", "deploy:\n  replicas: 2\n"},
	} {
		t.Run(form.name, func(t *testing.T) {
			s := &stack{m: shared, name: "over-" + form.name, port: 3202, service: form.service}
			s.up(t)
			s.tvsctl(t, "scale", "webapp", "4")
			s.tvsctl(t, "override", "--write")
			before := s.ids(t, "webapp")
			out := s.m.sh(t, "cd "+s.dir()+" && ls && docker compose up -d 2>&1")
			if after := s.ids(t, "webapp"); len(before) != 4 || !maps.Equal(before, after) {
				t.Errorf("compose up changed the containers from %v to %v:\n%s", before, after, out)
			}
		})
	}
}

func writeFile(t testing.TB, m *machine, path, text string) {
	t.Helper()
	whole := filepath.Join(m.root, path)
	if err := os.MkdirAll(filepath.Dir(whole), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(whole, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestDrift: what docker compose changed is named, and the next scale works.
func TestDrift(t *testing.T) {
	s := &stack{m: shared, name: "drift", port: 3203}
	s.up(t)
	s.tvsctl(t, "scale", "webapp", "3")
	s.compose(t, "up", "-d", "--scale", "webapp=5", "--no-recreate")
	var service ipc.Service
	s.m.eventually(t, 5*time.Second, "status shows 5 ready replicas", func() bool {
		service = s.m.service(t, s.name, "webapp")
		return service.Ready == 5 && len(s.upstream(t)) == 5
	})
	if service.Desired != 3 || !strings.Contains(strings.Join(service.Problems, " "), "drift") {
		t.Errorf("status does not name the drift: %+v", service)
	}
	s.m.eventually(t, 10*time.Second, "the journal names the drift", func() bool {
		return strings.Contains(s.m.journal(), "Somebody else made it 5 replicas of webapp, where 3 are desired.")
	})
	s.tvsctl(t, "inc") // from what is there
	if service = s.m.service(t, s.name, "webapp"); service.Ready != 6 || service.Desired != 6 {
		t.Errorf("inc after drift to 5: %+v", service)
	}
	s.tvsctl(t, "scale", "webapp", "2")
	if service = s.m.service(t, s.name, "webapp"); service.Ready != 2 || service.Desired != 2 || len(service.Problems) != 0 {
		t.Errorf("after the next scale: %+v", service)
	}
	unchanged(t, s, 2, "--scale", "webapp=2", "--no-recreate")
}

// TestNothingComesBack: after docker compose down nothing of the project comes
// back, neither by itself nor with the machine; what was up does, as desired.
func TestNothingComesBack(t *testing.T) {
	t.Parallel()
	m := own(t, "reboot")
	if err := m.install(); err != nil {
		t.Fatal(err)
	}
	gone := &stack{m: m, name: "gone", port: 3001}
	gone.up(t)
	gone.tvsctl(t, "scale", "webapp", "3")
	stays := &stack{m: m, name: "stays", port: 3002}
	stays.up(t)
	stays.tvsctl(t, "scale", "webapp", "3")
	// Without a restart policy only tvsctld can bring them back.
	plain := &stack{m: m, name: "plain", port: 3003, restart: "no"}
	plain.write(t)
	writeFile(t, m, plain.file(), strings.ReplaceAll(plain.yaml(), "unless-stopped", "no"))
	plain.compose(t, "up", "-d")
	plain.tvsctl(t, "scale", "webapp", "2")
	halted := &stack{m: m, name: "halted", port: 3004}
	halted.up(t)
	halted.tvsctl(t, "scale", "webapp", "2")
	halted.tvsctl(t, "stop")
	stopped := &stack{m: m, name: "stopped", port: 3005, restart: "no"}
	stopped.up(t)
	stopped.tvsctl(t, "scale", "webapp", "2")
	stopped.compose(t, "stop", "-t", "1")
	gone.compose(t, "down", "-t", "1")

	reboot(t, m)
	m.eventually(t, 30*time.Second, "both projects serve what is desired", func() bool {
		s, p := m.tvsctl("-p", stays.name, "status"), m.tvsctl("-p", plain.name, "status")
		if s.code != 0 || p.code != 0 {
			t.Logf("not yet: %s%s", s, p)
		}
		return s.code == 0 && p.code == 0
	})
	for _, s := range []*stack{stays, plain} {
		if n := m.service(t, s.name, "webapp").Ready; n != map[*stack]int{stays: 3, plain: 2}[s] {
			t.Errorf("%s has %d ready replicas after the reboot", s.name, n)
		}
		m.eventually(t, 10*time.Second, s.name+" is served by nginx", func() bool {
			return s.right(t) && len(s.upstream(t)) == m.service(t, s.name, "webapp").Desired
		})
	}
	for _, s := range []*stack{halted, stopped} {
		if n := m.service(t, s.name, "webapp").Running; n != 0 {
			t.Errorf("%d replicas of project %s run after the reboot", n, s.name)
		}
	}
	if ids := gone.ids(t, "webapp"); len(ids) != 0 {
		t.Errorf("after docker compose down and a reboot there is %v", ids)
	}
	if r := m.tvsctl("-p", "gone", "scale", "webapp", "2"); r.code != ipc.ExitUnknown {
		t.Errorf("scaling a project that was taken down: %s", r)
	}
}
