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
	case project != mine || !holds(c.role, verb):
		return false
	}
	return c.scope == "project" || c.scope == "service" && (service == "" || service == visible)
}

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

// probe is how a route is tried. SERVICE in a body stands for each service of the project.
type probe struct {
	route string // method and path, as the index has them
	verb  string
	whole bool // the verb must be allowed on all of the project
	// harmless is what is sent where it is to be allowed: it is refused later for another
	// reason, or changes nothing. Else earnest is sent, which would do something.
	harmless, earnest string
	status            int // of the answer when it is allowed
}

const inProject = "/v1/projects/{project}"

var probes = []probe{
	{"GET " + inProject, "status", false, "", "", 200},
	{"POST " + inProject + "/scale", "scale", false, `{"services":{"SERVICE":1}}`, `{"services":{"SERVICE":3}}`, 202},
	{"POST " + inProject + "/scale", "plan", false, `{"services":{"SERVICE":3},"dry_run":true}`, "", 200},
	{"POST " + inProject + "/adjust", "scale", false, `{"service":"SERVICE","by":1000}`, `{"service":"SERVICE","by":1}`, 400},
	{"POST " + inProject + "/adjust", "plan", false, `{"service":"SERVICE","by":1,"dry_run":true}`, "", 200},
	// Nothing is balanced there: what would act on what nginx balances is refused then.
	{"POST " + inProject + "/reset", "reset", false, `{}`, "", 400},
	{"POST " + inProject + "/reset", "plan", false, `{"dry_run":true}`, "", 400},
	{"POST " + inProject + "/start", "start", false, `{}`, "", 400},
	{"POST " + inProject + "/start", "plan", false, `{"dry_run":true}`, "", 400},
	{"POST " + inProject + "/stop", "stop", false, `{"dependencies":true}`, "", 400},
	{"POST " + inProject + "/stop", "plan", false, `{"dry_run":true}`, "", 400},
	{"POST " + inProject + "/rollout", "rollout", false, `{"service":"SERVICE","pause_after":1000}`, `{"service":"SERVICE"}`, 400},
	{"POST " + inProject + "/rollout", "plan", false, `{"service":"SERVICE","dry_run":true}`, "", 200},
	{"POST " + inProject + "/rollout/continue", "continue", false, `{"service":"webapp"}`, "", 409},
	{"POST " + inProject + "/rollback", "rollback", false, `{"service":"webapp"}`, "", 409},
	{"POST " + inProject + "/restart", "restart", false, `{"service":"SERVICE","max_surge":-1}`, `{"service":"SERVICE"}`, 400},
	{"POST " + inProject + "/restart", "plan", false, `{"service":"SERVICE","dry_run":true}`, "", 200},
	{"POST " + inProject + "/up", "up", true, `{}`, "", 400},
	{"POST " + inProject + "/down", "down", true, `{}`, "", 400},
	{"PUT " + inProject + "/declaration", "declare", true, `{}`, `{"directory":"/srv/stacks/ownshop","files":["/srv/stacks/ownshop/compose.yaml"]}`, 400},
	{"GET " + inProject + "/override", "override", true, "", "", 200},
	{"GET " + inProject + "/nginx", "status", true, "", "", 500},
	{"POST " + inProject + "/nginx/test", "nginx-test", true, "", "", 500},
	{"POST " + inProject + "/nginx/reload", "nginx-reload", true, "", "", 500},
}

// cell is one request of one caller, and what has to come of it.
type cell struct {
	caller       caller
	what         string
	method, path string
	body         string
	want         []int // any of these; none: anything but a refusal
	// hidden are words that the answer must not have, has is one that it must.
	hidden []string
	has    string
}

// matrix are the cells of all routes for all callers.
type matrix struct {
	routes []ipc.Route
	ids    map[string]string // by project: an operation that has ended
	cells  []cell
}

// hides lists what a caller must not read in an answer to a request that does not name it.
func (m *matrix) hides(c caller) []string {
	switch {
	case c.root:
		return nil
	case c.may("status", mine, ""):
		return []string{foreign, m.ids[foreign]}
	}
	return []string{foreign, m.ids[foreign], mine, m.ids[mine]}
}

func (m *matrix) add(c cell) {
	if c.caller.noMember {
		c.want = []int{noSocket}
	}
	m.cells = append(m.cells, c)
}

