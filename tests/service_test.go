//go:build e2e

package tests

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"tvsctl/ipc"
)

// setIdle makes the daemon of a machine end after that time without work.
func setIdle(t testing.TB, m *machine, idle string) {
	t.Helper()
	writeFile(t, m, "/etc/default/tvsctld", "TVSCTLD_IDLE="+idle+"\n")
	m.must(t, "systemctl", "try-restart", "tvsctld.service")
}

func (m *machine) active(t testing.TB) bool {
	t.Helper()
	return m.run("systemctl", "is-active", "-q", "tvsctld.service").code == 0
}

// TestIdleExit: with nothing to guard the service ends by itself, the next command
// starts it, and no command is lost to that, however often it happens.
func TestIdleExit(t *testing.T) {
	m := own(t, "idle")
	if err := m.install(); err != nil {
		t.Fatal(err)
	}
	setIdle(t, m, "4s")
	m.must(t, "tvsctl", "projects")
	if !m.active(t) {
		t.Fatal("the service does not run after a command")
	}
	m.eventually(t, 20*time.Second, "the idle service ends", func() bool { return !m.active(t) })
	if result := strings.TrimSpace(m.must(t, "systemctl", "show", "-p", "Result", "--value", "tvsctld.service")); result != "success" {
		t.Errorf("its result is %s", result)
	}
	m.must(t, "tvsctl", "projects")

	setIdle(t, m, "50ms")
	// Bursts of ten, with pauses around the idle time, so that commands meet every
	// moment of the daemon's end.
	const script = `starts() { journalctl -u tvsctld -o cat --no-pager | grep -c 'serves /run'; }
before=$(starts)
lost=$(for burst in $(seq 200); do
	for client in 1 2 3 4 5 6 7 8 9 10; do { tvsctl version >/dev/null 2>>/tmp/errors || echo lost; } & done
	wait
	sleep 0.0$((RANDOM % 25 + 45))
done | wc -l)
echo "$lost $(($(starts) - before))"`
	out := strings.Fields(m.sh(t, script))
	if starts, err := strconv.Atoi(out[1]); err != nil || out[0] != "0" {
		t.Errorf("lost commands, and starts: %v\n%s", out, m.run("head", "/tmp/errors").out)
	} else if starts < 50 {
		t.Errorf("the daemon was started only %d times: the test shows nothing", starts)
	}
	t.Logf("2,000 commands against an idle time of 50 ms: %s lost, %s starts of the daemon", out[0], out[1])

	// A project to guard keeps it.
	s := &stack{m: m, name: "kept", port: 3001}
	s.up(t)
	m.must(t, "tvsctl", "status")
	wait := time.NewTimer(time.Second)
	<-wait.C
	if !m.active(t) {
		t.Error("the service ended although it has a project to guard")
	}
	s.compose(t, "down", "-t", "1")
	m.eventually(t, 10*time.Second, "the service ends when the project is gone", func() bool { return !m.active(t) })
}

// TestColdStarts: with the daemon not running a command starts it, every time.
func TestColdStarts(t *testing.T) {
	s := &stack{m: shared, name: "cold", port: 3603}
	s.up(t)
	out := strings.TrimSpace(s.m.sh(t, `failed=0
for i in $(seq 200); do systemctl stop tvsctld.service 2>/dev/null; tvsctl -p cold status >/dev/null 2>>/tmp/cold || failed=$((failed+1)); done
echo $failed`))
	if out != "0" {
		t.Errorf("%s of 200 cold starts failed\n%s\n%s", out, s.m.run("head", "/tmp/cold").out, s.m.journal())
	}
}

