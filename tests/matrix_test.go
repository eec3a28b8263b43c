//go:build e2e

package tests

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"tvsctl/ipc"
)

// probe is how a route is tried. SERVICE, in the body or for a GET in the query, stands for
// each service of the project.
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
	{"GET " + inProject + "/logs", "logs", false, "service=SERVICE", "", 200},
	{"GET " + inProject + "/services/{service}/inspect", "inspect", false, "number=1&of=SERVICE", "", 200},
	{"POST " + inProject + "/limit", "limit", false, `{"service":"SERVICE"}`, `{"service":"SERVICE","pids":100}`, 400},
	{"POST " + inProject + "/limit", "plan", false, `{"service":"SERVICE","pids":100,"dry_run":true}`, "", 200},
	{"POST " + inProject + "/exec", "exec", false, `{"service":"SERVICE","number":99,"command":["/app"]}`, `{"service":"SERVICE","command":["/app"]}`, 404},
	{"GET " + inProject + "/override", "override", true, "", "", 200},
	{"GET " + inProject + "/nginx", "status", true, "", "", 500},
	{"POST " + inProject + "/nginx/test", "nginx-test", true, "", "", 500},
	{"POST " + inProject + "/nginx/reload", "nginx-reload", true, "", "", 500},
}

const onUnit = "/v1/units/{unit}"

// unitProbes are the routes of units. whole has no meaning there.
var unitProbes = []probe{
	{"GET " + onUnit, "status", false, "", "", 200},
	{"GET " + onUnit + "/files", "cat", false, "", "", 200},
	{"GET " + onUnit + "/dependencies", "deps", false, "", "", 200},
	{"GET " + onUnit + "/logs", "logs", false, "", "", 200},
	{"GET " + onUnit + "/wait", "status", false, "for=inactive", "", 200},
	{"POST " + onUnit + "/isolate", "isolate", false, `{"dry_run":true}`, `{}`, 409},
	{"POST " + onUnit + "/start", "start", false, `{"force":true}`, `{}`, 400},
	{"POST " + onUnit + "/stop", "stop", false, `{"force":true}`, `{}`, 400},
	{"POST " + onUnit + "/restart", "restart", false, `{"force":true}`, `{}`, 400},
	{"POST " + onUnit + "/reload", "reload", false, `{"force":true}`, `{}`, 400},
	{"POST " + onUnit + "/reset-failed", "reset-failed", false, `{"force":true}`, `{}`, 400},
	{"POST " + onUnit + "/enable", "enable", false, `{"force":true}`, `{}`, 400},
	{"POST " + onUnit + "/disable", "disable", false, `{"force":true}`, `{}`, 400},
	{"POST " + onUnit + "/mask", "mask", false, `{"force":true}`, `{}`, 400},
	{"POST " + onUnit + "/unmask", "unmask", false, `{"force":true}`, `{}`, 400},
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
	ids    map[string]string // by project/service: an operation that has ended
	cells  []cell
}

// hides lists what a caller must not read in an answer to a request that does not name it.
func (m *matrix) hides(c caller) []string {
	if c.root {
		return nil
	}
	list := []string{foreign}
	if !c.may("status", mine, "") && !c.may("ops", mine, "") {
		list = append(list, mine)
	}
	for of, id := range m.ids {
		if project, service, _ := strings.Cut(of, "/"); !c.may("ops", project, service) {
			list = append(list, id)
		}
	}
	return list
}

func (m *matrix) add(c cell) {
	if c.caller.noMember {
		c.want = []int{noSocket}
	}
	m.cells = append(m.cells, c)
}

