package policy

import (
	"fmt"
	"slices"
	"strconv"
	"time"
)

// Subject is who asks. The zero Subject is nobody and may do nothing.
type Subject struct {
	uid    uint32
	user   string
	gids   []uint32
	groups []string
	kind   kind
}

type kind int

const (
	nobody kind = iota
	somebody
	daemon
)

// User is a caller, as the kernel tells of the socket's peer: the uid with the user's
// name ("" where it has none), and all its groups, by number and by name. The rules'
// users and groups match either.
func User(uid uint32, name string, gids []uint32, groups []string) Subject {
	return Subject{uid: uid, user: name, gids: gids, groups: groups, kind: somebody}
}

// Daemon is tvsctld itself, doing what nobody commanded. It may do everything.
func Daemon() Subject { return Subject{kind: daemon} }

func (s Subject) String() string {
	switch {
	case s.kind == daemon:
		return "tvsctld"
	case s.kind == nobody:
		return "nobody"
	case s.user == "":
		return "uid " + strconv.FormatUint(uint64(s.uid), 10)
	}
	return "user " + s.user
}

// everything names the rule for those who are under no rule.
func (s Subject) everything() (rule string, ok bool) {
	switch {
	case s.kind == daemon:
		return "tvsctld", true
	case s.kind == somebody && s.uid == 0:
		return "root", true
	}
	return "", false
}

// Target is what the request is about: a service, a whole project (no Service), a unit
// by its resolved Id, or every project of the host (the zero Target). A list or stream
// over the host is not asked about so, but filtered with Sees.
type Target struct {
	Project string
	Service string
	Unit    string
}

func (t Target) String() string {
	switch {
	case t.Unit != "":
		return "unit:" + t.Unit
	case t.Project == "":
		return "this host"
	case t.Service == "":
		return t.Project
	}
	return t.Project + "/" + t.Service
}

// Request is one thing that is asked for. A command about several services is a
// request for each.
type Request struct {
	Verb   Verb
	Target Target
	// Image is the full reference that is to be rolled out, "" when the verb brings
	// none; OwnRepository says that the service already runs an image of its repository.
	Image         string
	OwnRepository bool
	// Sockets says what of the sockets that control this host a stack would mount, as
	// "webapp mounts /run/docker.sock", "" for none.
	Sockets string
	// Replicas is the count that is asked for, 0 when the verb brings none.
	Replicas int
}

// Decision says whether a request is allowed, and why.
type Decision struct {
	Allowed bool
	// Default says that no rule decided: nothing allows the request, and nothing denies
	// it explicitly.
	Default bool
	// Rule is the name of the rule that decided, "#3" for the third of its file where it
	// has none, "root" or "tvsctld" for who is under no rule. By default it is the rule
	// that comes closest to allowing the request, or "".
	Rule string
	// Source is the file and line of that rule, as /etc/tvsctld/policy.toml:12.
	Source string
	// Reason is a sentence without a capital and a full stop, to follow "allowed: " or
	// "cannot scale shop/web: ".
	Reason string
	// MaxReplicas is the bound of the rule that allows; 0: none of its own.
	MaxReplicas int
	// Retry is how long to wait when only a rate stands in the way; see Limiter.
	Retry time.Duration
}

// Decide says whether the subject may do that. An explicit deny wins; of the rules that
// allow, the first counts within whose limits the request is; else it is denied. It has
// no side effects: rates are the Limiter's.
func (p *Policy) Decide(s Subject, q Request) Decision {
	decision, _ := p.decide(s, q, func(*rule) time.Duration { return 0 })
	return decision
}

// decide asks wait how long a rule's rate keeps the subject waiting. It returns the rule
// that allows, too.
func (p *Policy) decide(s Subject, q Request, wait func(*rule) time.Duration) (Decision, *rule) {
	if s.kind == nobody {
		return Decision{Default: true, Reason: "it is not known who asks"}, nil
	}
	if name, ok := s.everything(); ok {
		return Decision{Allowed: true, Rule: name, Reason: name + " may do everything"}, nil
	}
	info, known := q.Verb.Info()
	if known && !info.Suits(q.Target) {
		return Decision{Default: true, Reason: fmt.Sprintf("%s is not for %s", q.Verb, kindOf(q.Target))}, nil
	}
	for _, r := range p.rules {
		if r.deny && r.names(s) != "" && r.holds(q.Verb) && r.touches(q.Target) {
			return r.decision(false, r.denies(s, q)), nil
		}
	}
	var closest *rule
	var furthest stage
	var retry time.Duration
	for _, r := range p.rules {
		if r.deny || r.names(s) == "" {
			continue
		}
		at := r.judge(q)
		var pause time.Duration
		if at == within && r.rate.Count > 0 && info.Changes {
			if pause = wait(r); pause > 0 {
				at = tooOften
			}
		}
		if at == within {
			d := r.decision(true, fmt.Sprintf("%s makes %s %s", r, r.names(s), r.grants()))
			d.MaxReplicas = r.maxReplicas
			return d, r
		}
		if closest == nil || at > furthest || at == tooOften && pause < retry {
			closest, furthest, retry = r, at, pause
		}
	}
	if closest == nil {
		return Decision{Default: true, Reason: fmt.Sprintf("no rule allows %s or a group of theirs anything", s)}, nil
	}
	d := closest.decision(false, closest.lacks(furthest, q, retry))
	d.Default, d.Retry = true, retry
	return d, nil
}

// Sees reports whether a list shows the target to the subject: a service or unit whose
// status it may ask for, a project when it may do so for anything in it.
func (p *Policy) Sees(s Subject, t Target) bool {
	if t.Unit != "" || t.Service != "" || t.Project == "" {
		return p.Decide(s, Request{Verb: Status, Target: t}).Allowed
	}
	return p.May(s, Status, t.Project)
}

// May reports whether the subject may do that to anything in the project.
func (p *Policy) May(s Subject, v Verb, project string) bool {
	if s.kind == nobody {
		return false
	}
	if _, ok := s.everything(); ok {
		return true
	}
	// Of a project with a service that is denied, the rest is not.
	t := Target{Project: project}
	about := func(r *rule) bool { return r.names(s) != "" && r.holds(v) }
	return !slices.ContainsFunc(p.rules, func(r *rule) bool { return r.deny && about(r) && r.covers(t) }) &&
		slices.ContainsFunc(p.rules, func(r *rule) bool { return !r.deny && about(r) && r.touches(t) })
}