// TestInstallation: it can be repeated, upgrades without refusing a client, and
// its removal leaves nothing but the state.
func TestInstallation(t *testing.T) {
	t.Parallel()
	m := own(t, "install")
	const list = `find /etc /opt /run/tvs* /usr/local /var/lib/tvsctld -not -path '/etc/default*' 2>/dev/null | grep -v '^/etc/\(group\|gshadow\|subgid\|passwd\|subuid\)-\?$' | sort`
	siteWith(t, m)
	before := m.sh(t, list)
	if r := m.run("/srv/tvs/scripts/install.sh", "--frobnicate"); r.code != 2 {
		t.Errorf("an unknown option: %s", r)
	}
	m.must(t, "/srv/tvs/scripts/install.sh")
	if out := m.sh(t, "systemd-analyze verify --man=no /etc/systemd/system/tvsctld* 2>&1"); out != "" {
		t.Errorf("systemd-analyze verify: %s", out)
	}
	for _, unit := range []string{"tvsctld.socket", "tvsctld.service"} {
		m.must(t, "systemctl", "is-enabled", unit)
	}
	if mode := strings.TrimSpace(m.must(t, "stat", "-c", "%U:%G %a", "/run/tvsctld.sock")); mode != "root:tvs 660" {
		t.Errorf("the socket is %s", mode)
	}
	m.must(t, "tvsctl", "projects")
	m.must(t, "tvsctld", "policy", "check")
	out := m.sh(t, `(until [ -e /tmp/done ]; do tvsctl version >/dev/null 2>>/tmp/errors && echo ok || echo lost; done) >/tmp/clients &
for i in 1 2 3 4 5; do /srv/tvs/scripts/install.sh >/dev/null; done; touch /tmp/done; wait; sort /tmp/clients | uniq -c; cat /tmp/errors`)
	if strings.Contains(out, "lost") || !strings.Contains(out, "ok") {
		t.Errorf("upgrades under clients: %s", out)
	}
	t.Logf("five upgrades under clients: %s", strings.TrimSpace(out))
	lineOfSite(t, m)
	ruled(t, m)
	out = m.must(t, "/srv/tvs/scripts/install.sh", "--uninstall")
	for _, place := range []string{"/var/lib/tvsctld", "/etc/tvsctld", "/run/tvs/upstreams"} {
		if !strings.Contains(out, "left in place: "+place+"\n") {
			t.Errorf("it does not say that %s stays: %s", place, out)
		}
	}
	m.sh(t, "test ! -e "+polkitRule+" && rm -r /etc/tvsctld")
	lineOfSite(t, m)
	m.must(t, "rm", "-r", "/run/tvs")
	after := m.sh(t, list)
	for line := range strings.Lines(after) {
		if path := strings.TrimSpace(line); !strings.Contains(before, path+"\n") && !strings.HasPrefix(path, "/var/lib/tvsctld") {
			t.Errorf("left behind: %s", path)
		}
	}
	if m.run("getent", "group", "tvs").code == 0 {
		t.Error("group tvs is left behind")
	}
	// Another prefix, and from nothing again.
	m.must(t, "/srv/tvs/scripts/install.sh", "--prefix", "/srv/tvs")
	m.must(t, "tvsctl", "version")
	m.must(t, "/srv/tvs/tvsctl/bin/tvsctl", "projects")
	lineOfSite(t, m)
}

// polkitRule is what tvsctld-polkit.service writes.
const polkitRule = "/etc/polkit-1/rules.d/60-tvsctld.rules"

// siteWith gives a machine a unit that tvsctld can be let manage, and a line by which the
// site has its nginx start.
func siteWith(t *testing.T, m *machine) {
	t.Helper()
	writeFile(t, m, "/etc/systemd/system/listed.service", "[Service]\nExecStart=sleep infinity\n")
	writeFile(t, m, "/etc/tmpfiles.d/site.conf", "f /run/tvs/upstreams/site.conf 0644 root root - upstream site { server 127.0.0.1:9 down; }\n")
	m.must(t, "systemctl", "daemon-reload")
}

// lineOfSite wants the site's file of nginx to be there, as its line says.
func lineOfSite(t *testing.T, m *machine) {
	t.Helper()
	m.must(t, "grep", "-q", "upstream site", "/run/tvs/upstreams/site.conf")
}

