//go:build e2e

package tests

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"tvsctl/ipc"
)

// roleVerbs is the policy's table of verbs as policy.toml explains it, written down once
// more: each role holds its own verbs and those of the roles before it.
var roleVerbs = []struct{ role, verbs string }{
	{"viewer", "status logs events ops plan verify override cat deps"},
	{"operator", "scale start stop restart reset cancel nginx-test nginx-reload reload reset-failed"},
	{"deployer", "rollout continue rollback up down"},
	{"admin", "exec limit inspect declare audit isolate enable disable mask unmask"},
}

// ofUnits are the verbs that are for units alone.
var ofUnits = strings.Fields("cat deps reload reset-failed isolate enable disable mask unmask")

func holds(role, verb string) bool {
	for _, r := range roleVerbs {
		if slices.Contains(strings.Fields(r.verbs), verb) {
			return true
		}
		if r.role == role {
			return false
		}
	}
	return false
}

const (
	mine     = "ownshop"
	foreign  = "foreignshop"
	visible  = "webapp"
	hidden   = "vault"
	noSocket = 0 // curl's status where it could not connect
)

// scopes are what a rule is narrowed to, by the words that stand in its users' names.
var scopes = []struct{ name, principal, lines string }{
	{"project", "users = [%q]", `projects = ["own*"]`},
	{"service", "groups = [%q]", `projects = ["ownshop"]` + "\n" + `services = ["web*"]`},
	{"verbs", "users = [%q]", `projects = ["ownshop"]` + "\n" + `verbs = ["st*", "override"]`},
	{"units", "users = [%q]", `units = ["ownjob*.service"]`},
	{"elsewhere", "users = [%q]", `projects = ["elsewhere"]`},
	{"denied", "users = [%q]", ""}, // every project, and a second rule that denies
}

// caller is a user of the machine.
type caller struct {
	name        string
	role, scope string // "": no rule is about it
	noMember    bool   // not in group tvs either
	root        bool
}

func callers() []caller {
	all := []caller{{name: "root", root: true}, {name: "member"}, {name: "stranger", noMember: true}}
	for _, r := range roleVerbs {
		for _, s := range scopes {
			all = append(all, caller{name: r.role + "-" + s.name, role: r.role, scope: s.name})
		}
	}
	return all
}

// may is the expectation: whether the policy below lets a caller do the verb to a service
// of a project, to the whole project ("*"), or to anything in it ("").
func (c caller) may(verb, project, service string) bool {
	switch {
	case c.root:
		return true
	case project != mine || !holds(c.role, verb) || verb == "declare": // which is root's
		return false
	}
	switch c.scope {
	case "project":
		return true
	case "service":
		return service == "" || service == visible
	case "verbs":
		return strings.HasPrefix(verb, "st") || verb == "override"
	}
	return false
}

// mayUnit is the same for a unit.
func (c caller) mayUnit(verb, unit string) bool {
	return c.root || c.scope == "units" && unit == unitOf(mine) && holds(c.role, verb)
}

// unitOf is the unit that goes with a project.
func unitOf(project string) string { return strings.TrimSuffix(project, "shop") + "job.service" }

func matrixPolicy() string {
	var b strings.Builder
	for _, c := range callers() {
		for _, s := range scopes {
			if c.scope == s.name {
				fmt.Fprintf(&b, "[[rule]]\nname = %q\n"+s.principal+"\nrole = %q\n%s\n", c.name, c.name, c.role, s.lines)
			}
		}
		if c.scope == "denied" {
			fmt.Fprintf(&b, "[[rule]]\nname = \"not %s\"\ngroups = [%q]\neffect = \"deny\"\nprojects = [\"*shop\"]\n", c.name, c.name)
		}
	}
	return b.String()
}

