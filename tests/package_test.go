//go:build e2e

package tests

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// buildPackage builds the programs with a version and packages them. It returns the path
// of the package in the machine.
func buildPackage(t *testing.T, m *machine, version string) string {
	t.Helper()
	dir := t.TempDir()
	build := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w -X main.version="+version, "-o", dir+"/", "./cmd/...")
	pack := exec.Command("packaging/build")
	for _, command := range []*exec.Cmd{build, pack} {
		command.Dir = ".."
		command.Env = append(os.Environ(), "CGO_ENABLED=0", "BIN="+dir, "OUT="+dir, "DEB_VERSION="+version)
		if output, err := command.CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%s", command.Args, err, output)
		}
	}
	found, err := filepath.Glob(filepath.Join(dir, "*.deb"))
	if err != nil || len(found) != 1 {
		t.Fatalf("packages: %v, %v", found, err)
	}
	content, err := os.ReadFile(found[0])
	if err != nil {
		t.Fatal(err)
	}
	path := "/root/" + filepath.Base(found[0])
	if err := os.WriteFile(filepath.Join(m.root, path), content, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// traces is what an installation can leave: files, users and groups, explanations of the
// catalog, units that systemd still knows. dpkg's own notes and backups of /etc/group are not.
func (m *machine) traces(t *testing.T) string {
	t.Helper()
	return m.sh(t, `find / -xdev \( -path /proc -o -path /sys -o -path /dev -o -path /tmp -o -path /root -o -path /srv -o -path /var/log \
  -o -path /var/cache -o -path /var/tmp -o -path /var/lib/dpkg -o -path /var/lib/docker -o -path /var/lib/containerd \
  -o -path /var/lib/systemd/random-seed -o -path /var/lib/private \) -prune -o ! -path '/etc/*-' ! -path /etc/.pwd.lock -print | sort
find /run -name '*tvs*' | sort
cut -d: -f1 /etc/passwd /etc/group | sort
systemctl list-units --all --no-legend --plain '*tvs*' || true
journalctl --list-catalog | grep -i tvs || true`)
}

// differences are the lines that are not in both.
func differences(a, b string) (list []string) {
	count := map[string]int{}
	for line := range strings.Lines(a) {
		count[line]--
	}
	for line := range strings.Lines(b) {
		count[line]++
	}
	for line, n := range count {
		if n != 0 {
			list = append(list, strings.TrimSpace(line))
		}
	}
	return list
}

// TestPackage: the life of the Debian package on both Debians.
func TestPackage(t *testing.T) {
	t.Run("trixie", func(t *testing.T) {
		lifeCycle(t, "trixie", func(t *testing.T, m *machine) {
			m.sh(t, "cd /srv/tvs/examples/tvs && tvsctl up -f compose.yaml -f compose.offline.yaml")
		})
	})
	t.Run("bookworm", func(t *testing.T) { lifeCycle(t, "bookworm", withoutCompose) })
}

// withoutCompose makes the example's project as docker compose would have, where there is none.
func withoutCompose(t *testing.T, m *machine) {
	m.sh(t, `labels() {
  printf -- '--label=com.docker.compose.%s ' project=tvs service="$1" container-number=1 oneoff=False config-hash=1234
}
docker network create --label com.docker.compose.project=tvs --label com.docker.compose.network=frontnet tvs_frontnet
docker run -d --name tvs-webapp-1 --network tvs_frontnet --network-alias webapp $(labels webapp) tvs-webapp
docker run -d --name tvs-entry-1 --network tvs_frontnet -p 2024:80 --label tvs.nginx=webapp:8080 $(labels entry) tvs-entry`)
}

func lifeCycle(t *testing.T, suite string, up func(*testing.T, *machine)) {
	m, err := bootSuite("deb-"+suite, suite)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.stop)
	m.must(t, "/srv/tvs/examples/tvs/offline.sh")
	first, second := buildPackage(t, m, "1.0.0"), buildPackage(t, m, "1.1.0")
	// Some directories appear with the first group that is made, whoever makes it.
	m.sh(t, "groupadd probe && groupdel probe")
	before := m.traces(t)

	refusesBeside(t, m, first, before)
	m.must(t, "dpkg", "-i", first)
	if out := m.must(t, "systemctl", "is-enabled", "tvsctld.socket", "tvsctld.service"); out != "enabled\nenabled\n" {
		t.Errorf("enabled: %q", out)
	}
	m.sh(t, "test -S /run/tvsctld.sock && stat -c %G:%a /run/tvsctld.sock | grep -x tvs:660")
	if out := m.must(t, "tvsctl", "version"); strings.Count(out, "1.0.0") != 2 {
		t.Errorf("version: %s", out)
	}
	for _, file := range []string{"/usr/share/bash-completion/completions/tvsctl", "/usr/share/zsh/vendor-completions/_tvsctl",
		"/usr/share/fish/vendor_completions.d/tvsctl.fish", "/usr/share/doc/tvsctl/copyright",
		"/usr/share/man/man1/tvsctl.1.gz", "/usr/share/man/man5/tvsctld-policy.5.gz", "/usr/share/man/man8/tvsctld.8.gz"} {
		m.must(t, "test", "-s", file)
	}
	if out := m.journalctl(t, "-x", "-u", "tvsctld"); !strings.Contains(out, "Subject: tvsctld serves its socket") {
		t.Errorf("the catalog is not compiled: %s", out)
	}
	if out := m.run("bash", "-c", "systemd-analyze verify --man=no /usr/lib/systemd/system/tvsctld*"); out.code != 0 || out.err != "" {
		t.Errorf("systemd-analyze verify: %s", out)
	}

	up(t, m)
	serves := func() bool {
		return m.run("curl", "-fsS", "--retry", "5", "--retry-connrefused", "-o", "/dev/null", "http://127.0.0.1:2024/").code == 0
	}
	m.must(t, "tvsctl", "scale", "webapp", "3")
	if s := m.service(t, "tvs", "webapp"); s.Ready != 3 {
		t.Errorf("%d replicas are ready", s.Ready)
	}
	upgrades(t, m, second)
	if !serves() {
		t.Error("the example does not answer after the upgrade")
	}

	// Removed, it leaves what it was told and what runs; installed again it goes on with that.
	siteWith(t, m)
	m.must(t, "systemd-tmpfiles", "--create", "/etc/tmpfiles.d/site.conf")
	ruled(t, m)
	m.must(t, "dpkg", "-r", "tvsctl")
	lineOfSite(t, m)
	m.must(t, "rm", "-r", "/run/tvs")
	m.sh(t, "test ! -e "+polkitRule+" && test ! -e /run/tvsctld.sock && test -e /etc/tvsctld/tvsctld.toml && test -e /var/lib/tvsctld/state.db")
	if out := m.run("systemctl", "is-active", "tvsctld.socket", "tvsctld.service").out; strings.Contains(out, "\nactive") || strings.HasPrefix(out, "active") {
		t.Errorf("runs after it was removed: %q", out)
	}
	if !serves() {
		t.Error("the example does not answer without tvsctl")
	}
	m.must(t, "dpkg", "-i", second)
	lineOfSite(t, m)
	if s := m.service(t, "tvs", "webapp"); s.Desired != 4 || s.Ready != 4 {
		t.Errorf("installed again: %d of %d are ready", s.Ready, s.Desired)
	}
	if out := m.must(t, "bash", "-c", "systemctl is-enabled tvsctld.socket tvsctld.service || true"); out != "enabled\ndisabled\n" {
		t.Errorf("what root disabled did not stay so: %q", out)
	}

	ruled(t, m)
	m.sh(t, "rm /etc/systemd/system/listed.service /etc/tmpfiles.d/site.conf /run/tvs/upstreams/site.conf")
	m.sh(t, "docker rm -f $(docker ps -aq) && docker network prune -f && dpkg -P tvsctl && systemctl daemon-reload")
	if left := differences(before, m.traces(t)); len(left) > 0 {
		t.Errorf("purged, it leaves: %s", strings.Join(left, "\n"))
	}
}