// ruled lets tvsctld manage the unit, for which there is then a rule of polkit.
func ruled(t *testing.T, m *machine) {
	t.Helper()
	writeFile(t, m, "/etc/tvsctld/tvsctld.toml", "idle = \"5m\"\n[units]\n\"listed.service\" = [\"restart\"]\n")
	m.must(t, "systemctl", "reload-or-restart", "tvsctld.service")
	// A start does not wait for the helper that writes it.
	m.eventually(t, 10*time.Second, "there is a rule", func() bool {
		return m.run("grep", "-q", "listed.service", polkitRule).code == 0
	})
}

// hostStack is a project whose nginx is a unit of the host, named in the project's file.
func hostStack(t *testing.T, m *machine) *stack {
	t.Helper()
	writeFile(t, m, "/etc/tvsctld/projects/plainapp.toml", "[nginx]\nunit = \"nginx.service\"\nupstreams = \"/run/tvs/upstreams\"\nbalances = \"webapp:8080\"\n")
	writeFile(t, m, "/etc/tmpfiles.d/plainapp.conf", "f /run/tvs/upstreams/webapp.conf 0644 root root - upstream webapp { server 127.0.0.1:9 down; }\n")
	writeFile(t, m, "/etc/nginx/conf.d/site.conf", "keepalive_timeout 0;\ninclude /run/tvs/upstreams/*.conf;\nserver { listen 3001; location / { proxy_pass http://webapp; } }\n")
	m.sh(t, "rm -f /etc/nginx/sites-enabled/default; sed -i 's/^\\(\\s*\\)keepalive_timeout.*//' /etc/nginx/nginx.conf; systemd-tmpfiles --create; systemctl enable --now nginx")
	s := &stack{m: m, name: "plainapp", port: 3001}
	writeFile(t, m, s.file(), "name: plainapp\nservices:\n  webapp:\n    image: app\n    restart: unless-stopped\n    environment: {ON_TERM: exit}\n")
	s.compose(t, "up", "-d")
	m.must(t, "tvsctl", "status") // starts the daemon, which from now on guards
	m.eventually(t, 30*time.Second, "the host's nginx serves webapp", func() bool {
		return m.run("curl", "-fsS", s.url("/")).code == 0
	})
	return s
}

