//go:build e2e

package tests

import (
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"tvsctl/ipc"
)

// suites are the Debians that what systemd and polkit do is tried on.
var suites = []string{"trixie", "bookworm"}

// installed boots and installs a machine of a suite for one test. On bookworm there is no
// compose plugin, and the images are left out.
func installed(t *testing.T, name, suite string) *machine {
	t.Helper()
	m, err := bootSuite(name, suite)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.stop)
	m.must(t, "/srv/tvs/scripts/install.sh")
	return m
}

// version is the number of a package's version in the machine: 257 of 257.9-1.
func (m *machine) version(t *testing.T, name string) int {
	t.Helper()
	text := m.must(t, "dpkg-query", "-W", "-f", "${Version}", name)
	n, err := strconv.Atoi(text[:strings.IndexFunc(text, func(c rune) bool { return c < '0' || c > '9' })])
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// raw is the program of tests/raw in the machine.
const raw = "/srv/tvs/bin/tests/raw"

// goneMeanwhile: a listed unit whose file goes while the daemon runs is a free name, which
// the rule in force still has. Who starts that must not become root.
func goneMeanwhile(t *testing.T, m *machine) {
	t.Helper()
	writeFile(t, m, "/etc/systemd/system/gone.service", "[Service]\nExecStart=sleep infinity\n")
	call := "busctl --timeout=10 call org.freedesktop.systemd1 /org/freedesktop/systemd1 org.freedesktop.systemd1.Manager "
	writeFile(t, m, "/srv/meanwhile", "until "+call+"StartUnit ss gone.service replace; do sleep 0.1; done; "+call+"StopUnit ss listed.service replace && echo ready\nuntil [ -e /run/tvs/gone ]; do sleep 0.02; done\n"+
		call+"StartTransientUnit 'ssa(sv)a(sa(sv))' gone.service "+strings.Replace(evil, "a(sasb)", "'a(sasb)'", 1)+" && echo root\ntrue\n")
	writeFile(t, m, "/etc/systemd/system/tvsctld.service.d/attack.conf", "[Service]\nExecStartPost=bash -c 'bash /srv/meanwhile >/var/lib/tvsctld/meanwhile 2>&1'\n")
	m.must(t, "systemctl", "daemon-reload")
	m.must(t, "systemctl", "--no-block", "restart", "tvsctld.service")
	m.eventually(t, 30*time.Second, "the unit can be started while it is there", func() bool {
		return strings.Contains(m.run("cat", "/var/lib/tvsctld/meanwhile").out, "ready")
	})
	m.sh(t, "systemctl stop gone.service; rm /etc/systemd/system/gone.service; systemctl daemon-reload; touch /run/tvs/gone")
	m.eventually(t, 10*time.Second, "the daemon is up", func() bool { return m.active(t) })
	if out := m.must(t, "cat", "/var/lib/tvsctld/meanwhile"); strings.Contains(out, "root") {
		t.Errorf("a listed name that is free: %s", out)
	}
}

// send sends bytes to the socket as a user and returns all that comes back.
func (m *machine) send(t *testing.T, as, text string) string {
	t.Helper()
	r := m.runWith(strings.NewReader(text), "runuser", "-u", as, "--", raw)
	if r.code != 0 {
		t.Fatal(r)
	}
	return r.out
}

// attacked is a machine with two projects: ana may operate one, bob is in the group and
// has no rule, and eve is not in it.
func attacked(t *testing.T, name string) *machine {
	t.Helper()
	m := own(t, name)
	if err := m.install(); err != nil {
		t.Fatal(err)
	}
	m.sh(t, "for u in ana bob eve; do useradd -m $u; done; usermod -aG tvs ana; usermod -aG tvs bob")
	writeFile(t, m, "/etc/tvsctld/policy.toml", "[[rule]]\nname = \"ana\"\nusers = [\"ana\"]\nrole = \"deployer\"\nprojects = [\"ownshop\"]\n")
	for _, project := range []string{mine, foreign} {
		s := &stack{m: m, name: project}
		writeFile(t, m, s.file(), fmt.Sprintf("name: %s\nservices:\n  webapp:\n    image: app\n", project))
		s.compose(t, "up", "-d")
	}
	m.must(t, "systemctl", "restart", "tvsctld.service")
	return m
}

// TestAttacks: what a peer can try at the socket.
func TestAttacks(t *testing.T) {
	t.Parallel()
	m := attacked(t, "attack")
	before := m.must(t, "docker", "ps", "-a", "--format", "{{.ID}} {{.Names}} {{.State}}")
	t.Run("names", func(t *testing.T) { forgedNames(t, m) })
	t.Run("namespaces", func(t *testing.T) { namespaces(t, m) })
	t.Run("groups", func(t *testing.T) { groups(t, m) })
	t.Run("pids", func(t *testing.T) { pids(t, m) })
	t.Run("paths", func(t *testing.T) { paths(t, m) })
	t.Run("smuggling", func(t *testing.T) { smuggling(t, m) })
	if after := m.must(t, "docker", "ps", "-a", "--format", "{{.ID}} {{.Names}} {{.State}}"); after != before {
		t.Errorf("something changed:\nbefore\n%s\nafter\n%s", before, after)
	}
	t.Run("policy file", func(t *testing.T) { policyFile(t, m) })
	t.Run("sockets", func(t *testing.T) { controlSockets(t, m) })
}

// curl asks as a user and returns the status and the body.
func (m *machine) curl(as string, args ...string) (status int, body string) {
	r := m.run(append([]string{"runuser", "-u", as, "--", "curl", "-sS", "--path-as-is", "--unix-socket", "/run/tvsctld.sock", "-w", "\n%{http_code}"}, args...)...)
	at := strings.LastIndex(r.out, "\n") + 1
	status, _ = strconv.Atoi(r.out[at:])
	return status, r.out[:at]
}

const whoamiRequest = "GET /v1/whoami HTTP/1.1\r\nHost: tvsctld\r\n\r\n"

// forgedNames: a peer's own address is its to choose, so nothing is read from it.
func forgedNames(t *testing.T, m *machine) {
	uid := strings.TrimSpace(m.must(t, "id", "-u", "bob"))
	for _, name := range []string{"@pid=1;uid=0;socket=/run/tvsctld.sock;", "@;uid=0;", "/home/bob/;uid=0;pid=1;", "@ uid=0", "@root"} {
		r := m.runWith(strings.NewReader(whoamiRequest), "runuser", "-u", "bob", "--", raw, "-name", name)
		if r.code != 0 || !strings.Contains(r.out, `"uid":`+uid+`,`) || strings.Contains(r.out, `"rule":"root"`) {
			t.Errorf("from %q: %s", name, r)
		}
	}
}

// namespaces: who has no id here is nobody, and root elsewhere is no root.
func namespaces(t *testing.T, m *machine) {
	const curl = "curl -sS --unix-socket /run/tvsctld.sock -w '\\n%{http_code}' http://tvsctld/v1/"
	for _, c := range []struct{ name, command, says string }{
		{"a namespace without ids", "setpriv --reuid 65534 --regid 65534 --clear-groups unshare -U " + curl + "projects", "overflow id 65534"},
		{"nobody", "setpriv --reuid 65534 --regid $(getent group tvs | cut -d: -f3) --clear-groups " + curl + "projects", "overflow id 65534"},
		{"the overflow group", "setpriv --reuid ana --regid 65534 --groups $(getent group tvs | cut -d: -f3) " + curl + "projects", "overflow id 65534"},
		// As from a namespace that newuidmap(1) gave these uids.
		{"a uid that is lent", "echo ana:5000:10 >>/etc/subuid; setpriv --reuid 5004 --regid $(getent group tvs | cut -d: -f3) --clear-groups " + curl + "projects", "lends to ana"},
		{"mapped to root", "runuser -u bob -- unshare -Ur " + curl + "whoami", `"user":"bob"`},
		{"mapped to root, changing", "runuser -u bob -- unshare -Ur " + curl + "projects/foreignshop", "403"},
		{"without a mapping", "runuser -u bob -- unshare -U " + curl + "whoami", `"user":"bob"`},
		{"another pid namespace", "runuser -u bob -- unshare -Urpf " + curl + "whoami", `"user":"bob"`},
	} {
		r := m.run("bash", "-c", "chmod 666 /run/tvsctld.sock; "+c.command+"; chmod 660 /run/tvsctld.sock")
		if !strings.Contains(r.out, c.says) || strings.Contains(r.out, `"rule":"root"`) {
			t.Errorf("%s: no %s in: %s", c.name, c.says, r)
		}
	}

	// From outside the machine: its pid is 0 there.
	pid, err := exec.Command("./testhost", "pid", m.name).Output()
	if err != nil {
		t.Fatal(err)
	}
	client := ipc.NewClient("/proc/" + strings.TrimSpace(string(pid)) + "/root/run/tvsctld.sock")
	if err := client.Get(t.Context(), "/whoami", new(ipc.Whoami)); err == nil || !strings.Contains(err.Error(), "another pid namespace") {
		t.Errorf("a peer outside: %v", err)
	}
}

// groups: what a process is in counts, as the kernel has it, not what the files say of
// its user now; who has left loses the power with the process.
func groups(t *testing.T, m *machine) {
	writeFile(t, m, "/etc/tvsctld/policy.d/ops.toml", "[[rule]]\nname = \"ops\"\ngroups = [\"ops\"]\nrole = \"operator\"\n")
	m.sh(t, "groupadd ops; usermod -aG ops bob; systemctl restart tvsctld.service")
	may := func(setpriv string) bool {
		out := m.sh(t, `id() { getent group $1 | cut -d: -f3; }; setpriv --reuid bob --regid bob `+setpriv+` curl -sS --unix-socket /run/tvsctld.sock "http://tvsctld/v1/can-i?verb=scale&project=foreignshop"`)
		return strings.Contains(out, `"allowed":true`)
	}
	if !may("--init-groups") || !may("--groups $(id tvs),$(id ops)") || may("--groups $(id tvs)") {
		t.Error("it is not the process's groups that count")
	}
	// A process from before the removal keeps its groups, as it does for the kernel; one from
	// after it has none.
	m.sh(t, "gpasswd -d bob ops")
	if may("--init-groups") || !may("--groups $(id tvs),$(id ops)") {
		t.Error("after the removal a new process is in the group, or an old one is not")
	}
	// A connection is its opener's: it gives nothing to who is handed it.
	m.sh(t, "rm /etc/tvsctld/policy.d/ops.toml; systemctl restart tvsctld.service")
	if may("--groups $(id tvs),$(id ops)") {
		t.Error("a rule that is no more allows")
	}
}

// pids: a connection whose opener has ended, and whose pid root's process has got by now,
// is not root's.
func pids(t *testing.T, m *machine) {
	writeFile(t, m, "/srv/whoami", whoamiRequest)
	out := m.sh(t, `mount -o remount,rw /proc/sys; mkfifo /srv/later; chmod 644 /srv/later; touch /srv/answer; chmod 666 /srv/answer
pid=$(runuser -u bob -- `+raw+` -leave sh -c 'exec `+raw+` -inherited </srv/later >/srv/answer')
for i in $(seq 200); do
	echo $((pid - 1)) >/proc/sys/kernel/ns_last_pid
	sleep infinity & heir=$!
	[ $heir = $pid ] && break
	kill $heir
done
echo "opened by $pid, which is root's now: $(stat -c %U /proc/$pid)"
[ $heir = $pid ] && cat /srv/whoami >/srv/later
for i in $(seq 300); do grep -q '"policy"' /srv/answer && break; sleep 0.05; done
kill $heir; cat /srv/answer`)
	if !strings.Contains(out, "root's now: root") || !strings.Contains(out, `"user":"bob"`) {
		t.Errorf("%s", out)
	}
}

// paths: no spelling of a project's name leads elsewhere.
func paths(t *testing.T, m *machine) {
	long := strings.Repeat("a", 5000)
	for _, path := range []string{
		"/v1/projects/ownshop/../foreignshop", "/v1/projects/ownshop/%2e%2e/foreignshop", "/v1/projects/ownshop%2f..%2fforeignshop",
		"/v1/projects/%66oreignshop", "/v1/projects/foreignshop%00", "/v1/projects/foreignshop%20", "/v1/projects/FOREIGNSHOP", "/v1/projects/foreign%E2%80%8Bshop",
		"/v1/projects/..%2f..%2fetc%2fpasswd", "/v1/projects/%2e%2e%2f%2e%2e", "/v1/projects/" + long, "/v1/projects/%ff%fe", "/v1//projects/foreignshop", "/v1/./projects/foreignshop",
		"/v1/projects/foreignshop/", "/v1/projects/foreignshop;x", "/v1/projects/ownshop%3F/../foreignshop", "/v1/projects/%252e%252e/foreignshop",
		"/v1/projects/*", "/v1/projects/own*", "/v1/operations/%2e%2e", "/v1/operations/", "/v1/operations/%00",
	} {
		status, body := m.curl("ana", "http://tvsctld"+path)
		if status < 300 || status >= 500 || strings.Contains(body, `"services"`) || strings.Contains(body, "root:") {
			t.Errorf("GET %.80s: %d %.300s", path, status, body)
		}
		if status, body := m.curl("ana", "-X", "POST", "-d", `{"services":{"webapp":2}}`, "http://tvsctld"+path+"/scale"); status < 300 || status >= 500 {
			t.Errorf("POST %.80s/scale: %d %.300s", path, status, body)
		}
	}
	for _, service := range []string{"../webapp", "webapp/../webapp", "webapp\\u0000", "%77ebapp", "WEBAPP", "", "-", "*", "web*", "webapp ", "wеbapp", long, "\\ud800"} {
		if status, body := m.curl("ana", "-d", `{"services":{"`+service+`":2}}`, "http://tvsctld/v1/projects/ownshop/scale"); status < 400 || status >= 500 {
			t.Errorf("service %.40q: %d %.300s", service, status, body)
		}
	}
}

// smuggling: what one request is, and whose, has one reading.
func smuggling(t *testing.T, m *machine) {
	const scale = `{"services":{"webapp":2}}`
	hidden := "POST /v1/projects/ownshop/scale HTTP/1.1\r\nHost: x\r\nContent-Length: " + strconv.Itoa(len(scale)) + "\r\n\r\n" + scale
	first := "GET /v1/version HTTP/1.1\r\nHost: tvsctld\r\n"
	for _, c := range []struct{ name, text, begins string }{
		{"two lengths", "POST /v1/projects/ownshop/scale HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 25\r\n\r\n" + scale, "HTTP/1.1 400"},
		{"a list of lengths", "POST /v1/projects/ownshop/scale HTTP/1.1\r\nHost: x\r\nContent-Length: 5, 25\r\n\r\n" + scale, "HTTP/1.1 400"},
		{"a signed length", "POST /v1/projects/ownshop/scale HTTP/1.1\r\nHost: x\r\nContent-Length: +25\r\n\r\n" + scale, "HTTP/1.1 400"},
		{"length and chunks", first + "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + hidden, "HTTP/1.1 200"},
		{"two encodings", "POST /v1/projects/ownshop/scale HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n" + hidden, "HTTP/1.1 501"},
		{"an unknown encoding", "POST /v1/projects/ownshop/scale HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: xchunked\r\nContent-Length: 25\r\n\r\n" + scale, "HTTP/1.1 501"},
		{"a bad chunk", "POST /v1/projects/ownshop/scale HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n" + scale, "HTTP/1.1 400"},
		{"a second request", first + "\r\n" + hidden, "HTTP/1.1 200"},
		{"a second request that wants to stay", first + "Connection: keep-alive\r\n\r\n" + hidden, "HTTP/1.1 200"},
		{"a body that a GET does not have", first + "Content-Length: " + strconv.Itoa(len(hidden)) + "\r\n\r\n" + hidden, "HTTP/1.1 200"},
		{"bare line feeds", "GET /v1/projects/foreignshop HTTP/1.1\nHost: x\nX: y\n\n", "HTTP/1.1 403"},
		{"a header across lines", first + "X-A: b\r\n c: d\r\n\r\n", "HTTP/1.1 "},
		{"a space before the colon", first + "Content-Length : 5\r\n\r\n", "HTTP/1.1 400"},
		{"an absolute address", "GET http://foreign.example/v1/projects/foreignshop HTTP/1.1\r\nHost: tvsctld\r\n\r\n", "HTTP/1.1 403"},
		{"an absolute address and a path", "GET http://tvsctld/v1/projects/ownshop/../foreignshop HTTP/1.1\r\nHost: tvsctld\r\n\r\n", "HTTP/1.1 3"},
		{"another method in a header", "GET /v1/projects/ownshop/scale HTTP/1.1\r\nHost: x\r\nX-HTTP-Method-Override: POST\r\nContent-Length: 25\r\n\r\n" + scale, "HTTP/1.1 404"},
		{"who it is in a header", "GET /v1/projects/foreignshop HTTP/1.1\r\nHost: x\r\nX-Remote-User: root\r\nX-Forwarded-User: root\r\nAuthorization: Basic cm9vdDo=\r\n\r\n", "HTTP/1.1 403"},
		{"CONNECT", "CONNECT /v1/version HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 4"},
		{"HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "HTTP/1.1 "},
		{"an old version", "GET /v1/projects/foreignshop HTTP/1.0\r\n\r\n", "HTTP/1.0 403"},
		{"no version", "GET /v1/projects/foreignshop\r\n\r\n", "HTTP/1.1 400"},
		{"a header of 100 kB", first + "X: " + strings.Repeat("a", 100<<10) + "\r\n\r\n", "HTTP/1.1 431"},
	} {
		out := m.send(t, "ana", c.text)
		if !strings.HasPrefix(out, c.begins) || strings.Count(out, "HTTP/1.") != 1 || strings.Contains(out, `"services"`) {
			t.Errorf("%s: %d answers: %.300q", c.name, strings.Count(out, "HTTP/1."), out)
		}
	}
	var ops []struct{ User string }
	m.ask(t, &ops, "-p", mine, "ops")
	if len(ops) > 0 {
		t.Errorf("something was done: %+v", ops)
	}
}

// policyFile: rules that others can write are no rules. What was in force stays, and it
// is said.
func policyFile(t *testing.T, m *machine) {
	const file, dropin = "/etc/tvsctld/policy.toml", "/etc/tvsctld/policy.d/evil.toml"
	const everything = `[[rule]]\nusers = ["bob"]\nrole = "admin"\n` // as printf wants it
	policy := func() string {
		var who struct{ Policy string }
		m.ask(t, &who, "whoami")
		return who.Policy
	}
	before := policy()
	for _, c := range []struct{ name, spoil, mend, says string }{
		{"everybody can write it", "chmod 666 " + file, "chmod 644 " + file, "others than its owner can write it (mode 0666)"},
		{"a group can write its directory", "chmod 775 /etc/tvsctld", "chmod 755 /etc/tvsctld", "others than its owner can write it (mode 0775)"},
		{"it is somebody's", "chown bob " + file, "chown root " + file, "not to root"},
		{"a drop-in is somebody's", "printf '" + everything + "' >" + dropin + "; chown bob " + dropin, "rm " + dropin, "not to root"},
		{"a drop-in is a link to somebody's", "printf '" + everything + "' >/home/bob/p.toml; chown bob /home/bob/p.toml; ln -s /home/bob/p.toml " + dropin, "rm " + dropin, "it belongs to uid"},
		{"a drop-in dangles", "ln -s /nowhere/p.toml " + dropin, "rm " + dropin, "which is not there"},
		{"it is a pipe", "mkfifo " + dropin, "rm " + dropin, "not a regular file"},
		{"it is broken", "printf '[[rule]]\\nusers = [\"bob\"]\\nrole = \"boss\"\\n' >" + dropin, "rm " + dropin, dropin + `:3:8: there is no role "boss"`},
	} {
		m.sh(t, c.spoil)
		m.must(t, "systemctl", "reload", "tvsctld.service")
		m.eventually(t, 5*time.Second, c.name+": status says it", func() bool {
			return strings.Contains(m.tvsctl("-p", mine, "status").out, c.says)
		})
		if !strings.Contains(m.journal(), c.says) || !strings.Contains(m.journal(), "what was in force before stays") {
			t.Errorf("%s: the journal does not say it\n%s", c.name, m.journal())
		}
		if now := policy(); now != before {
			t.Errorf("%s: policy %s is in force, not %s", c.name, now, before)
		}
		if r := m.run("runuser", "-u", "bob", "--", "tvsctl", "can-i", "scale", foreign); r.code == 0 {
			t.Errorf("%s: %s", c.name, r)
		}
		m.sh(t, c.mend)
		m.must(t, "systemctl", "reload", "tvsctld.service")
		m.eventually(t, 5*time.Second, c.name+": mended", func() bool {
			return !strings.Contains(m.tvsctl("-p", mine, "status").out, "the policy is broken")
		})
	}
}

// controlSockets: who may bring up a stack may not do so with one that gets hold of the
// host's sockets, unless a rule says so.
func controlSockets(t *testing.T, m *machine) {
	s := &stack{m: m, name: mine}
	write := func(lines string) {
		writeFile(t, m, s.file(), "name: ownshop\nservices:\n  webapp:\n    image: app\n"+lines)
	}
	m.sh(t, "ln -sfn /run /srv/innocent")
	write("")
	m.must(t, "tvsctl", "-p", mine, "up", "-f", s.file())
	ana := func(args ...string) result {
		return m.run(append([]string{"runuser", "-u", "ana", "--", "tvsctl", "-p", mine}, args...)...)
	}
	if r := ana("up"); r.code != 0 {
		t.Errorf("without a socket: %s", r)
	}
	ids := fmt.Sprint(s.ids(t, "webapp"))
	for _, lines := range []string{
		"    volumes: [\"/var/run/docker.sock:/var/run/docker.sock\"]\n", "    volumes: [\"/run/tvsctld.sock:/x:ro\"]\n", "    volumes: [\"/:/host:ro\"]\n", "    volumes: [\"/srv/innocent:/x\"]\n",
		"    volumes:\n      - {type: bind, source: /var/run, target: /x}\n", "    volumes: [\"run:/x\"]\nvolumes:\n  run:\n    driver_opts: {type: none, o: bind, device: /run}\n",
		"    secrets: [s]\nsecrets:\n  s: {file: /run/docker.sock}\n",
	} {
		write(lines)
		for _, command := range [][]string{{"up"}, {"rollout", "webapp"}} {
			if r := ana(command...); r.code != 77 || !strings.Contains(r.err, "webapp mounts /") || !strings.Contains(r.err, "sockets = true") {
				t.Errorf("%v with %q: %s", command, lines, r)
			}
		}
		if now := fmt.Sprint(s.ids(t, "webapp")); now != ids {
			t.Errorf("%q changed the replicas from %s to %s", lines, ids, now)
		}
	}
	writeFile(t, m, "/etc/tvsctld/policy.d/sockets.toml", "[[rule]]\nname = \"mounts\"\nusers = [\"ana\"]\nrole = \"deployer\"\nprojects = [\"ownshop\"]\nsockets = true\n")
	m.must(t, "systemctl", "restart", "tvsctld.service")
	write("    volumes: [\"/var/run/docker.sock:/var/run/docker.sock\"]\n")
	if r := ana("up"); r.code != 0 {
		t.Errorf("a rule allows it: %s", r)
	}
	write("    volumes: [\"/run:/host-run\"]\n")
	m.must(t, "rm", "/etc/tvsctld/policy.d/sockets.toml")
	m.must(t, "systemctl", "restart", "tvsctld.service")
	if r := ana("up"); r.code != 77 {
		t.Errorf("the rule is gone: %s", r)
	}
	if r := m.tvsctl("-p", mine, "up"); r.code != 0 {
		t.Errorf("root: %s", r)
	}
}