// refusesBeside: neither of the two ways to install hides the other, and the script leaves
// nothing behind that would.
func refusesBeside(t *testing.T, m *machine, path, before string) {
	m.must(t, "/srv/tvs/scripts/install.sh")
	r := m.run("dpkg", "-i", path)
	if r.code == 0 || !strings.Contains(r.err, "scripts/install.sh --uninstall") {
		t.Errorf("installed over what the script installed: %s", r)
	}
	m.must(t, "tvsctl", "version")
	m.must(t, "/srv/tvs/scripts/install.sh", "--uninstall")
	m.sh(t, "rm -rf /var/lib/tvsctld; dpkg -P tvsctl 2>/dev/null || true")
	if left := differences(before, m.traces(t)); len(left) > 0 {
		t.Errorf("uninstalled, the script leaves: %s", strings.Join(left, "\n"))
	}

	m.must(t, "dpkg", "-i", path)
	if r := m.run("/srv/tvs/scripts/install.sh"); r.code == 0 || !strings.Contains(r.err, "apt-get remove tvsctl") {
		t.Errorf("the script installed over the package: %s", r)
	}
	m.must(t, "dpkg", "-P", "tvsctl")
	if left := differences(before, m.traces(t)); len(left) > 0 {
		t.Errorf("purged before use, it leaves: %s", strings.Join(left, "\n"))
	}
}