func (m *matrix) build(t *testing.T) {
	tried := map[string]bool{}
	for _, p := range probes {
		tried[p.route] = true
		if i := slices.IndexFunc(m.routes, func(r ipc.Route) bool { return r.Method+" "+r.Path == p.route }); i < 0 {
			t.Errorf("there is no route %s", p.route)
		}
		for _, c := range callers() {
			m.project(c, p)
		}
	}
	for _, r := range m.routes {
		for _, c := range callers() {
			switch {
			case tried[r.Method+" "+r.Path] || r.Path == "/v1/events": // which has its own test
			case strings.Contains(r.Path, "{id}"):
				m.operation(c, r)
			case r.Access == ipc.AccessOpen || r.Access == ipc.AccessFiltered:
				m.everybody(c, r)
			case r.Method == "GET" || r.Access != ipc.AccessPartly:
				m.further(c, r)
			default:
				t.Errorf("%s %s is not tried: it needs a row in probes", r.Method, r.Path)
			}
		}
	}
}

// project adds the cells of a probe for one caller: each project, each service.
func (m *matrix) project(c caller, p probe) {
	method, path, _ := strings.Cut(p.route, " ")
	services := []string{""}
	if strings.Contains(p.harmless, "SERVICE") {
		services = []string{visible, hidden}
	} else if p.whole {
		services = []string{"*"}
	}
	for _, target := range []string{mine, foreign, ipc.OnlyProject} {
		for _, service := range services {
			project := target
			if target == ipc.OnlyProject {
				project = mine // the only one that most callers see
			}
			made := cell{caller: c, what: p.verb, method: method, path: strings.Replace(path, "{project}", target, 1), want: []int{p.status}, hidden: m.hides(c)}
			body := p.harmless
			switch {
			case target == ipc.OnlyProject && (c.root || !c.may("status", mine, "")):
				made.want, made.has = []int{400}, string(ipc.CodeProjectRequired) // there are two, or none
			case !c.may(p.verb, project, service):
				made.want, made.has = []int{403}, string(ipc.CodeForbidden)
				made.hidden = slices.DeleteFunc(made.hidden, func(word string) bool { return word == project }) // which the request named
				if p.earnest != "" {
					body = p.earnest
				}
			}
			if c.scope == "service" && service != hidden {
				made.hidden = append(made.hidden, fmt.Sprintf(`"name":%q`, hidden))
			}
			made.body = strings.ReplaceAll(body, "SERVICE", service)
			m.add(made)
		}
	}
}

// operation adds the cells of routes of one operation, which is there only for who may
// see those of its project.
func (m *matrix) operation(c caller, r ipc.Route) {
	for _, project := range []string{mine, foreign} {
		made := cell{caller: c, what: "ops", method: r.Method, path: strings.Replace(r.Path, "{id}", m.ids[project], 1), want: []int{200}, hidden: m.hides(c)}
		switch {
		case !c.may("ops", project, ""):
			made.want, made.has = []int{404}, string(ipc.CodeUnknownOperation)
			made.hidden = []string{foreign, mine}
		case strings.HasSuffix(r.Path, "/cancel") && !c.may("cancel", project, ""):
			made.want = []int{403}
		case strings.HasSuffix(r.Path, "/cancel"):
			made.want, made.has = []int{409}, "it has ended"
		}
		m.add(made)
	}
}

// everybody adds the cells of routes that all may use, and that tell each what it may see.
func (m *matrix) everybody(c caller, r ipc.Route) {
	if r.Path == "/v1/can-i" {
		m.canI(c)
		return
	}
	made := cell{caller: c, what: r.Access, method: r.Method, path: r.Path, want: []int{200}, hidden: m.hides(c)}
	switch {
	case r.Path == "/v1/whoami":
		made.has, made.hidden = fmt.Sprintf(`"user":%q`, c.name), nil
	case r.Access == ipc.AccessFiltered && c.root:
		made.has = foreign
	case r.Access == ipc.AccessFiltered && c.may("status", mine, ""):
		made.has = mine
	}
	m.add(made)
}

// canI adds what tvsctl can-i has to answer for each verb.
func (m *matrix) canI(c caller) {
	for _, r := range roleVerbs {
		for _, verb := range strings.Fields(r.verbs) {
			for _, target := range []struct{ project, service string }{{mine, ""}, {mine, visible}, {mine, hidden}, {foreign, visible}} {
				if slices.Contains(ofUnits, verb) {
					continue
				}
				service := target.service
				if service == "" {
					service = "*"
				}
				m.add(cell{caller: c, what: "can-i", method: "GET", path: "/v1/can-i?verb=" + verb + "&project=" + target.project + "&service=" + target.service,
					want: []int{200}, has: fmt.Sprintf(`"allowed":%v`, c.may(verb, target.project, service))})
			}
			if verb == "status" || slices.Contains(ofUnits, verb) {
				m.add(cell{caller: c, what: "can-i", method: "GET", path: "/v1/can-i?verb=" + verb + "&unit=nginx.service",
					want: []int{200}, has: fmt.Sprintf(`"allowed":%v`, c.root)})
			}
		}
	}
}