// TestHostNginx: nginx is a unit of the host, and the project's file names it.
func TestHostNginx(t *testing.T) {
	t.Parallel()
	m := own(t, "hostnginx")
	if err := m.install(); err != nil {
		t.Fatal(err)
	}
	s := hostStack(t, m)
	r := s.underLoad(t, 1500, false, func() {
		m.must(t, "tvsctl", "scale", "webapp", "4")
		m.must(t, "tvsctl", "scale", "webapp", "1")
		m.must(t, "tvsctl", "scale", "webapp", "3")
	})
	t.Logf("host nginx, 1-4-1-3: %v", r)
	if r.Failed > 0 {
		t.Errorf("%d requests failed", r.Failed)
	}
	m.must(t, "tvsctl", "verify", s.url("/"))

	file := filepath.Join(m.root, "etc/nginx/conf.d/zz.conf")
	before := m.must(t, "cat", "/run/tvs/upstreams/webapp.conf")
	if err := os.WriteFile(file, []byte("nonsense on;\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	refused := m.tvsctl("scale", "webapp", "4")
	if refused.code != ipc.ExitNginx || !strings.Contains(refused.err, `unknown directive "nonsense"`) {
		t.Errorf("%s", refused)
	}
	if after := m.must(t, "cat", "/run/tvs/upstreams/webapp.conf"); after != before {
		t.Errorf("the upstream file changed:\n%s", after)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	// What happens while nginx is down it is told when it is up.
	m.sh(t, "systemctl stop nginx; docker restart -t 1 plainapp-webapp-1 plainapp-webapp-2 plainapp-webapp-3; printf 'upstream webapp { server 127.0.0.1:9 down; }\n' >/run/tvs/upstreams/webapp.conf; systemctl start nginx")
	m.eventually(t, 10*time.Second, "it serves again after a start of nginx", func() bool { return m.run("curl", "-fsS", s.url("/")).code == 0 })
	// The last event of a project that is stopped is heard to its end.
	s.compose(t, "stop")
	m.eventually(t, 10*time.Second, "nginx has no address of what was stopped", func() bool {
		return len(servers(m.must(t, "cat", "/run/tvs/upstreams/webapp.conf"))) == 0
	})
	s.compose(t, "start")
	m.eventually(t, 10*time.Second, "it serves again", func() bool { return m.run("curl", "-fsS", s.url("/")).code == 0 })

	reboot(t, m)
	m.eventually(t, time.Minute, "it serves again after a reboot", func() bool {
		return m.run("curl", "-fsS", s.url("/")).code == 0 && m.tvsctl("verify", s.url("/")).code == 0
	})
}

// TestUpAndDown: the compose lifecycle through tvsctl keeps the desired counts.
func TestUpAndDown(t *testing.T) {
	s := &stack{m: shared, name: "lifecycle", port: 3601}
	s.write(t)
	t.Cleanup(func() { s.m.run("docker", "compose", "-f", s.file(), "down", "-t", "1", "-v") })
	out := s.m.must(t, "tvsctl", "up", "-f", s.dir())
	if !strings.Contains(out, "Container lifecycle-webapp-1") || !strings.Contains(out, "lifecycle is up") {
		t.Errorf("compose's progress is not passed on: %s", out)
	}
	s.tvsctl(t, "scale", "webapp", "3")
	ids := s.ids(t, "webapp")
	s.tvsctl(t, "up")
	if now := s.ids(t, "webapp"); fmt.Sprint(now) != fmt.Sprint(ids) {
		t.Errorf("up changed the replicas from %v to %v", ids, now)
	}
	s.tvsctl(t, "down")
	if now := s.ids(t, "webapp"); len(now) != 0 {
		t.Errorf("after down: %v", now)
	}
	s.tvsctl(t, "up")
	if n := s.m.service(t, s.name, "webapp").Ready; n != 3 {
		t.Errorf("up after down gave %d ready replicas, want the 3 that are desired", n)
	}
	s.tvsctl(t, "verify")
	writable := s.dir() + "/compose.yaml"
	s.m.must(t, "chmod", "666", writable)
	if r := s.m.tvsctl("-p", s.name, "up"); r.code != ipc.ExitForbidden || !strings.Contains(r.err, "others than its owner can write it") {
		t.Errorf("a compose file that everybody can write: %s", r)
	}
	s.m.must(t, "chmod", "644", writable)

	// The course's example stack, with its page and its visits.
	example := "/srv/tvs/examples/tvs/"
	t.Cleanup(func() { s.m.run("tvsctl", "-p", "tvs", "down") })
	s.m.must(t, "tvsctl", "up", "-f", example+"compose.yaml", "-f", example+"compose.offline.yaml")
	s.m.must(t, "tvsctl", "-p", "tvs", "scale", "webapp", "3")
	s.m.must(t, "tvsctl", "-p", "tvs", "verify")
	// A replica waits a second for the database, and says so then.
	s.m.eventually(t, 10*time.Second, "the page has the visits", func() bool {
		page := s.m.must(t, "curl", "-fsS", "http://127.0.0.1:2024/")
		return strings.Contains(page, "HOST") && strings.Contains(page, "VISITS")
	})
	s.m.must(t, "docker", "stop", "-t", "1", "tvs-storage-1")
	if page := s.m.must(t, "curl", "-fsS", "http://127.0.0.1:2024/"); !strings.Contains(page, "database unavailable") {
		t.Errorf("without storage the page says: %s", page)
	}
}

// TestComposeOnlyServices: replicas that a clone would not make whole are made by compose.
func TestComposeOnlyServices(t *testing.T) {
	s := &stack{m: shared, name: "injected", port: 3602, service: "configs:\n  - source: greeting\n    target: /greeting\n",
		extra: "configs:\n  greeting:\n    content: hello\n"}
	s.up(t)
	s.tvsctl(t, "scale", "webapp", "3")
	for i := 1; i <= 3; i++ {
		if out := s.m.sh(t, fmt.Sprintf("docker cp injected-webapp-%d:/greeting - | tar -xO", i)); out != "hello" {
			t.Errorf("replica %d has the config %q", i, out)
		}
	}
	unchanged(t, s, 3, "--scale", "webapp=3", "--no-recreate")
}