func (m *matrix) build(t *testing.T) {
	tried := map[string]bool{}
	for i, p := range slices.Concat(probes, unitProbes) {
		ofUnit := i >= len(probes)
		tried[p.route] = true
		at := slices.IndexFunc(m.routes, func(r ipc.Route) bool { return r.Method+" "+r.Path == p.route })
		if at < 0 {
			t.Errorf("there is no route %s", p.route)
			continue
		}
		if r := m.routes[at]; p.verb != "plan" && p.verb != r.Verb || p.whole != (r.Access == ipc.AccessWhole) {
			t.Errorf("%s is %s of %s", p.route, r.Access, r.Verb)
		}
		for _, c := range callers() {
			if ofUnit {
				m.unit(c, p)
			} else {
				m.project(c, p)
			}
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
			made.path = strings.Replace(made.path, "{service}", service, 1)
			made.fill(strings.ReplaceAll(body, "SERVICE", service))
			m.add(made)
		}
	}
}

// fill gives the request its body, or for a GET its query.
func (c *cell) fill(text string) {
	if c.method != "GET" {
		c.body = text
	} else if text != "" {
		c.path += "?" + text
	}
}

// unit adds the cells of a probe of units for one caller.
func (m *matrix) unit(c caller, p probe) {
	method, path, _ := strings.Cut(p.route, " ")
	for _, project := range []string{mine, foreign} {
		made := cell{caller: c, what: p.verb, method: method, path: strings.Replace(path, "{unit}", unitOf(project), 1), want: []int{p.status}}
		text := p.harmless
		if !c.mayUnit(p.verb, unitOf(project)) {
			made.want, made.has = []int{403}, string(ipc.CodeForbidden)
			if p.earnest != "" {
				text = p.earnest
			}
		}
		made.fill(text)
		m.add(made)
	}
}

// operation adds the cells of routes of one operation, which is there only for who may
// see those of its service.
func (m *matrix) operation(c caller, r ipc.Route) {
	for of, id := range m.ids {
		project, service, _ := strings.Cut(of, "/")
		made := cell{caller: c, what: "ops", method: r.Method, path: strings.Replace(r.Path, "{id}", id, 1), want: []int{200}, hidden: m.hides(c)}
		switch {
		case !c.may("ops", project, service):
			made.want, made.has = []int{404}, string(ipc.CodeUnknownOperation)
			made.hidden = []string{foreign, mine}
		case strings.HasSuffix(r.Path, "/cancel") && !c.may("cancel", project, service):
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
	of := "status"
	if r.Path == "/v1/operations" {
		of = "ops"
	}
	switch {
	case r.Path == "/v1/units":
		made.hidden = []string{unitOf(foreign)}
		if c.root {
			made.hidden, made.has = nil, unitOf(foreign)
		} else if c.scope == "units" {
			made.has = unitOf(mine)
		} else {
			made.hidden = []string{"job.service"}
		}
	case r.Path == "/v1/whoami":
		made.has, made.hidden = fmt.Sprintf(`"user":%q`, c.name), nil
	case r.Access == ipc.AccessFiltered && c.root:
		made.has = foreign
	case r.Access == ipc.AccessFiltered && c.may(of, mine, ""):
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
			for _, unit := range []string{unitOf(mine), unitOf(foreign)} {
				if verb == "status" || verb == "start" || slices.Contains(ofUnits, verb) {
					m.add(cell{caller: c, what: "can-i", method: "GET", path: "/v1/can-i?verb=" + verb + "&unit=" + unit,
						want: []int{200}, has: fmt.Sprintf(`"allowed":%v`, c.mayUnit(verb, unit))})
				}
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
		path := strings.NewReplacer("{project}", project, "{service}", visible, "{unit}", unitOf(project)).Replace(r.Path)
		may := c.may(r.Verb, project, service)
		switch r.Access {
		case ipc.AccessUnit:
			may = c.mayUnit(r.Verb, unitOf(project))
		case ipc.AccessHost: // which no rule here covers
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
			if strings.HasSuffix(cell.path, "/exec") {
				config.WriteString("header = \"Connection: Upgrade\"\nheader = \"Upgrade: tvs-exec\"\n")
			}
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
