// Package policy says who may do what: it reads the files of rules that the host's
// administrator wrote, decides requests by them, and explains its decisions.
//
// The daemon loads a Policy (Load) and asks it about every request: Decide for what
// only looks and for can-i, Limiter.Admit for what is going to be done, Sees for
// what a list may show. A Policy never changes; after a reload there is another one.
package policy

import (
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"fmt"
	"slices"

	"github.com/pelletier/go-toml/v2"
)

// Policy is a list of rules. The zero Policy has none: only root may do anything.
type Policy struct {
	rules []*rule
	hash  string
	files []string
}

// DefaultName stands for the file of the policy that is built in.
const DefaultName = "(built in)"

//go:embed default.toml
var defaultText []byte

// Default is the policy that is shipped, and in force where there is no file: group tvs
// operates every project, and no unit.
func Default() *Policy {
	p, err := Parse(DefaultName, defaultText)
	if err != nil {
		panic("policy: default.toml: " + err.Error()) // a test reads it
	}
	return p
}

// Parse reads one file of rules. The error is of type Problems.
func Parse(file string, text []byte) (*Policy, error) {
	rules, problems := parse(file, text)
	if len(problems) > 0 {
		return nil, problems
	}
	return assemble([]string{file}, rules)
}

// assemble makes a policy of the rules of some files. A name may stand only once: the
// journal tells rules apart by it.
func assemble(files []string, rules []*rule) (*Policy, error) {
	var problems Problems
	named := map[string]*rule{}
	for _, r := range rules {
		if other := named[r.name]; r.name != "" && other != nil {
			problems = append(problems, Problem{File: r.file, Line: r.line, Column: 1,
				Message: fmt.Sprintf("there is another rule %q: %s", r.name, other.source())})
		} else {
			named[r.name] = r
		}
	}
	if len(problems) > 0 {
		return nil, problems
	}
	p := &Policy{rules: rules, files: slices.Clone(files)}
	sum := sha256.New()
	for _, r := range rules {
		r.text = r.write()
		sum.Write([]byte(r.text))
	}
	p.hash = hex.EncodeToString(sum.Sum(nil)[:6])
	return p, nil
}

// Hash is 12 hexadecimal digits over the rules in force and their order: where they
// stand, comments and layout do not change it. The zero Policy has "".
func (p *Policy) Hash() string { return p.hash }

// Files lists what the policy was read from, in order.
func (p *Policy) Files() []string { return slices.Clone(p.files) }

// Rules is the number of rules.
func (p *Policy) Rules() int { return len(p.rules) }

// written is a rule as it stands in a file, every key in one form.
type written struct {
	Name        string   `toml:"name,omitempty"`
	Users       []string `toml:"users,omitempty"`
	Groups      []string `toml:"groups,omitempty"`
	Role        string   `toml:"role,omitempty"`
	Effect      string   `toml:"effect"`
	Verbs       []string `toml:"verbs,omitempty"`
	Projects    []string `toml:"projects,omitempty"`
	Services    []string `toml:"services,omitempty"`
	Units       []string `toml:"units,omitempty"`
	Images      []string `toml:"images,omitempty"`
	Sockets     bool     `toml:"sockets,omitempty"`
	MaxReplicas int      `toml:"max_replicas,omitempty"`
	Rate        string   `toml:"rate,omitempty"`
}

// write returns the rule as a file, which reads back as the same rule.
func (r *rule) write() string {
	file := map[string][]written{"rule": {{Name: r.name, Users: texts(r.users), Groups: texts(r.groups), Role: r.role.String(), Effect: r.effect(), Verbs: r.verbs,
		Projects: r.projects, Services: r.services, Units: r.units, Images: r.images, Sockets: r.sockets, MaxReplicas: r.maxReplicas, Rate: r.rate.String()}}}
	text, err := toml.Marshal(file)
	if err != nil {
		panic(err) // texts and a number
	}
	return string(text)
}

func (r *rule) effect() string {
	if r.deny {
		return "deny"
	}
	return "allow"
}

func texts(principals []principal) []string {
	var names []string
	for _, p := range principals {
		names = append(names, p.String())
	}
	return names
}

// Grant is one rule as it is about a subject.
type Grant struct {
	Rule     string // as in Decision
	Source   string
	Through  string // "user ann", "group tvs", "everybody"
	Deny     bool
	Role     string
	Verbs    []string // globs; none: all of the role
	Projects []string // globs; "*" where the rule covers every project, none where no project
	Services []string // globs; none: all of them
	Units    []string // globs
	Images   []string // patterns
	Sockets  bool     // stacks may mount sockets that control the host

	MaxReplicas int    // 0: no bound
	Rate        string // as "10/1m"; "": no bound
}

// Summary lists what the rules give to the subject and take from it, in their order.
func (p *Policy) Summary(s Subject) []Grant {
	if name, ok := s.everything(); ok {
		return []Grant{{Rule: name, Through: s.String(), Role: Admin.String(), Projects: []string{"*"}, Units: []string{"*"}, Images: []string{"*"}, Sockets: true}}
	}
	var grants []Grant
	for _, r := range p.rules {
		through := r.names(s)
		if s.kind == nobody || through == "" {
			continue
		}
		projects := r.projects
		if r.aboutProjects() && len(projects) == 0 {
			projects = []string{"*"}
		}
		units := r.units
		if r.deniesAll() {
			units = []string{"*"}
		}
		grants = append(grants, Grant{Rule: r.label(), Source: r.source(), Through: through, Deny: r.deny, Role: r.role.String(),
			Verbs: slices.Clone(r.verbs), Projects: slices.Clone(projects), Services: slices.Clone(r.services), Units: slices.Clone(units),
			Images: slices.Clone(r.images), Sockets: r.sockets, MaxReplicas: r.maxReplicas, Rate: r.rate.String()})
	}
	return grants
}

// Name is a user or a group that a rule calls by name.
type Name struct {
	Name   string
	Group  bool
	Source string // of the rule, as in Decision
}

// Names lists the users and groups that rules call by name: who looks them up can say
// which do not exist.
func (p *Policy) Names() []Name {
	var names []Name
	for _, r := range p.rules {
		for i, called := range slices.Concat(r.users, r.groups) {
			if called.name != "" {
				names = append(names, Name{Name: called.name, Group: i >= len(r.users), Source: r.source()})
			}
		}
	}
	return names
}