// upgrades: no client is refused meanwhile, a change goes on, and what root disabled stays so.
func upgrades(t *testing.T, m *machine, path string) {
	// Disabling the service disables the socket with it (Also=).
	m.sh(t, "systemctl disable tvsctld.service && systemctl enable tvsctld.socket")
	const identity = "stat -c %i /run/tvsctld.sock; systemctl show -p InvocationID tvsctld.socket"
	socket := m.sh(t, identity)
	id := strings.TrimSpace(m.must(t, "tvsctl", "scale", "webapp", "4", "--detach"))
	out := m.sh(t, `for i in 1 2 3 4; do
  (until [ -e /tmp/done ]; do tvsctl version >/dev/null 2>>/tmp/errors && echo ok || echo lost; done) >/tmp/clients.$i &
done
dpkg -i `+path+` >/tmp/dpkg 2>&1 || echo "dpkg failed"
touch /tmp/done; wait; cat /tmp/clients.* | sort | uniq -c; cat /tmp/errors`)
	if !strings.Contains(out, "ok") || strings.Contains(out, "lost") || strings.Contains(out, "failed") {
		t.Errorf("an upgrade under clients: %s\n%s", out, m.must(t, "cat", "/tmp/dpkg"))
	}
	t.Logf("an upgrade under clients: %s", strings.TrimSpace(out))
	if now := m.sh(t, identity); now != socket {
		t.Errorf("the socket was opened again: %s, then %s", socket, now)
	}
	if out := m.must(t, "tvsctl", "ops", id, "--follow"); !strings.Contains(out, "webapp has 4 ready replicas") {
		t.Errorf("the change: %s", out)
	}
	if out := m.must(t, "tvsctl", "version"); strings.Count(out, "1.1.0") != 2 {
		t.Errorf("version after the upgrade: %s", out)
	}
	if out := m.run("systemctl", "is-enabled", "tvsctld.service").out; out != "disabled\n" {
		t.Errorf("the upgrade enabled what root disabled: %q", out)
	}
	m.eventually(t, 10*time.Second, "the new daemon serves", func() bool { return m.active(t) })
}
