package daemon

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// catalogEntry is one explanation of systemd's journal message catalog: header lines, an
// empty line, and text.
type catalogEntry struct {
	headers map[string]string
	text    string
}

func readCatalog(t *testing.T) map[string]catalogEntry {
	t.Helper()
	content, err := os.ReadFile("../units/tvsctld.catalog")
	if err != nil {
		t.Fatal(err)
	}
	_, all, _ := strings.Cut("\n"+string(content), "\n-- ")
	entries := map[string]catalogEntry{}
	for _, part := range strings.Split(all, "\n-- ") {
		id, rest, _ := strings.Cut(part, "\n")
		head, body, _ := strings.Cut(rest, "\n\n")
		if _, twice := entries[id]; twice {
			t.Errorf("the catalog explains %s twice", id)
		}
		e := catalogEntry{headers: map[string]string{}, text: body}
		for line := range strings.Lines(head) {
			name, value, ok := strings.Cut(strings.TrimSpace(line), ": ")
			if !ok {
				t.Errorf("%s: the header line %q has no value", id, line)
			}
			e.headers[name] = value
		}
		entries[id] = e
	}
	return entries
}

// sourceOf parses this package without its tests.
func sourceOf(t *testing.T) []*ast.File {
	t.Helper()
	names, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	var files []*ast.File
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, file)
	}
	return files
}

func literal(e ast.Expr) string {
	if l, ok := e.(*ast.BasicLit); ok && l.Kind == token.STRING {
		s, _ := strconv.Unquote(l.Value)
		return s
	}
	return ""
}

// eventsIn returns the constants of type logEvent, by value, and the names of the journal
// fields that the source writes.
func eventsIn(t *testing.T) (events map[string]string, fields map[string]bool) {
	events, fields = map[string]string{}, map[string]bool{}
	for _, file := range sourceOf(t) {
		ast.Inspect(file, func(n ast.Node) bool {
			if field, ok := n.(*ast.BasicLit); ok && strings.HasPrefix(literal(field), "TVS_") {
				fields[literal(field)] = true
			}
			spec, ok := n.(*ast.ValueSpec)
			if !ok {
				return true
			}
			if kind, ok := spec.Type.(*ast.Ident); !ok || kind.Name != "logEvent" {
				return true
			}
			for i, name := range spec.Names {
				id := literal(spec.Values[i])
				if events[id] != "" {
					t.Errorf("%s and %s have the same id", events[id], name)
				}
				events[id] = name.Name
			}
			return true
		})
	}
	return events, fields
}

// TestCatalog: journalctl -x explains every kind of entry, and nothing that is not written.
func TestCatalog(t *testing.T) {
	entries := readCatalog(t)
	events, fields := eventsIn(t)
	if len(events) < 20 {
		t.Fatalf("the source has only %d events", len(events))
	}
	id128 := regexp.MustCompile(`^[0-9a-f]{32}$`)
	for id, name := range events {
		if !id128.MatchString(id) {
			t.Errorf("%s: %q is not an id as systemd-id128 new makes it", name, id)
		}
		if _, explained := entries[id]; !explained {
			t.Errorf("units/tvsctld.catalog does not explain %s: it needs an entry -- %s", name, id)
		}
	}
	known := map[string]bool{"Subject": true, "Defined-By": true, "Support": true, "Documentation": true}
	substitution := regexp.MustCompile(`@([^@\s]*)@`)
	for id, entry := range entries {
		if events[id] == "" {
			t.Errorf("units/tvsctld.catalog explains %s, which is no event", id)
		}
		for header := range entry.headers {
			if !known[header] {
				t.Errorf("%s: unknown header %s", id, header)
			}
		}
		if entry.headers["Subject"] == "" || entry.headers["Defined-By"] != "tvsctld" {
			t.Errorf("%s has no subject, or is not defined by tvsctld: %v", id, entry.headers)
		}
		if len(strings.TrimSpace(entry.text)) < 80 {
			t.Errorf("%s (%s) is hardly explained: %q", id, events[id], entry.text)
		}
		for _, match := range substitution.FindAllStringSubmatch(entry.headers["Subject"]+entry.text, -1) {
			if !fields[match[1]] {
				t.Errorf("%s (%s): no entry has a field %q", id, events[id], match[1])
			}
		}
	}
}
