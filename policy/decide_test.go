package policy

import (
	"slices"
	"strings"
	"testing"
)

func TestDefault(t *testing.T) {
	for _, c := range []struct {
		s       Subject
		q       Request
		allowed bool
		reason  string
	}{
		{ann, Request{Verb: Scale, Target: web, Replicas: 3}, true, `rule "operators" makes group tvs operator on every project`},
		{ann, Request{Verb: Rollout, Target: web, OwnRepository: true}, false, `rule "operators" makes you operator on every project, and rollout is for deployer`},
		{ann, Request{Verb: Start, Target: Target{Unit: "ssh.service"}}, false, `rule "operators" makes you operator on every project, and on no unit`},
		{ann, Request{Verb: Scale, Target: Target{Unit: "ssh.service"}}, false, "scale is not for units"},
		{ann, Request{Verb: Cat, Target: shop}, false, "cat is not for projects and services"},
		{ann, Request{Verb: "scales", Target: web}, false, `rule "operators" makes you operator on every project, and scales is for admin`},
		{bob, Request{Verb: Status, Target: web}, false, "no rule allows user bob or a group of theirs anything"},
		{root, Request{Verb: Mask, Target: Target{Unit: "ssh.service"}}, true, "root may do everything"},
		{Daemon(), Request{Verb: Scale, Target: web}, true, "tvsctld may do everything"},
		{Subject{}, Request{Verb: Status, Target: web}, false, "it is not known who asks"},
	} {
		if d := Default().Decide(c.s, c.q); d.Allowed != c.allowed || d.Reason != c.reason {
			t.Errorf("%s, %+v: %+v", c.s, c.q, d)
		}
	}
	if (&Policy{}).Decide(ann, Request{Verb: Status, Target: web}).Allowed || !(&Policy{}).Decide(root, Request{Verb: Down, Target: shop}).Allowed {
		t.Error("without rules it is not root alone who may")
	}
}

