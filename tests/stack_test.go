//go:build e2e

package tests

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// stack is a small project: an nginx, entry, in front of the test application, webapp.
type stack struct {
	m       *machine
	name    string
	port    int
	image   string            // of entry; "" means tvs-entry
	env     map[string]string // of webapp
	entry   map[string]string // environment of entry
	restart string            // policy of webapp; "" means unless-stopped
	service string            // further lines of webapp's service
	extra   string            // further services
	files   []string          // of compose; none means file()
}

const (
	indent4 = "    "
	indent6 = "      "
)

func (s *stack) yaml() string {
	var b strings.Builder
	fmt.Fprintf(&b, "name: %s\nservices:\n  entry:\n    image: %s\n    restart: unless-stopped\n    ports: [\"%d:80\"]\n    labels:\n      tvs.nginx: \"webapp:8080\"\n", s.name, cmp.Or(s.image, "tvs-entry"), s.port)
	writeEnv(&b, s.entry)
	fmt.Fprintf(&b, "  webapp:\n    image: app\n    restart: %q\n", cmp.Or(s.restart, "unless-stopped"))
	writeEnv(&b, s.env)
	for line := range strings.Lines(s.service) {
		b.WriteString(indent4 + strings.TrimRight(line, "\n") + "\n")
	}
	b.WriteString(s.extra)
	return b.String()
}

func writeEnv(b *strings.Builder, env map[string]string) {
	if len(env) > 0 {
		b.WriteString(indent4 + "environment:\n")
	}
	for key, value := range env {
		fmt.Fprintf(b, "%s%s: %q\n", indent6, key, value)
	}
}

func (s *stack) dir() string  { return "/srv/stacks/" + s.name }
func (s *stack) file() string { return s.dir() + "/compose.yaml" }

// write puts the compose file into the machine.
func (s *stack) write(t testing.TB) {
	t.Helper()
	dir := filepath.Join(s.m.root, s.dir())
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "compose.yaml"), []byte(s.yaml()), 0o644); err != nil {
		t.Fatal(err)
	}
}

// compose runs docker compose for the project.
func (s *stack) compose(t testing.TB, args ...string) string {
	t.Helper()
	argv := []string{"docker", "compose", "--ansi", "never", "-f", s.file()}
	if len(s.files) > 0 {
		argv = argv[:4]
		for _, file := range s.files {
			argv = append(argv, "-f", file)
		}
	}
	r := s.m.run(append(argv, args...)...)
	if r.code != 0 {
		t.Fatal(r)
	}
	return r.out + r.err
}

// up brings the project up with plain docker compose, and down again when the test ends.
func (s *stack) up(t testing.TB, args ...string) {
	t.Helper()
	s.write(t)
	t.Cleanup(func() { s.m.run("docker", "compose", "-f", s.file(), "down", "-t", "1", "-v") })
	s.compose(t, append([]string{"up", "-d"}, args...)...)
	s.m.eventually(t, 30*time.Second, s.name+" answers", func() bool {
		return s.m.run("curl", "-fsS", "-o", "/dev/null", s.url("/")).code == 0
	})
}

func (s *stack) url(path string) string { return fmt.Sprintf("http://127.0.0.1:%d%s", s.port, path) }

// tvsctl runs a command for the project, which has to succeed.
func (s *stack) tvsctl(t testing.TB, args ...string) string {
	t.Helper()
	return s.m.must(t, append([]string{"tvsctl", "-p", s.name}, args...)...)
}

// ids returns the container ids of a service by container name.
func (s *stack) ids(t testing.TB, service string) map[string]string {
	t.Helper()
	out := s.m.must(t, "docker", "ps", "-a", "--no-trunc", "--format", "{{.Names}} {{.ID}}",
		"--filter", "label=com.docker.compose.project="+s.name, "--filter", "label=com.docker.compose.service="+service)
	ids := map[string]string{}
	for line := range strings.Lines(out) {
		name, id, _ := strings.Cut(strings.TrimSpace(line), " ")
		ids[name] = id
	}
	return ids
}

// upstreamFile is nginx's file for webapp, in the container of entry.
const upstreamFile = "/etc/nginx/upstreams/webapp.conf"

// upstream returns the addresses that nginx has on disk for webapp.
func (s *stack) upstream(t testing.TB) []string {
	t.Helper()
	return servers(s.m.must(t, "docker", "exec", s.name+"-entry-1", "cat", upstreamFile))
}

// servers returns the addresses in an upstream file.
func servers(file string) []string {
	var list []string
	for line := range strings.Lines(file) {
		fields := strings.Fields(line)
		if len(fields) >= 2 && fields[0] == "server" && !strings.Contains(line, "down;") {
			list = append(list, strings.TrimSuffix(fields[1], ";"))
		}
	}
	return list
}

// loadResult is what tests/load prints.
type loadResult struct {
	Sent     int            `json:"sent"`
	OK       int            `json:"ok"`
	Failed   int            `json:"failed"`
	Errors   map[string]int `json:"errors"`
	FailedAt []time.Time    `json:"failed_at"` // the first ones
	P50      float64        `json:"p50_ms"`
	P99      float64        `json:"p99_ms"`
	ByHost   map[string]int `json:"by_host"`
	Stall    float64        `json:"stall_ms"` // by how much the machine itself was late, at most
}

func (r loadResult) String() string {
	return fmt.Sprintf("%d failed of %d, p50 %.0f ms, p99 %.0f ms, errors %v (the machine stood still for %.0f ms at most)",
		r.Failed, r.Sent, r.P50, r.P99, r.Errors, r.Stall)
}

// underLoad sends requests at 100 per second, each answered after 300 ms, while do
// runs and until count have been sent.
func (s *stack) underLoad(t testing.TB, count int, keepalive bool, do func()) loadResult {
	t.Helper()
	r := s.load(t, commandTimeout, nil, do, "-count", fmt.Sprint(count), fmt.Sprintf("-keepalive=%v", keepalive))
	if r.Sent != count || r.OK+r.Failed != count {
		t.Fatalf("the load is not whole: %v", r)
	}
	return r
}

// story is what nginx complained of, and what tvsctld did.
func (s *stack) story() string {
	return s.m.run("sh", "-c", "docker logs --tail 2000 -t "+s.name+"-entry-1 2>&1 | grep -F '[' | grep -v ' 200 ' | tail -n 60; "+
		"journalctl -u tvsctld -o short-precise --no-pager -n 80").out
}

// underLoadUntil does so until do returns.
func (s *stack) underLoadUntil(t testing.TB, do func()) loadResult {
	t.Helper()
	const most = 20 * time.Minute
	until, end := io.Pipe()
	return s.load(t, most, until, func() {
		do()
		end.Close()
	}, "-count", "0", "-until-stdin-closes")
}

func (s *stack) load(t testing.TB, most time.Duration, stdin io.Reader, do func(), flags ...string) loadResult {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), most)
	defer cancel()
	command := s.m.command(ctx, append([]string{"/srv/tvs/bin/tests/load", "-url", s.url("/?ms=300"), "-rate", "100"}, flags...)...)
	command.Stdin = stdin
	out, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	do()
	text, err := io.ReadAll(out)
	if err != nil {
		t.Fatal(err)
	}
	// Its status repeats what the text says: whether a request failed.
	_ = command.Wait()
	var r loadResult
	if err := json.Unmarshal(text, &r); err != nil {
		t.Fatalf("%v: %q", err, text)
	}
	return r
}