// further adds the cells of a route that has no probe, by what the index says of it: who
// may not is refused, and who may, and only looks, is not.
func (m *matrix) further(c caller, r ipc.Route) {
	service := ""
	if r.Access == ipc.AccessWhole {
		service = "*"
	}
	for _, project := range []string{mine, foreign} {
		path := strings.NewReplacer("{project}", project, "{service}", visible, "{unit}", "nginx.service").Replace(r.Path)
		may := c.may(r.Verb, project, service)
		if !strings.Contains(r.Path, "{project}") { // units and the host are nobody's but root's
			may = c.root
		}
		if !may {
			m.add(cell{caller: c, what: r.Verb, method: r.Method, path: path, body: "{}", want: []int{403}})
		} else if r.Method == "GET" {
			m.add(cell{caller: c, what: r.Verb, method: r.Method, path: path, hidden: m.hides(c)})
		}
	}
}

// run lets every caller make its requests, all callers at once, and returns the status
// and the body of each.
func (m *matrix) run(t *testing.T, on *machine) (statuses []int, bodies []string) {
	t.Helper()
	var script strings.Builder
	for _, c := range callers() {
		var config strings.Builder
		for i, cell := range m.cells {
			if cell.caller.name != c.name {
				continue
			}
			if config.Len() > 0 {
				config.WriteString("next\n")
			}
			fmt.Fprintf(&config, "url = %q\nunix-socket = \"/run/tvsctld.sock\"\nmax-time = 30\nsilent\nrequest = %s\noutput = \"/srv/matrix/%s/%d\"\nwrite-out = \"%d %%{http_code}\\n\"\n",
				"http://tvsctld"+cell.path, cell.method, c.name, i, i)
			if cell.body != "" {
				fmt.Fprintf(&config, "data-binary = %q\n", cell.body)
			}
		}
		dir := "/srv/matrix/" + c.name
		writeFile(t, on, dir+"/config", config.String())
		fmt.Fprintf(&script, "chown %s %s; setpriv --reuid %s --regid \"$(id -g %s)\" --init-groups curl --parallel --parallel-max 8 --parallel-immediate -K %s/config >%s/codes 2>/dev/null &\n", c.name, dir, c.name, c.name, dir, dir)
	}
	script.WriteString("wait; cat /srv/matrix/*/codes")
	statuses, bodies = make([]int, len(m.cells)), make([]string, len(m.cells))
	for i := range statuses {
		statuses[i] = -1
	}
	for line := range strings.Lines(on.sh(t, script.String())) {
		var i, status int
		if _, err := fmt.Sscan(line, &i, &status); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		statuses[i] = status
		text, err := os.ReadFile(filepath.Join(on.root, "srv/matrix", m.cells[i].caller.name, strconv.Itoa(i)))
		if err != nil && status != noSocket {
			t.Fatal(err)
		}
		bodies[i] = string(text)
	}
	return statuses, bodies
}

// check says what is wrong with the answer, or "".
func (c cell) check(status int, body string) string {
	switch {
	case len(c.want) == 0 && (status == 403 || status <= 0), len(c.want) > 0 && !slices.Contains(c.want, status):
		return fmt.Sprintf("status %d, want %v", status, c.want)
	case status != noSocket && !strings.Contains(body, c.has):
		return "the answer does not have " + c.has
	}
	for _, word := range c.hidden {
		if strings.Contains(body, word) {
			return "the answer has " + word
		}
	}
	return ""
}

// TestPolicyMatrix: every role, with a rule for a project, for some of its services, for
// another project, and under one that denies, on every route, on its own and a foreign
// project: what comes is what the policy says, and no answer tells of what it hides.
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
	m.must(t, "/opt/isel/tvs/tvsctld/bin/tvsctld", "policy", "check")
	m.must(t, "systemctl", "restart", "tvsctld.service")
	x := &matrix{ids: map[string]string{}}
	for _, name := range []string{mine, foreign} {
		s := &stack{m: m, name: name}
		writeFile(t, m, s.file(), fmt.Sprintf("name: %s\nservices:\n  %s:\n    image: app\n  %s:\n    image: app\n", name, visible, hidden))
		s.compose(t, "up", "-d")
		s.tvsctl(t, "scale", visible+"=1")
		var list []ipc.Operation
		m.ask(t, &list, "-p", name, "ops")
		x.ids[name] = list[0].ID
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
	const denials = "journalctl -u tvsctld TVS_DECISION=deny -o cat --no-pager | wc -l"
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
	}
}