func TestDecide(t *testing.T) {
	p := mustParse(t, rulesText)
	instance, mount := Target{Unit: "tvsapp@35000.service"}, Target{Unit: `srv-a\x2db.mount`}
	for _, c := range []struct {
		s      Subject
		q      Request
		rule   string // "": denied by default
		reason string // "": allowed
	}{
		{ann, Request{Verb: Scale, Target: web, Replicas: 8}, "operators", ""},
		{ann, Request{Verb: Scale, Target: web, Replicas: 9}, "operators", `rule "operators" lets you have 8 replicas at most`},
		{ann, Request{Verb: Status, Target: shop}, "operators", ""},
		{ann, Request{Verb: Scale, Target: Target{Project: "dev-1", Service: "x"}}, "operators", ""},
		{ann, Request{Verb: Scale, Target: Target{Project: "dev", Service: "x"}}, "operators", `rule "operators" makes you operator, but only on projects shop and dev-*`},
		{ann, Request{Verb: Rollout, Target: other}, "operators", `rule "operators" makes you only operator, and only on projects shop and dev-*`},
		{ann, Request{Verb: Events}, "readers", `rule "readers" denies everybody what role viewer holds on project secret, and this host has part in that`},

		// An explicit deny wins, whatever comes before it, and for the whole that holds the part.
		{ann, Request{Verb: Stop, Target: storage}, "database stays", `rule "database stays" denies everybody stop, down and res* on service storage of every project`},
		{ann, Request{Verb: Restart, Target: storage}, "database stays", `rule "database stays" denies everybody stop, down and res* on service storage of every project`},
		{carl, Request{Verb: Down, Target: shop}, "database stays", `rule "database stays" denies everybody stop, down and res* on service storage of every project, and shop has part in that`},
		{ann, Request{Verb: Start, Target: storage}, "operators", ""},
		{ann, Request{Verb: Stop, Target: web}, "operators", ""},
		{fred, Request{Verb: Stop, Target: storage}, "database stays", `rule "database stays" denies everybody stop, down and res* on service storage of every project`},
		{root, Request{Verb: Stop, Target: storage}, "root", ""},
		{erik, Request{Verb: Status, Target: shop}, "erik is on holiday", `rule "erik is on holiday" denies user erik everything on every project and unit`},
		{erik, Request{Verb: Start, Target: instance}, "erik is on holiday", `rule "erik is on holiday" denies user erik everything on every project and unit`},
		{fred, Request{Verb: Logs, Target: Target{Project: "secret", Service: "x"}}, "readers", `rule "readers" denies everybody what role viewer holds on project secret`},
		{fred, Request{Verb: Scale, Target: Target{Project: "secret", Service: "x"}}, "admins", ""},

		// Images.
		{carl, Request{Verb: Rollout, Target: web, Image: "registry.example.org/shop/web:2"}, "releases", ""},
		{carl, Request{Verb: Rollout, Target: web, Image: "registry.example.org/shop/web"}, "releases", ""},
		{carl, Request{Verb: Rollout, Target: web, Image: "registry.example.org/shop/web@sha256:ab"}, "releases", ""},
		{carl, Request{Verb: Rollout, Target: web, Image: "registry.example.org/shop/deep/web:2"}, "releases",
			`rule "releases" lets you roll out only images registry.example.org/shop/* and registry.example.org/base/nginx:1.*`},
		{carl, Request{Verb: Rollout, Target: web, Image: "registry.example.org/base/nginx:1.26"}, "releases", ""},
		{carl, Request{Verb: Rollout, Target: web, Image: "registry.example.org/base/nginx", OwnRepository: true}, "releases",
			`rule "releases" lets you roll out only images registry.example.org/shop/* and registry.example.org/base/nginx:1.*`},
		{carl, Request{Verb: Rollout, Target: web, Image: "evil.example.org/registry.example.org/shop/web:2"}, "releases",
			`rule "releases" lets you roll out only images registry.example.org/shop/* and registry.example.org/base/nginx:1.*`},
		// Beside a digest Docker does not look at the tag, and an id is of no registry.
		{carl, Request{Verb: Rollout, Target: web, Image: "registry.example.org/base/nginx:1.26@sha256:ab"}, "releases",
			`rule "releases" lets you roll out only images registry.example.org/shop/* and registry.example.org/base/nginx:1.*`},
		{carl, Request{Verb: Rollout, Target: web, Image: "registry.example.org/shop/web:2@sha256:ab"}, "releases", ""},
		{carl, Request{Verb: Rollout, Target: web, Image: "sha256:ab"}, "releases",
			`rule "releases" lets you roll out only images registry.example.org/shop/* and registry.example.org/base/nginx:1.*`},
		{carl, Request{Verb: Rollback, Target: web}, "releases", ""},
		{dora, Request{Verb: Rollout, Target: web, Image: "x:2", OwnRepository: true}, "#3", ""},
		{dora, Request{Verb: Rollout, Target: web, Image: "y:2"}, "#3", "rule #3 lets you roll out only images of the repository that the service runs"},
		{dora, Request{Verb: Rollout, Target: Target{Project: "bank", Service: "web-2"}}, "#3", ""},
		{dora, Request{Verb: Rollout, Target: Target{Project: "bank", Service: "db"}}, "#3", `rule #3 makes you deployer, but only on service web* of every project`},
		{dora, Request{Verb: Up, Target: shop}, "#3", `rule #3 makes you deployer, but only on service web* of every project`},
		{fred, Request{Verb: Rollout, Target: web, Image: "anything:1"}, "admins", ""},

		// The first rule within whose limits it is.
		{carl, Request{Verb: Scale, Target: web, Replicas: 20}, "releases", ""},

		// Numbers for names, and units.
		{anon, Request{Verb: Rollout, Target: web, Image: "registry.example.org/shop/web:2"}, "releases", ""},
		{anon, Request{Verb: Start, Target: instance}, "instances", ""},
		{anon, Request{Verb: Status, Target: instance}, "instances", ""},
		{anon, Request{Verb: Start, Target: mount}, "instances", ""},
		{anon, Request{Verb: Start, Target: Target{Unit: "srv-ax2db.mount"}}, "instances", `rule "instances" makes you operator, but only on units tvsapp@*.service and srv-a\x2db.mount`},
		{anon, Request{Verb: Reload, Target: instance}, "instances", `rule "instances" makes you operator on units tvsapp@*.service and srv-a\x2db.mount, but for st* and restart only`},
		{anon, Request{Verb: Mask, Target: instance}, "instances", `rule "instances" makes you operator on units tvsapp@*.service and srv-a\x2db.mount, and mask is for admin`},
		{anon, Request{Verb: Start, Target: shop}, "releases", ""},
		{anon, Request{Verb: Start, Target: other}, "releases", `rule "releases" makes you deployer, but only on project shop`},
		{User(9, "x", []uint32{991}, nil), Request{Verb: Start, Target: web}, "instances", `rule "instances" makes you operator, but only on units tvsapp@*.service and srv-a\x2db.mount`},
		{User(9, "x", nil, []string{"991"}), Request{Verb: Start, Target: instance}, "", "no rule allows user x or a group of theirs anything"},
		{User(9, "", nil, []string{""}), Request{Verb: Start, Target: instance}, "", "no rule allows uid 9 or a group of theirs anything"},
		{fred, Request{Verb: Isolate, Target: Target{Unit: "rescue.target"}}, "admins", ""},
		{fred, Request{Verb: Audit}, "admins", ""},
		{carl, Request{Verb: Audit}, "releases", `rule "releases" makes you only deployer, and only on project shop`},
		{bob, Request{Verb: Status, Target: web}, "", "no rule allows user bob or a group of theirs anything"},
	} {
		d := p.Decide(c.s, c.q)
		if d.Rule != c.rule || d.Allowed != (c.reason == "") || c.reason != "" && d.Reason != c.reason {
			t.Errorf("%s, %s %s: %+v\nwant %q: %s", c.s, c.q.Verb, c.q.Target, d, c.rule, c.reason)
		}
	}
}