// TestPolicyMatrix: every role, with a rule for a project, for some of its services, for
// some verbs, for another project, and under one that denies, on every route, on its own
// and a foreign project: what comes is what the policy says, and no answer tells of what it hides.
func TestPolicyMatrix(t *testing.T) {
	t.Parallel()
	m := own(t, "matrix")
	if err := m.install(); err != nil {
		t.Fatal(err)
	}
	var script strings.Builder
	for _, c := range callers() {
		if !c.root {
			fmt.Fprintf(&script, "useradd -U %s\n", c.name)
		}
		if !c.root && !c.noMember {
			fmt.Fprintf(&script, "usermod -aG tvs %s\n", c.name)
		}
	}
	m.sh(t, script.String())
	writeFile(t, m, "/etc/tvsctld/policy.toml", matrixPolicy())
	m.must(t, "tvsctld", "policy", "check")
	m.must(t, "systemctl", "restart", "tvsctld.service")
	x := &matrix{ids: map[string]string{}}
	for _, name := range []string{mine, foreign} {
		writeFile(t, m, "/etc/systemd/system/"+unitOf(name), "[Unit]\nDescription=A job\n[Service]\nExecStart=true\n[Install]\nWantedBy=multi-user.target\n")
		m.sh(t, "systemctl daemon-reload; systemctl start "+unitOf(name)+"; ln -sf ../"+unitOf(name)+" /etc/systemd/system/multi-user.target.wants/; systemctl daemon-reload")
		s := &stack{m: m, name: name}
		writeFile(t, m, s.file(), fmt.Sprintf("name: %s\nservices:\n  %s:\n    image: app\n  %s:\n    image: app\n", name, visible, hidden))
		s.compose(t, "up", "-d")
		for _, service := range []string{visible, hidden} {
			s.tvsctl(t, "scale", service+"=1")
			var list []ipc.Operation
			m.ask(t, &list, "-p", name, "ops")
			x.ids[name+"/"+service] = list[0].ID
		}
	}
	before := m.must(t, "docker", "ps", "-a", "--format", "{{.ID}} {{.Names}} {{.State}}")
	if err := json.Unmarshal([]byte(m.must(t, "curl", "-sS", "--unix-socket", "/run/tvsctld.sock", "http://tvsctld/v1")), &x.routes); err != nil {
		t.Fatal(err)
	}
	t.Run("routes", func(t *testing.T) { everyRoute(t, m, x) })
	t.Run("events", func(t *testing.T) { everyFollower(t, m) })
	if after := m.must(t, "docker", "ps", "-a", "--format", "{{.ID}} {{.Names}} {{.State}}"); after != before {
		t.Errorf("something changed:\nbefore\n%s\nafter\n%s", before, after)
	}
}

func everyRoute(t *testing.T, m *machine, x *matrix) {
	x.build(t)
	start := time.Now()
	const denials = "journalctl --sync; journalctl -u tvsctld TVS_DECISION=deny -o cat --no-pager | wc -l"
	earlier := m.sh(t, denials)
	statuses, bodies := x.run(t, m)
	refused, wrong := 0, 0
	for i, c := range x.cells {
		if statuses[i] == 403 {
			refused++
		}
		if problem := c.check(statuses[i], bodies[i]); problem != "" {
			if wrong++; wrong <= 40 {
				t.Errorf("%s (%s), %s %s %s: %s: %s", c.caller.name, c.what, c.method, c.path, c.body, problem, strings.TrimSpace(bodies[i]))
			}
		}
	}
	// What was refused is on record, once.
	first, _ := strconv.Atoi(strings.TrimSpace(earlier))
	m.eventually(t, 10*time.Second, fmt.Sprintf("%d denials are in the journal", refused), func() bool {
		n, _ := strconv.Atoi(strings.TrimSpace(m.sh(t, denials)))
		return n-first == refused
	})
	t.Logf("%d cells: %d routes, %d users; %d refused and on record, %d not as the policy says, in %v", len(x.cells), len(x.routes), len(callers()), refused, wrong,
		time.Since(start).Round(time.Millisecond))
}

// everyFollower: each caller follows all events while something happens in both projects.
func everyFollower(t *testing.T, m *machine) {
	out := func(c caller) string {
		text, _ := os.ReadFile(filepath.Join(m.root, "srv/matrix", c.name, "events"))
		return string(text)
	}
	var script strings.Builder
	for _, c := range callers() {
		fmt.Fprintf(&script, "setpriv --reuid %s --regid \"$(id -g %s)\" --init-groups stdbuf -oL curl -siN --unix-socket /run/tvsctld.sock http://tvsctld/v1/events >/srv/matrix/%s/events &\n", c.name, c.name, c.name)
	}
	command := m.command(t.Context(), "bash", "-c", script.String()+"wait")
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	for _, c := range callers() {
		m.eventually(t, 10*time.Second, c.name+" follows", func() bool { return c.noMember || strings.HasPrefix(out(c), "HTTP/1.1 200") })
	}
	for _, project := range []string{foreign, mine} {
		m.run("tvsctl", "-p", project, "exec", visible, "nothing-of-that-name")
		m.must(t, "tvsctl", "-p", project, "scale", visible+"=1")
	}
	for _, c := range callers() {
		if c.may("events", mine, "") {
			m.eventually(t, 10*time.Second, c.name+" hears of its own", func() bool { return strings.Contains(out(c), "nothing to do") })
		}
	}
	m.must(t, "systemctl", "restart", "tvsctld.service") // which ends the streams
	if err := command.Wait(); err != nil {
		t.Error(err)
	}
	project := regexp.MustCompile(`"TVS_PROJECT":"([a-z]+)"`)
	for _, c := range callers() {
		heard := map[string]bool{}
		for _, found := range project.FindAllStringSubmatch(out(c), -1) {
			heard[found[1]] = true
		}
		if heard[mine] != c.may("events", mine, "") || heard[foreign] != c.root || !c.root && strings.Contains(out(c), foreign) {
			t.Errorf("%s heard of %v: %s", c.name, heard, out(c))
		}
		for _, audit := range []string{"nothing-of-that-name", `"TVS_PID"`} {
			if audits := c.may("audit", mine, visible) && c.may("events", mine, ""); strings.Contains(out(c), audit) != audits {
				t.Errorf("%s, who may audit: %v, heard %s: %s", c.name, audits, audit, out(c))
			}
		}
	}
}
