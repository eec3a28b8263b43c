//go:build e2e

package tests

import (
	"encoding/json"
	"strconv"
	"strings"
	"testing"
	"time"

	"tvsctl/ipc"
)

// TestBadInput: each gets one clear line, its own exit status, and changes nothing.
func TestBadInput(t *testing.T) {
	s := &stack{m: shared, name: "bad", port: 3501, service: "labels:\n  tvs.scale.max: \"3\"\n  tvs.scale.min: \"1\"\n",
		extra: "  named:\n    image: app\n    container_name: one-of-a-kind\n" +
			"  fixed:\n    image: app\n    ports: [\"3599:8080\"]\n" +
			"  static:\n    image: app\n    networks:\n      own:\n        ipv4_address: 172.31.99.9\n" +
			"networks:\n  own:\n    ipam:\n      config: [{subnet: 172.31.99.0/24}]\n"}
	s.up(t)
	s.tvsctl(t, "scale", "webapp", "2")
	before := s.m.must(t, "docker", "ps", "-a", "--format", "{{.ID}} {{.Names}}")
	for _, c := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"scale", "nosuch", "2"}, ipc.ExitUnknown, "no such service"},
		{[]string{"-p", "nosuch", "scale", "webapp", "2"}, ipc.ExitUnknown, `no project "nosuch"`},
		{[]string{"-p", "../etc", "status"}, ipc.ExitUnknown, "no project"},
		{[]string{"scale", "webapp", "-1"}, ipc.ExitUsage, "-1"},
		{[]string{"scale", "webapp", "three"}, ipc.ExitUsage, `"three"`},
		{[]string{"scale", "webapp", "1e3"}, ipc.ExitUsage, `"1e3"`},
		{[]string{"scale", "webapp", "99999999999999999999"}, ipc.ExitOutOfRange, "99999999999999999999"},
		{[]string{"scale", "webapp", "4"}, ipc.ExitOutOfRange, "tvs.scale.max of 3"},
		{[]string{"scale", "fixed", "1000000"}, ipc.ExitOutOfRange, "from 0 to 1000"},
		{[]string{"scale", "named", "2"}, ipc.ExitNotScalable, "container_name is set"},
		{[]string{"scale", "fixed", "2"}, ipc.ExitNotScalable, "fixed host port 3599"},
		{[]string{"scale", "static", "2"}, ipc.ExitNotScalable, "static address 172.31.99.9"},
		{[]string{"scale", "entry", "2"}, ipc.ExitNotScalable, "nginx of the project"},
		{[]string{"scale"}, ipc.ExitUsage, ""},
		{[]string{"frobnicate"}, ipc.ExitUsage, "frobnicate"},
		{[]string{"scale", "webapp", "2", "--frobnicate"}, ipc.ExitUsage, "frobnicate"},
		{[]string{"ops", "zzzz"}, ipc.ExitUnknown, "zzzz"},
		{[]string{"up"}, ipc.ExitUsage, "does not know its compose files"},
		{[]string{"up", "-f", "/nowhere"}, ipc.ExitUsage, "/nowhere"},
	} {
		t.Run(strings.Join(c.args, " "), func(t *testing.T) {
			args := c.args
			if args[0] != "-p" {
				args = append([]string{"-p", s.name}, args...)
			}
			r := s.m.tvsctl(args...)
			first, _, _ := strings.Cut(r.err, "\n")
			if r.code != c.code || !strings.Contains(first, c.says) || !strings.HasPrefix(first, "tvsctl: ") || r.out != "" {
				t.Errorf("want exit status %d and a line with %q: %s", c.code, c.says, r)
			}
		})
	}
	if after := s.m.must(t, "docker", "ps", "-a", "--format", "{{.ID}} {{.Names}}"); after != before {
		t.Errorf("something changed:\nbefore\n%s\nafter\n%s", before, after)
	}
}

// TestBadRequests: what no tvsctl sends is refused too: garbage, 100 MB, unknown
// fields, and unknown routes.
func TestBadRequests(t *testing.T) {
	s := &stack{m: shared, name: "wire", port: 3502}
	s.up(t)
	huge := `{"services":{"webapp":2},"x":"` + strings.Repeat("a", 100<<20) + `"}`
	for _, c := range []struct {
		name, method, path string
		body               string
		status             int
		code               ipc.Code
	}{
		{"garbage", "POST", "/v1/projects/wire/scale", "\x00\xff{{{", 400, ipc.CodeBadRequest},
		{"empty", "POST", "/v1/projects/wire/scale", "", 400, ipc.CodeBadRequest},
		{"an old client's field", "POST", "/v1/projects/wire/scale", `{"services":{"webapp":2},"force":true}`, 400, ipc.CodeBadRequest},
		{"a count that is no number", "POST", "/v1/projects/wire/scale", `{"services":{"webapp":"two"}}`, 400, ipc.CodeBadRequest},
		{"a negative count", "POST", "/v1/projects/wire/scale", `{"services":{"webapp":-2}}`, 400, ipc.CodeOutOfRange},
		{"two values", "POST", "/v1/projects/wire/scale", `{"services":{"webapp":2}}{}`, 400, ipc.CodeBadRequest},
		{"100 MB", "POST", "/v1/projects/wire/scale", huge, 413, ipc.CodeTooLarge},
		{"an unknown route", "GET", "/v1/frobnicate", "", 404, ipc.CodeUnknownRoute},
		{"a wrong method", "DELETE", "/v1/projects", "", 404, ipc.CodeUnknownRoute},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := s.m.runWith(strings.NewReader(c.body), "curl", "-sS", "--unix-socket", "/run/tvsctld.sock", "-X", c.method,
				"-H", "Expect:", "--data-binary", "@-", "-w", "\n%{http_code}", "http://tvsctld"+c.path)
			at := strings.LastIndex(r.out, "\n") + 1
			body, status := r.out[:at], r.out[at:]
			var refused ipc.ErrorReply
			if err := json.Unmarshal([]byte(body), &refused); err != nil || refused.Error == nil {
				t.Fatalf("no error in the reply: %s", r)
			}
			if status != strconv.Itoa(c.status) || refused.Error.Code != c.code || refused.Error.Message == "" {
				t.Errorf("got %s %+v, want %d %s", status, refused.Error, c.status, c.code)
			}
		})
	}
	if n := len(s.ids(t, "webapp")); n != 1 {
		t.Errorf("%d replicas, want 1", n)
	}
}