// TestScope: which of projects, services and units a rule lists says what it covers.
func TestScope(t *testing.T) {
	unit := Target{Unit: "a.service"}
	for _, c := range []struct {
		keys   string
		covers []Target
	}{
		{"", []Target{{}, shop, web, storage, other}},
		{"projects = ['*']", []Target{{}, shop, web, storage, other}},
		{"projects = ['sh?p']", []Target{shop, web, storage}},
		{"projects = ['[a-r]*']", []Target{other}},
		{"services = ['web']", []Target{web, other}},
		{"services = ['*']", []Target{{}, shop, web, storage, other}},
		{"projects = ['shop']\nservices = ['s*']", []Target{storage}},
		{"units = ['a.service']", []Target{unit}},
		{"units = ['*']\nprojects = ['bank']", []Target{other, unit}},
		{"units = ['b*']\nservices = ['web']", []Target{web, other}},
		{"units = ['a.*']\nservices = ['web']", []Target{web, other, unit}},
	} {
		p := mustParse(t, "[[rule]]\nusers = ['ann']\nrole = 'viewer'\n"+c.keys)
		for _, target := range []Target{{}, shop, web, storage, other, unit} {
			if d := p.Decide(ann, Request{Verb: Logs, Target: target}); d.Allowed != slices.Contains(c.covers, target) {
				t.Errorf("%q, %s: %+v", c.keys, target, d)
			}
		}
	}
}

