package policy

import (
	"fmt"
	"strings"
	"time"
)

// label is the rule's name in a Decision.
func (r *rule) label() string {
	if r.name != "" {
		return r.name
	}
	return fmt.Sprintf("#%d", r.number)
}

func (r *rule) String() string {
	if r.name != "" {
		return fmt.Sprintf("rule %q", r.name)
	}
	return fmt.Sprintf("rule #%d", r.number)
}

func (r *rule) source() string { return fmt.Sprintf("%s:%d", r.file, r.line) }

func (r *rule) decision(allowed bool, reason string) Decision {
	return Decision{Allowed: allowed, Rule: r.label(), Source: r.source(), Reason: reason}
}

// grants is the rule in words: "operator on every project, for scale only".
func (r *rule) grants() string {
	return r.role.String() + " on " + r.scope() + r.onlyFor()
}

func (r *rule) onlyFor() string {
	if len(r.verbs) == 0 {
		return ""
	}
	return ", for " + list(r.verbs) + " only"
}

// scope is what the rule covers, in words.
func (r *rule) scope() string {
	if r.deniesAll() {
		return "every project and unit"
	}
	var parts []string
	if r.aboutProjects() {
		where := "every project"
		if len(r.projects) > 0 {
			where = counted("project", r.projects)
		}
		if len(r.services) > 0 {
			where = counted("service", r.services) + " of " + where
		}
		parts = append(parts, where)
	}
	if len(r.units) > 0 {
		parts = append(parts, counted("unit", r.units))
	}
	return strings.Join(parts, " and on ")
}

// denies explains a request that this rule forbids.
func (r *rule) denies(s Subject, q Request) string {
	what := "everything"
	switch {
	case len(r.verbs) > 0 && r.role != 0:
		what = fmt.Sprintf("%s of role %s", list(r.verbs), r.role)
	case len(r.verbs) > 0:
		what = list(r.verbs)
	case r.role != 0:
		what = "what role " + r.role.String() + " holds"
	}
	part := ""
	if !r.covers(q.Target) {
		part = fmt.Sprintf(", and %s has part in that", q.Target)
	}
	return fmt.Sprintf("%s denies %s %s on %s%s", r, r.names(s), what, r.scope(), part)
}

// lacks explains a request that this rule comes closest to allowing.
func (r *rule) lacks(at stage, q Request, retry time.Duration) string {
	switch at {
	case otherKind:
		if q.Target.Unit != "" {
			return fmt.Sprintf("%s makes you %s on %s, and on no unit", r, r.role, r.scope())
		}
	case lesserRole:
		return fmt.Sprintf("%s makes you %s on %s, and %s is for %s", r, r.role, r.scope(), q.Verb, q.Verb.role())
	case otherVerb:
		return fmt.Sprintf("%s makes you %s on %s, but for %s only", r, r.role, r.scope(), list(r.verbs))
	case otherImage:
		if len(r.images) == 0 {
			return fmt.Sprintf("%s lets you roll out only images of the repository that the service runs", r)
		}
		return fmt.Sprintf("%s lets you roll out only images %s", r, list(r.images))
	case noSockets:
		if q.Verb == Declare {
			return fmt.Sprintf("who chooses compose files owns the host, and %s has no sockets = true", r)
		}
		return fmt.Sprintf("%s, and %s lets you run no stack that mounts such a socket: it has no sockets = true", q.Sockets, r)
	case tooMany:
		return fmt.Sprintf("%s lets you have %d replicas at most", r, r.maxReplicas)
	case tooOften:
		return fmt.Sprintf("%s lets you make %d changes in %s: the next in %s", r, r.rate.Count, span(r.rate.Per), span(retry))
	}
	if q.Verb.role() > r.role {
		return fmt.Sprintf("%s makes you only %s, and only on %s", r, r.role, r.scope())
	}
	return fmt.Sprintf("%s makes you %s, but only on %s", r, r.role, r.scope())
}

func kindOf(t Target) string {
	if t.Unit != "" {
		return "units"
	}
	return "projects and services"
}

// counted is "project shop" or "projects shop and dev-*".
func counted(noun string, names []string) string {
	if len(names) != 1 || names[0] == "*" {
		noun += "s"
	}
	return noun + " " + list(names)
}

func list(names []string) string {
	if len(names) < 2 {
		return strings.Join(names, "")
	}
	return strings.Join(names[:len(names)-1], ", ") + " and " + names[len(names)-1]
}

// span is a duration without needless zeros, in whole seconds, rounded up.
func span(d time.Duration) string {
	d = (d + time.Second - 1).Truncate(time.Second)
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}
