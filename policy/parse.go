package policy

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"
)

// Problem is something wrong in a file.
type Problem struct {
	File    string
	Line    int // from 1; 0: it is about the whole file
	Column  int // in bytes, from 1
	Message string
}

func (p Problem) Error() string {
	if p.Line == 0 {
		return p.File + ": " + p.Message
	}
	return fmt.Sprintf("%s:%d:%d: %s", p.File, p.Line, p.Column, p.Message)
}

// Problems are all that is wrong, in the order of the files; as an error one per line.
type Problems []Problem

func (p Problems) Error() string {
	var lines []string
	for _, problem := range p {
		lines = append(lines, problem.Error())
	}
	return strings.Join(lines, "\n")
}

// reader walks the syntax tree of a file rather than decode it, for that alone knows
// where each key and value stands.
type reader struct {
	file     string
	parser   unstable.Parser
	rules    []*rule
	problems Problems
	current  *rule           // that the keys are of; nil outside of rules
	given    map[string]bool // the keys that it has, right or wrong
	headers  int
}

func parse(file string, text []byte) ([]*rule, Problems) {
	// The tree says nothing of keys that stand twice, and the like.
	var valid map[string]any
	if err := toml.Unmarshal(text, &valid); err != nil {
		problem := Problem{File: file, Message: strings.TrimPrefix(err.Error(), "toml: ")}
		var syntax *toml.DecodeError
		if errors.As(err, &syntax) {
			problem.Line, problem.Column = syntax.Position()
		}
		return nil, Problems{problem}
	}
	r := &reader{file: file}
	r.parser.Reset(text)
	for r.parser.NextExpression() {
		r.expression(r.parser.Expression())
	}
	if err := r.parser.Error(); err != nil {
		return nil, Problems{{File: file, Message: err.Error()}}
	}
	r.finish()
	slices.SortStableFunc(r.problems, func(a, b Problem) int { return cmp.Or(a.Line-b.Line, a.Column-b.Column) })
	return r.rules, r.problems
}

func (r *reader) expression(n *unstable.Node) {
	var key []string
	first := unstable.Range{}
	for parts := n.Key(); parts.Next(); {
		if key == nil {
			first = parts.Node().Raw
		}
		key = append(key, string(parts.Node().Data))
	}
	name := strings.Join(key, ".")
	switch {
	case n.Kind == unstable.KeyValue && r.headers == 0 && name == "rule":
		r.fail(first, "rule is not a key: write each rule under a line [[rule]]")
	case n.Kind == unstable.KeyValue && r.headers == 0:
		r.fail(first, "unknown key %q: keys belong under a line [[rule]]", name)
	case n.Kind == unstable.KeyValue && r.current != nil:
		r.key(name, first, n.Value())
	case n.Kind == unstable.KeyValue: // under a header that has been refused
	case n.Kind == unstable.ArrayTable && name == "rule":
		r.finish()
		r.headers++
		r.current = &rule{file: r.file, line: r.parser.Shape(first).Start.Line, number: r.headers}
		r.given = map[string]bool{}
		r.rules = append(r.rules, r.current)
	default:
		r.finish()
		r.headers++
		if name == "rule" {
			r.fail(first, "[rule] is one table: write [[rule]]")
		} else {
			r.fail(first, "unknown table %q: a policy has only [[rule]]", name)
		}
	}
}

// finish looks at the rule as a whole when all its keys are known.
func (r *reader) finish() {
	rule := r.current
	r.current = nil
	if rule == nil {
		return
	}
	for _, message := range rule.flaws(r.given) {
		r.problems = append(r.problems, Problem{File: r.file, Line: rule.line, Column: 1, Message: message})
	}
}

func (r *reader) fail(at unstable.Range, format string, args ...any) {
	position := r.parser.Shape(at).Start
	r.problems = append(r.problems, Problem{File: r.file, Line: position.Line, Column: position.Column, Message: fmt.Sprintf(format, args...)})
}

// value is where a value stands, and how it is read.
type value struct {
	*reader
	key string
	at  unstable.Range // the value's, or where the tree does not tell the key's
	*unstable.Node
}

func (r *reader) key(name string, at unstable.Range, n *unstable.Node) {
	read, known := keys[name]
	if !known {
		r.fail(at, "unknown key %q: the keys of a rule are %s", name, keyNames)
		return
	}
	r.given[name] = true
	read(r.current, value{reader: r, key: name, at: at, Node: n}.located(n))
}

// located is the value for a node that may know better where it stands.
func (v value) located(n *unstable.Node) value {
	v.Node = n
	if n.Raw.Length > 0 {
		v.at = n.Raw
	}
	return v
}

func (v value) refuse(format string, args ...any) { v.fail(v.at, format, args...) }

func (v value) text() (string, bool) {
	if v.Kind != unstable.String {
		v.refuse("%s is not text: write \"…\"", v.key)
		return "", false
	}
	return string(v.Data), true
}

// each reads the elements of a list. An empty one is refused: it could mean nothing as
// well as everything.
func (v value) each(read func(element value)) {
	if v.Kind != unstable.Array {
		v.refuse("%s is not a list: write [\"…\"]", v.key)
		return
	}
	n := 0
	for elements := v.Children(); elements.Next(); n++ {
		read(v.located(elements.Node()))
	}
	if n == 0 {
		v.refuse("%s is empty: leave the key out", v.key)
	}
}