func TestDecisionTellsWhere(t *testing.T) {
	p := mustParse(t, rulesText)
	if d := p.Decide(ann, Request{Verb: Scale, Target: web, Replicas: 2}); d.Default || d.Source != "policy.toml:2" || d.MaxReplicas != 8 {
		t.Errorf("%+v", d)
	}
	if d := p.Decide(ann, Request{Verb: Scale, Target: web, Replicas: 9}); !d.Default || d.Source != "policy.toml:2" {
		t.Errorf("%+v", d)
	}
	if d := p.Decide(bob, Request{Verb: Down, Target: shop}); d.Default || d.Source != "policy.toml:37" {
		t.Errorf("%+v", d)
	}
}

// TestRoles asks for every verb in every role: each holds its own and those before.
func TestRoles(t *testing.T) {
	count := map[Role]int{}
	for _, role := range Roles() {
		sockets := ""
		if role >= Deployer {
			sockets = "sockets = true\n" // which declare takes
		}
		p := mustParse(t, "[[rule]]\nusers = ['ann']\nprojects = ['*']\nunits = ['*']\nrole = '"+role.String()+"'\n"+sockets)
		for _, i := range Verbs() {
			for _, target := range []Target{web, shop, {Unit: "a.service"}} {
				want := i.Suits(target) && i.Role <= role
				if d := p.Decide(ann, Request{Verb: i.Verb, Target: target}); d.Allowed != want {
					t.Errorf("%s, %s %s: %+v", role, i.Verb, target, d)
				}
				if want {
					count[role]++
				}
			}
			if i.Meaning == "" || !i.Projects && !i.Units || i.Changes && i.Role == Viewer {
				t.Errorf("%+v", i)
			}
		}
	}
	if !(count[Viewer] > 0 && count[Viewer] < count[Operator] && count[Operator] < count[Deployer] && count[Deployer] < count[Admin]) {
		t.Errorf("%v", count)
	}
	for _, verb := range []Verb{Scale, Start, Stop, Restart, NginxReload} {
		if verb.role() != Operator {
			t.Errorf("%s is for %s", verb, verb.role())
		}
	}
	if _, err := ParseVerb("scael"); err == nil || !strings.Contains(err.Error(), `there is no verb "scael": the verbs are status, logs`) {
		t.Errorf("%v", err)
	}
	if v, err := ParseVerb("reset-failed"); v != ResetFailed || err != nil {
		t.Errorf("%q, %v", v, err)
	}
	if _, err := ParseRole(""); err == nil {
		t.Error("no name is the name of a role")
	}
}

func TestSees(t *testing.T) {
	p := mustParse(t, rulesText+"\n[[rule]]\nname = 'one'\nusers = ['gina']\nrole = 'viewer'\nprojects = ['shop']\nservices = ['web']\n"+
		"[[rule]]\nname = 'hidden'\nusers = ['gina']\neffect = 'deny'\nservices = ['cache']\n")
	gina := User(1007, "gina", nil, nil)
	for _, c := range []struct {
		s    Subject
		t    Target
		sees bool
	}{
		{gina, shop, true}, {gina, web, true}, {gina, storage, false}, {gina, other, false}, {gina, Target{Project: "bank"}, false},
		{gina, Target{Project: "shop", Service: "cache"}, false}, {gina, Target{Unit: "tvsapp@1.service"}, false}, {gina, Target{}, false},
		{ann, shop, true}, {ann, storage, true}, {ann, Target{Project: "secret"}, false}, {ann, Target{Project: "bank"}, false},
		{anon, Target{Unit: "tvsapp@1.service"}, true}, {anon, Target{Unit: "ssh.service"}, false},
		{fred, shop, true}, {fred, Target{Project: "secret"}, false}, {fred, Target{Unit: "ssh.service"}, true},
		{erik, shop, false}, {bob, shop, false}, {root, Target{Project: "secret"}, true}, {Subject{}, shop, false}, {Daemon(), shop, true},
	} {
		if p.Sees(c.s, c.t) != c.sees {
			t.Errorf("%s sees %s: %t", c.s, c.t, !c.sees)
		}
	}
}

