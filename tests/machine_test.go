//go:build e2e

// Package tests runs the built programs end to end on a real machine (testhost):
// systemd, D-Bus, Docker, docker compose and nginx are the real ones.
package tests

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tvsctl/ipc"
)

// shared is the machine of the tests that leave it as they found it.
var shared *machine

func TestMain(m *testing.M) {
	os.Exit(func() int {
		var err error
		if shared, err = boot("e2e"); err == nil {
			defer shared.stop()
			err = shared.install()
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return m.Run()
	}())
}

// machine is one booted test machine.
type machine struct {
	name string
	root string // its root tree, as this host sees it
}

// boot starts a machine with the built programs and the sources of their
// installation in /srv/tvs.
func boot(name string) (*machine, error) { return bootSuite(name, "trixie") }

// bootSuite does so with another Debian: bookworm.
func bootSuite(name, suite string) (*machine, error) {
	if output, err := exec.Command("./testhost", "boot", name, suite).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("testhost boot %s: %v\n%s", name, err, output)
	}
	root, err := exec.Command("./testhost", "root", name).Output()
	if err != nil {
		return nil, err
	}
	m := &machine{name: name, root: strings.TrimSpace(string(root))}
	target := filepath.Join(m.root, "srv/tvs")
	if err := os.MkdirAll(target, 0o755); err != nil {
		return nil, err
	}
	for _, dir := range []string{"bin", "units", "scripts", "policy", "examples", "docs"} {
		if output, err := exec.Command("cp", "-r", filepath.Join("..", dir), target).CombinedOutput(); err != nil {
			return nil, fmt.Errorf("%v\n%s", err, output)
		}
	}
	return m, nil
}

func (m *machine) stop() {
	if output, err := exec.Command("./testhost", "stop", m.name).CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "testhost stop %s: %v\n%s", m.name, err, output)
	}
}

// own boots a machine for one test alone.
func own(t testing.TB, name string) *machine {
	t.Helper()
	m, err := boot(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.stop)
	return m
}

// images makes the images that the stacks are built from: app, entry (the
// distribution's nginx), entry-new (one that knows keepalive_min_timeout), and those
// of the example.
const images = `set -e
cd /srv/tvs
examples/tvs/offline.sh
mkdir -p /tmp/app/tmp && cp bin/tests/app /tmp/app/ && chmod 1777 /tmp/app/tmp
tar -C /tmp/app -c . | docker import -c 'ENTRYPOINT ["/app"]' -c 'EXPOSE 8080' - app
docker tag app app:next`

func (m *machine) install() error {
	r := m.run("bash", "-c", "/srv/tvs/scripts/install.sh && "+images)
	if r.code != 0 {
		return fmt.Errorf("cannot prepare machine %s: %s", m.name, r)
	}
	return nil
}

// newNginx makes the image entry-new in the machine.
func (m *machine) newNginx(t testing.TB) {
	t.Helper()
	tree, err := exec.Command("./testhost", "nginx-tree").Output()
	if err != nil {
		t.Fatal(err)
	}
	if m.run("docker", "image", "inspect", "entry-new").code == 0 {
		return
	}
	target := filepath.Join(m.root, "root/nginx-tree")
	if output, err := exec.Command("cp", "-a", strings.TrimSpace(string(tree)), target).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	m.must(t, "env", "NGINX_ROOT=/root/nginx-tree", "IMAGE=entry-new", "/srv/tvs/examples/tvs/offline.sh", "entry")
}

// result is how a command ended.
type result struct {
	argv     []string
	out, err string
	code     int
	took     time.Duration
}

func (r result) String() string {
	return fmt.Sprintf("%s\nexit status %d after %v\n%s%s", strings.Join(r.argv, " "), r.code, r.took.Round(time.Millisecond), r.out, r.err)
}

const commandTimeout = 6 * time.Minute

func (m *machine) command(ctx context.Context, argv ...string) *exec.Cmd {
	return exec.CommandContext(ctx, "./testhost", append([]string{"run", m.name}, argv...)...)
}

// run runs a command as root in the machine.
func (m *machine) run(argv ...string) result {
	return m.runWith(nil, argv...)
}

func (m *machine) runWith(stdin io.Reader, argv ...string) result {
	ctx, cancel := context.WithTimeout(context.Background(), commandTimeout)
	defer cancel()
	command := m.command(ctx, argv...)
	var out, errs bytes.Buffer
	command.Stdin, command.Stdout, command.Stderr = stdin, &out, &errs
	start := time.Now()
	err := command.Run()
	r := result{argv: argv, out: out.String(), err: errs.String(), took: time.Since(start)}
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		r.code = exit.ExitCode()
	case err != nil:
		r.code, r.err = -1, r.err+err.Error()
	}
	return r
}

// must runs a command that has to succeed and returns its output.
func (m *machine) must(t testing.TB, argv ...string) string {
	t.Helper()
	r := m.run(argv...)
	if r.code != 0 {
		t.Fatalf("%s\n%s", r, m.journal())
	}
	return r.out
}

// sh runs a script that has to succeed.
func (m *machine) sh(t testing.TB, script string) string {
	t.Helper()
	return m.must(t, "bash", "-c", script)
}

// tvsctl runs tvsctl.
func (m *machine) tvsctl(args ...string) result {
	return m.run(append([]string{"tvsctl"}, args...)...)
}

// ask runs tvsctl with --json and decodes what it prints.
func (m *machine) ask(t testing.TB, into any, args ...string) {
	t.Helper()
	r := m.tvsctl(append(args, "--json")...)
	if err := json.Unmarshal([]byte(r.out), into); err != nil {
		t.Fatalf("%v\n%s", err, r)
	}
}

func (m *machine) status(t testing.TB, project string) ipc.Status {
	t.Helper()
	var s ipc.Status
	m.ask(t, &s, "-p", project, "status")
	return s
}

func (m *machine) service(t testing.TB, project, name string) ipc.Service {
	t.Helper()
	for _, s := range m.status(t, project).Services {
		if s.Name == name {
			return s
		}
	}
	t.Fatalf("project %s has no service %s", project, name)
	return ipc.Service{}
}

// journal is what tvsctld wrote last, for the message of a test that fails.
func (m *machine) journal() string {
	m.run("journalctl", "--sync")
	return m.run("journalctl", "-u", "tvsctld", "-n", "40", "-o", "short-precise", "--no-pager").out
}

// journalctl returns what the journal has, with all that was written to it until now.
func (m *machine) journalctl(t testing.TB, args ...string) string {
	t.Helper()
	m.must(t, "journalctl", "--sync")
	return m.must(t, append([]string{"journalctl", "--no-pager"}, args...)...)
}

// eventually asks until the condition holds, for what nothing outside the machine announces.
// It looks once more when the time is over, as that may have passed without a look.
func (m *machine) eventually(t testing.TB, within time.Duration, what string, holds func() bool) time.Duration {
	t.Helper()
	start := time.Now()
	for late := false; !holds(); {
		if late {
			t.Fatalf("not within %v: %s\n%s", within, what, m.journal())
		}
		late = time.Since(start) > within
		time.Sleep(20 * time.Millisecond)
	}
	return time.Since(start)
}

// reboot restarts a machine and waits until it is up.
func reboot(t testing.TB, m *machine) {
	t.Helper()
	if output, err := exec.Command("./testhost", "reboot", m.name).CombinedOutput(); err != nil {
		t.Fatalf("testhost reboot %s: %v\n%s", m.name, err, output)
	}
}
