package policy

import (
	"fmt"
	"path"
	"slices"
	"strings"
	"time"
)

// rule is one [[rule]] of a policy file; default.toml explains the keys.
type rule struct {
	name        string
	file        string
	line        int
	number      int // in its file, from 1
	users       []principal
	groups      []principal
	role        Role
	deny        bool
	verbs       []string
	projects    []string
	services    []string
	units       []string
	images      []string
	sockets     bool
	maxReplicas int
	rate        Rate
	text        string // the rule as a file, in one form
}

// Rate bounds the changes that one user makes under a rule: Count in any span of Per.
// The zero Rate is no bound.
type Rate struct {
	Count int           // 1 to 1000
	Per   time.Duration // 1s to 24h
}

func (r Rate) String() string {
	if r.Count == 0 {
		return ""
	}
	return fmt.Sprintf("%d/%s", r.Count, span(r.Per))
}

// principal is a user or a group, by name or by number, or everybody.
type principal struct {
	name     string
	id       uint32
	numeric  bool
	everyone bool
}

func (p principal) String() string {
	switch {
	case p.everyone:
		return "*"
	case p.numeric:
		return fmt.Sprint(p.id)
	}
	return p.name
}

func (p principal) is(id uint32, name string) bool {
	if p.numeric {
		return p.id == id
	}
	return p.everyone || p.name == name
}

// names returns through what the rule is about the subject, as "group tvs"; "" when it
// is not.
func (r *rule) names(s Subject) string {
	for _, p := range r.users {
		if p.is(s.uid, s.user) {
			if p.everyone {
				return "everybody"
			}
			return "user " + p.String()
		}
	}
	for _, p := range r.groups {
		if slices.ContainsFunc(s.gids, func(gid uint32) bool { return p.is(gid, "") }) || slices.ContainsFunc(s.groups, func(name string) bool { return !p.numeric && p.name == name }) {
			return "group " + p.String()
		}
	}
	return ""
}

// holds reports whether the verb is one that the rule allows or denies.
func (r *rule) holds(v Verb) bool {
	return (r.role == 0 || v.role() <= r.role) && (len(r.verbs) == 0 || matches(r.verbs, string(v)))
}

// covers reports whether all of the target is in the rule's scope.
func (r *rule) covers(t Target) bool {
	anyService := len(r.services) == 0 || slices.Contains(r.services, "*")
	switch {
	case t.Unit != "":
		return r.deniesAll() || matches(r.units, t.Unit)
	case !r.aboutProjects():
		return false
	case t.Project == "":
		return anyService && (len(r.projects) == 0 || slices.Contains(r.projects, "*"))
	case len(r.projects) > 0 && !matches(r.projects, t.Project):
		return false
	}
	return anyService || t.Service != "" && matches(r.services, t.Service)
}

// touches reports whether any of the target is in the rule's scope: who may not stop
// the database may not stop all that it is part of either.
func (r *rule) touches(t Target) bool {
	switch {
	case t.Unit != "" || t.Service != "":
		return r.covers(t)
	case !r.aboutProjects():
		return false
	}
	return t.Project == "" || len(r.projects) == 0 || matches(r.projects, t.Project)
}

// deniesAll reports whether the rule denies without a scope. Then that goes for units
// as well, although what allows covers only the units that it lists.
func (r *rule) deniesAll() bool {
	return r.deny && len(r.projects) == 0 && len(r.services) == 0 && len(r.units) == 0
}

// aboutProjects reports whether the rule covers projects at all: one that lists only
// units does not.
func (r *rule) aboutProjects() bool {
	return len(r.projects) > 0 || len(r.services) > 0 || len(r.units) == 0
}

// stage is how far a request gets under a rule that allows, before something stands in
// its way.
type stage int

const (
	otherKind stage = iota // units, where it is about projects, and the other way round
	otherTarget
	lesserRole
	otherVerb
	otherImage
	noSockets
	tooMany
	tooOften
	within
)

func (r *rule) judge(q Request) stage {
	switch {
	case !r.covers(q.Target) && (q.Target.Unit != "" && len(r.units) == 0 || q.Target.Unit == "" && !r.aboutProjects()):
		return otherKind
	case !r.covers(q.Target):
		return otherTarget
	case q.Verb.role() > r.role:
		return lesserRole
	case !r.holds(q.Verb):
		return otherVerb
	case q.Image != "" && !r.allowsImage(q):
		return otherImage
	case (q.Sockets != "" || q.Verb == Declare) && !r.sockets:
		return noSockets
	case r.maxReplicas > 0 && q.Replicas > r.maxReplicas:
		return tooMany
	}
	return within
}

func (r *rule) allowsImage(q Request) bool {
	if len(r.images) == 0 {
		return q.OwnRepository || r.role == Admin
	}
	if strings.HasPrefix(q.Image, "sha256:") {
		return r.role == Admin // an id says nothing of where it is from
	}
	name, version := repository(q.Image)
	// A pattern without a tag is one for the repository.
	return matches(r.images, name+version) || matches(r.images, name)
}

// repository splits a reference into its name and what is run of it: a digest, beside
// which Docker does not look at a tag, or a tag.
func repository(reference string) (name, version string) {
	name, digest, digested := strings.Cut(reference, "@")
	version = ":latest"
	if colon := strings.LastIndexByte(name, ':'); colon > strings.LastIndexByte(name, '/') {
		name, version = name[:colon], name[colon:]
	}
	if digested {
		version = "@" + digest
	}
	return name, version
}

// matches reports whether any pattern matches. As in systemctl a backslash is itself,
// for it is part of unit names; a star does not go across a slash.
func matches(patterns []string, name string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool {
		ok, err := path.Match(literalBackslash(pattern), name)
		return err == nil && ok
	})
}

func literalBackslash(pattern string) string { return strings.ReplaceAll(pattern, `\`, `\\`) }