func TestSummary(t *testing.T) {
	p := mustParse(t, rulesText)
	var lines []string
	for _, s := range []Subject{root, anon, erik, carl, {}} {
		for _, g := range p.Summary(s) {
			effect := "allow"
			if g.Deny {
				effect = "deny"
			}
			lines = append(lines, strings.Join([]string{g.Rule, g.Through, effect, g.Role, list(g.Verbs), list(g.Projects), list(g.Services), list(g.Units), g.Rate}, "|"))
		}
	}
	want := `root|user root|allow|admin||*||*|
releases|user 2001|allow|deployer||shop|||
instances|group 991|allow|operator|st* and restart|||tvsapp@*.service and srv-a\x2db.mount|
database stays|everybody|deny||stop, down and res*|*|storage||
readers|everybody|deny|viewer||secret|||
operators|group tvs|allow|operator||shop and dev-*|||
instances|group 991|allow|operator|st* and restart|||tvsapp@*.service and srv-a\x2db.mount|
database stays|everybody|deny||stop, down and res*|*|storage||
erik is on holiday|user erik|deny|||*||*|
readers|everybody|deny|viewer||secret|||
admins|group wheel|allow|admin||*||*|
releases|user carl|allow|deployer||shop|||
many|user carl|allow|operator|scale|shop|||3/1m
database stays|everybody|deny||stop, down and res*|*|storage||
readers|everybody|deny|viewer||secret|||`
	if got := strings.Join(lines, "\n"); got != want {
		t.Errorf("%s", got)
	}
}

// Sockets that control the host need a rule that says so, whatever the role.
func TestSockets(t *testing.T) {
	p := mustParse(t, "[[rule]]\nname = 'plain'\nusers = ['ann', 'bob']\nrole = 'admin'\n[[rule]]\nname = 'mounts'\nusers = ['bob']\nrole = 'deployer'\nsockets = true\nprojects = ['shop']\n")
	const mounts = "web mounts /run/docker.sock"
	for _, c := range []struct {
		s       Subject
		project string
		rule    string
		allowed bool
	}{
		{ann, "shop", "plain", false}, {bob, "shop", "mounts", true}, {bob, "other", "plain", false}, {root, "shop", "root", true},
	} {
		q := Request{Verb: Up, Target: Target{Project: c.project}, Sockets: mounts}
		d := p.Decide(c.s, q)
		if d.Allowed != c.allowed || d.Rule != c.rule {
			t.Errorf("%s, %s: %+v", c.s, c.project, d)
		}
		if want := mounts + `, and rule "plain" lets you run no stack that mounts such a socket`; !d.Allowed && !strings.HasPrefix(d.Reason, want) {
			t.Errorf("%s: %s", c.s, d.Reason)
		}
		if q.Sockets = ""; !p.Decide(c.s, q).Allowed {
			t.Errorf("%s may not bring up a stack that mounts none", c.s)
		}
	}
	for _, c := range []struct {
		s       Subject
		project string
		reason  string
	}{
		{ann, "shop", `who chooses compose files owns the host, and rule "plain" has no sockets = true`},
		{bob, "shop", `rule "mounts" makes you deployer on project shop, and declare is for admin`},
		{carl, "shop", ""}, {root, "shop", ""},
	} {
		d := mustParse(t, "[[rule]]\nname = 'plain'\nusers = ['ann']\nrole = 'admin'\n[[rule]]\nname = 'mounts'\nusers = ['bob']\nrole = 'deployer'\nsockets = true\nprojects = ['shop']\n"+
			"[[rule]]\nusers = ['carl']\nrole = 'admin'\nsockets = true\n").Decide(c.s, Request{Verb: Declare, Target: Target{Project: c.project}})
		if d.Allowed != (c.reason == "") || !d.Allowed && d.Reason != c.reason {
			t.Errorf("%s may declare: %+v", c.s, d)
		}
	}
}
