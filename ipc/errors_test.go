package ipc

import (
	"go/ast"
	"go/parser"
	"go/token"
	"strconv"
	"strings"
	"testing"
)

// constants returns the string or number constants of errors.go whose name
// begins with prefix.
func constants(t *testing.T, prefix string) map[string]string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "errors.go", nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	ast.Inspect(file, func(node ast.Node) bool {
		spec, ok := node.(*ast.ValueSpec)
		if !ok {
			return true
		}
		for i, name := range spec.Names {
			if !strings.HasPrefix(name.Name, prefix) || i >= len(spec.Values) {
				continue
			}
			if literal, ok := spec.Values[i].(*ast.BasicLit); ok {
				found[name.Name] = literal.Value
			}
		}
		return true
	})
	return found
}

func TestEveryCodeHasARow(t *testing.T) {
	codes := constants(t, "Code")
	if len(codes) != len(table) || len(codes) < 20 {
		t.Errorf("errors.go has %d codes, the table %d rows", len(codes), len(table))
	}
	exits := map[string]bool{}
	for _, value := range constants(t, "Exit") {
		if exits[value] {
			t.Errorf("exit status %s has two names", value)
		}
		exits[value] = true
	}
	for name, literal := range codes {
		value, err := strconv.Unquote(literal)
		if err != nil {
			t.Fatal(err)
		}
		code := Code(value)
		if _, ok := table[code]; !ok {
			t.Errorf("%s has no row in the table", name)
		}
		if status := code.HTTPStatus(); status < 400 || status > 599 {
			t.Errorf("%s is HTTP status %d", name, status)
		}
		if status := code.ExitStatus(); status == ExitOK || !exits[strconv.Itoa(status)] {
			t.Errorf("%s exits %d, which has no name", name, status)
		}
	}
	if unknown := Code("from-the-future"); unknown.HTTPStatus() != 500 || unknown.ExitStatus() != ExitFailure {
		t.Error("an unknown code is not a failure")
	}
}