// TestMissingParts: Docker down, no compose plugin, no socket.
func TestMissingParts(t *testing.T) {
	t.Parallel()
	m := own(t, "missing")
	if err := m.install(); err != nil {
		t.Fatal(err)
	}
	s := &stack{m: m, name: "parts", port: 3001}
	s.up(t)
	s.tvsctl(t, "up", "-f", s.file())
	plugin := strings.TrimSpace(m.sh(t, "ls /usr/lib/docker/cli-plugins/docker-compose /usr/libexec/docker/cli-plugins/docker-compose 2>/dev/null | head -1"))
	check := func(what string, code int, says string, args ...string) {
		t.Helper()
		r := m.tvsctl(args...)
		if first, _, _ := strings.Cut(r.err, "\n"); r.code != code || !strings.Contains(first, says) || !strings.HasPrefix(first, "tvsctl: ") {
			t.Errorf("%s: want exit status %d and a line with %q: %s", what, code, says, r)
		}
	}
	m.must(t, "mv", plugin, plugin+".away")
	check("no compose plugin", ipc.ExitCompose, "plugin is not installed", "up")
	m.must(t, "tvsctl", "scale", "webapp", "2") // does without
	m.must(t, "mv", plugin+".away", plugin)

	m.sh(t, "systemctl stop docker.socket docker.service 2>/dev/null")
	check("Docker down", ipc.ExitDocker, "Docker Engine cannot be reached", "scale", "webapp", "3")
	check("Docker down", ipc.ExitDocker, "Docker Engine cannot be reached", "status")
	m.sh(t, "systemctl start docker.socket docker.service")
	m.eventually(t, commandTimeout, "tvsctl works again with Docker", func() bool { return m.tvsctl("scale", "webapp", "3").code == 0 })

	m.sh(t, "systemctl stop tvsctld.socket tvsctld.service 2>/dev/null")
	check("socket absent", ipc.ExitUnreachable, "nothing listens on /run/tvsctld.sock", "status")
	m.sh(t, "systemctl start tvsctld.socket")
	m.must(t, "tvsctl", "status")
}

// TestWhoMayUseIt: root, and members of group tvs as far as the policy lets them, and
// nobody else; a member needs no group docker.
func TestWhoMayUseIt(t *testing.T) {
	t.Parallel()
	m := own(t, "access")
	if err := m.install(); err != nil {
		t.Fatal(err)
	}
	s := &stack{m: m, name: "site", port: 3001}
	s.up(t)
	m.sh(t, "useradd -m ana && usermod -aG tvs ana && useradd -m rui")
	as := func(user, command string) result { return m.run("runuser", "-l", user, "-c", command) }
	if r := as("ana", "tvsctl scale webapp 3 && tvsctl status && tvsctl verify"); r.code != 0 {
		t.Errorf("a member of tvs: %s", r)
	}
	if r := as("ana", "docker ps"); r.code == 0 {
		t.Errorf("the member can use docker, so the test shows nothing: %s", r)
	}
	if r := as("ana", "tvsctl up -f "+s.dir()); r.code == 0 {
		t.Errorf("a member may declare a project, which is as good as root: %s", r)
	}
	if r := as("ana", "tvsctl rollout webapp --image app:next"); r.code != ipc.ExitForbidden || !strings.Contains(r.err, "rollout is for deployer") {
		t.Errorf("an operator may roll out: %s", r)
	}
	if r := as("ana", "tvsctl plan rollout webapp --image app:next"); r.code != 0 {
		t.Errorf("an operator may not see what a rollout would do: %s", r)
	}
	if r := as("ana", "tvsctl can-i rollout site/webapp"); r.code != ipc.ExitForbidden || !strings.Contains(r.out, "no: rollout site/webapp") {
		t.Errorf("can-i: %s", r)
	}
	writeFile(t, m, "/etc/tvsctld/policy.d/ana.toml", "[[rule]]\nusers = [\"ana\"]\nrole = \"deployer\"\nprojects = [\"site\"]\n")
	m.must(t, "systemctl", "reload", "tvsctld")
	m.eventually(t, 10*time.Second, "the policy is read again", func() bool { return as("ana", "tvsctl can-i rollout site/webapp").code == 0 })
	if r := as("ana", "tvsctl rollout webapp --image tvs-entry"); r.code != ipc.ExitForbidden {
		t.Errorf("a deployer may give the service an image of another repository: %s", r)
	}
	if r := as("ana", "tvsctl rollout webapp --image app:next"); r.code != 0 {
		t.Errorf("a deployer may not choose the tag: %s", r)
	}
	r := as("rui", "tvsctl status")
	if first, _, _ := strings.Cut(r.err, "\n"); r.code != ipc.ExitForbidden || !strings.Contains(first, "neither root nor in group tvs") {
		t.Errorf("not in group tvs: %s", r)
	}
	var o []ipc.Operation
	m.ask(t, &o, "ops")
	if len(o) != 2 || o[0].User != "ana" || o[1].User != "ana" {
		t.Errorf("the operations are not ana's: %+v", o)
	}
}
