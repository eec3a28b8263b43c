package policy

import (
	"strings"
	"testing"
)

// FuzzParse: whatever a file holds, it is read or refused, with positions inside of it;
// what is read can be written down and reads back as the same policy.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{"", rulesText, string(defaultText), "[[rule]]\nusers = [1, '2', \"x\"]\nrole = 'admin'\nrate = \"1000/24h\"",
		"rule = [{users = ['a'], role = 'viewer'}]", "[rule]\nusers = ['a']", "[[rule]]\nusers = []\nverbs = 3\nname = \"\\u0000\"", "[[rule.x]]\n[[x]]\ny.z = 1",
		"[[rule]]\r\ngroups = ['*']\r\nunits = ['a[', 'b\\\\', '[]]']\r\neffect = 'deny'", "[[rule]]\nmax_replicas = 0x10\nrate = '1/1h30m'\nusers=[0b11]\nrole='operator'"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		p, err := Parse("f", text)
		if err != nil {
			for _, problem := range err.(Problems) {
				if lines := strings.Count(string(text), "\n") + 1; problem.Message == "" || problem.Line < 0 || problem.Line > lines {
					t.Errorf("%+v, in a text of %d lines", problem, lines)
				}
			}
			return
		}
		again, err := Parse("f", []byte(p.rewritten()))
		if err != nil {
			t.Fatalf("%v of what was read:\n%s", err, p.rewritten())
		}
		if p.Hash() != again.Hash() {
			t.Fatalf("%s is another policy than\n%s", again.rewritten(), p.rewritten())
		}
		for _, r := range p.rules {
			for _, s := range subjectsOf(r) {
				for _, q := range requestsOf(r) {
					a, b := p.Decide(s, q), again.Decide(s, q)
					a.Source, b.Source = "", ""
					if strings.HasPrefix(a.Rule, "#") {
						a, b = Decision{Allowed: a.Allowed}, Decision{Allowed: b.Allowed} // numbers shift
					}
					if a != b {
						t.Fatalf("%s, %+v: %+v, and then %+v", s, q, a, b)
					}
				}
			}
		}
	})
}

func subjectsOf(r *rule) []Subject {
	var all []Subject
	for _, p := range r.users {
		all = append(all, User(p.id, p.name, nil, nil))
	}
	for _, p := range r.groups {
		all = append(all, User(5, "x", []uint32{p.id}, []string{p.name}))
	}
	return all
}

func requestsOf(r *rule) []Request {
	targets := []Target{{}, {Project: "p"}}
	for _, name := range append(r.projects, r.services...) {
		targets = append(targets, Target{Project: name}, Target{Project: name, Service: name})
	}
	for _, unit := range r.units {
		targets = append(targets, Target{Unit: unit})
	}
	var all []Request
	for _, target := range targets {
		for _, v := range []Verb{Status, Scale, Rollout, Audit} {
			all = append(all, Request{Verb: v, Target: target, Replicas: r.maxReplicas})
		}
		for _, image := range r.images {
			all = append(all, Request{Verb: Rollout, Target: target, Image: image})
		}
	}
	return all
}

// FuzzDecide: what holds of every decision.
func FuzzDecide(f *testing.F) {
	f.Add(rulesText, uint32(1001), "ann", uint32(990), "tvs", "scale", "shop", "web", "", "", false, 8)
	f.Add(rulesText, uint32(1003), "carl", uint32(7), "", "rollout", "shop", "web", "", "registry.example.org/shop/web:2", false, 0)
	f.Add(rulesText, uint32(1004), "dora", uint32(0), "", "down", "shop", "", "", "", true, 0)
	f.Add(rulesText, uint32(0), "root", uint32(0), "root", "mask", "", "", "ssh.service", "", false, 0)
	f.Add(rulesText, uint32(3), "x", uint32(991), "", "start", "", "", `srv-a\x2db.mount`, "", false, 0)
	f.Add(string(defaultText), uint32(9), "y", uint32(9), "tvs", "audit", "", "", "", "", false, 1)
	f.Fuzz(func(t *testing.T, text string, uid uint32, user string, gid uint32, group, verb, project, service, unit, image string, own bool, replicas int) {
		p, err := Parse("f", []byte(text))
		if err != nil {
			return
		}
		s := User(uid, user, []uint32{gid}, []string{group})
		q := Request{Verb: Verb(verb), Target: Target{project, service, unit}, Image: image, OwnRepository: own, Replicas: replicas}
		d := p.Decide(s, q)
		if d.Reason == "" || strings.Contains(d.Reason, "\n") && !strings.Contains(user+verb+project+service+unit, "\n") {
			t.Errorf("%+v does not give its reason in a line", d)
		}
		if p.Decide(s, q) != d {
			t.Error("the same question has another answer")
		}
		if p.Decide(Subject{}, q).Allowed {
			t.Error("nobody may")
		}
		if !p.Decide(User(0, user, nil, nil), q).Allowed {
			t.Error("root may not")
		}
		if uid == 0 {
			return
		}
		// The whole is its parts: some rule alone allows, and none alone denies.
		one, denied := false, false
		for _, r := range p.rules {
			alone := (&Policy{rules: []*rule{r}}).Decide(s, q)
			one = one || alone.Allowed
			denied = denied || r.deny && r.names(s) != "" && r.holds(q.Verb) && r.touches(q.Target)
		}
		if d.Allowed != (one && !denied) {
			t.Errorf("%+v, but alone allowed: %t, denied: %t", d, one, denied)
		}
		if !d.Allowed {
			return
		}
		if q.Verb == Status && !p.Sees(s, q.Target) {
			t.Errorf("the status of %s is allowed, and it is not seen", q.Target)
		}
		if q.Replicas > 0 {
			if q.Replicas--; !p.Decide(s, q).Allowed {
				t.Error("allowed, but not one replica less")
			}
		}
		banned := &Policy{rules: append([]*rule{{deny: true, users: []principal{{id: uid, numeric: true}}}}, p.rules...)}
		if banned.Decide(s, q).Allowed {
			t.Error("a rule that denies everything does not win")
		}
	})
}
