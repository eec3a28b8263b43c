package policy

import (
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/pelletier/go-toml/v2/unstable"
)

// keys says how each key of a rule is read.
var keys = map[string]func(*rule, value){
	"name":   func(r *rule, v value) { r.name = v.name() },
	"users":  func(r *rule, v value) { r.users = v.principals() },
	"groups": func(r *rule, v value) { r.groups = v.principals() },
	"role": func(r *rule, v value) {
		if text, ok := v.text(); ok {
			var err error
			if r.role, err = ParseRole(text); err != nil {
				v.refuse("%v", err)
			}
		}
	},
	"effect": func(r *rule, v value) {
		if text, ok := v.text(); ok && text != "allow" && text != "deny" {
			v.refuse("effect %q is neither \"allow\" nor \"deny\"", text)
		} else {
			r.deny = text == "deny"
		}
	},
	"verbs": func(r *rule, v value) {
		r.verbs = v.globs(func(pattern string) string {
			for _, i := range verbs {
				if matches([]string{pattern}, string(i.Verb)) {
					return ""
				}
			}
			return "is no verb: the verbs are " + verbNames()
		})
	},
	"projects": func(r *rule, v value) { r.projects = v.globs(noSlash) },
	"services": func(r *rule, v value) { r.services = v.globs(noSlash) },
	"units": func(r *rule, v value) {
		r.units = v.globs(func(pattern string) string {
			if !strings.ContainsAny(pattern, ".*?[") {
				return "has no type: write " + strconv.Quote(pattern+".service")
			}
			return noSlash(pattern)
		})
	},
	"images":       func(r *rule, v value) { r.images = v.globs(func(string) string { return "" }) },
	"sockets":      func(r *rule, v value) { r.sockets = v.flag() },
	"max_replicas": func(r *rule, v value) { r.maxReplicas = int(v.number(1, maxReplicas)) },
	"rate":         func(r *rule, v value) { r.rate = v.rate() },
}

const keyNames = "name, users, groups, role, effect, verbs, projects, services, units, images, sockets, max_replicas and rate"

const (
	maxReplicas = 1000 // what tvsctl scales a service to at most
	maxName     = 64
	maxRate     = 1000
	maxPer      = 24 * time.Hour
)

// flaws says what is wrong with a rule as a whole; of a key that was given, whatever is
// wrong with it has been said.
func (r *rule) flaws(given map[string]bool) []string {
	var flaws []string
	if !given["users"] && !given["groups"] {
		flaws = append(flaws, "the rule is about nobody: give users or groups")
	}
	if r.deny {
		if given["images"] || given["sockets"] || given["max_replicas"] || given["rate"] {
			flaws = append(flaws, "images, sockets, max_replicas and rate say what is allowed: a rule that denies has none")
		}
	} else if !given["role"] {
		flaws = append(flaws, "the rule allows nothing: give a role")
	}
	if given["images"] && r.role != 0 && !r.deny && r.role < Deployer {
		flaws = append(flaws, "images are for who may roll out: role deployer or admin")
	}
	if r.sockets && r.role != 0 && !r.deny && r.role < Deployer {
		flaws = append(flaws, "sockets is for who may bring up: role deployer or admin")
	}
	if r.role != 0 && len(r.verbs) > 0 && !slices.ContainsFunc(verbs, func(i VerbInfo) bool { return r.holds(i.Verb) }) {
		flaws = append(flaws, "role "+r.role.String()+" holds none of the verbs "+list(r.verbs))
	}
	return flaws
}

func (v value) name() string {
	text, ok := v.text()
	switch {
	case !ok:
	case text == "" || utf8.RuneCountInString(text) > maxName || strings.ContainsFunc(text, func(c rune) bool { return !unicode.IsPrint(c) }):
		v.refuse("a name has 1 to %d characters, all of them printable", maxName)
	case text[0] == '#' || text == "root" || text == "tvsctld":
		v.refuse("a rule cannot be called %q: decisions without a rule are", text)
	default:
		return text
	}
	return ""
}

func (v value) principals() []principal {
	var all []principal
	v.each(func(v value) {
		if v.Kind == unstable.Integer {
			all = append(all, principal{numeric: true, id: uint32(v.number(0, maxID))})
			return
		}
		text, ok := v.text()
		switch {
		case !ok:
		case text == "*" && v.key == "users":
			all = append(all, principal{everyone: true})
		case strings.Trim(text, "0123456789") == "" && text != "":
			id, err := strconv.ParseUint(text, 10, 32)
			if err != nil || id > maxID {
				v.refuse("%s is no id: it is from 0 to %d", text, maxID)
			}
			all = append(all, principal{numeric: true, id: uint32(id)})
		case text == "" || strings.ContainsFunc(text, func(c rune) bool { return !unicode.IsPrint(c) || strings.ContainsRune(" :,*?/%", c) }):
			v.refuse("%q cannot be the name of a user or a group: those are no patterns", text)
		default:
			all = append(all, principal{name: text})
		}
	})
	return all
}

const maxID = 1<<32 - 2 // the one above means no id

// globs reads patterns; why says what is wrong with one, "" for nothing.
func (v value) globs(why func(pattern string) string) []string {
	var all []string
	v.each(func(v value) {
		text, ok := v.text()
		if !ok {
			return
		}
		_, err := path.Match(literalBackslash(text), "")
		switch {
		case text == "" || strings.ContainsFunc(text, func(c rune) bool { return !unicode.IsPrint(c) || c == ' ' }):
			v.refuse("%q in %s would match nothing", text, v.key)
		case err != nil:
			v.refuse("%q is not a pattern: a [ has no ]", text)
		case why(text) != "":
			v.refuse("%q %s", text, why(text))
		default:
			all = append(all, text)
		}
	})
	return all
}

func noSlash(pattern string) string {
	if strings.Contains(pattern, "/") {
		return "would match nothing: names have no slash"
	}
	return ""
}

func (v value) number(from, to int64) int64 {
	n, err := strconv.ParseInt(string(v.Data), 0, 64) // the forms of TOML's numbers are Go's
	if v.Kind != unstable.Integer || err != nil || n < from || n > to {
		v.refuse("%s is not a number from %d to %d", v.key, from, to)
		return from
	}
	return n
}

func (v value) flag() bool {
	if v.Kind != unstable.Bool {
		v.refuse("%s is not a truth value: write true or false", v.key)
		return false
	}
	return string(v.Data) == "true"
}

var ratePattern = regexp.MustCompile(`^([0-9]{1,4})/(.+)$`)

func (v value) rate() Rate {
	text, ok := v.text()
	if !ok {
		return Rate{}
	}
	if parts := ratePattern.FindStringSubmatch(text); parts != nil {
		count, err := strconv.Atoi(parts[1])
		per, wrong := time.ParseDuration(parts[2])
		if err == nil && wrong == nil && count >= 1 && count <= maxRate && per >= time.Second && per <= maxPer && per%time.Second == 0 {
			return Rate{count, per}
		}
	}
	v.refuse("rate %q is not one such as \"10/1m\": 1 to %d, and 1s to 24h in whole seconds", text, maxRate)
	return Rate{}
}
