package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestExitStatusesInHelp: every exit status that package ipc has is in tvsctl --help, and
// so in tvsctl(1).
func TestExitStatusesInHelp(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "../../ipc/errors.go", nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	root := newApp(nil, io.Discard, io.Discard, func(string) string { return "" }).root()
	_, told, _ := strings.Cut(root.Long, "Exit statuses: ")
	found := 0
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || !strings.HasPrefix(spec.Names[0].Name, "Exit") {
			return true
		}
		found++
		status := spec.Values[0].(*ast.BasicLit).Value
		if !regexp.MustCompile(`(^|[,\s])` + status + ` [A-Za-z]`).MatchString(told) {
			t.Errorf("%s, %s, is not in: %s", spec.Names[0], status, told)
		}
		return true
	})
	if found < 15 {
		t.Errorf("package ipc has only %d exit statuses", found)
	}
}

// TestAdminsCommands: help tells which commands take role admin.
func TestAdminsCommands(t *testing.T) {
	for _, group := range [][]string{nil, {"unit"}} {
		help := newFake(t, nil).tvsctl(append(group, "--help")...).out
		for line := range strings.Lines(help) {
			name, _, _ := strings.Cut(strings.TrimSpace(line), " ")
			admins := slices.Contains([]string{"audit", "exec", "inspect", "limit", "disable", "enable", "isolate", "mask", "unmask"}, name)
			if admins != strings.HasSuffix(line, " (for admins)\n") {
				t.Errorf("%s", line)
			}
		}
	}
}

// TestDefaultsInManual: tvsctl(1) tells the defaults that --help tells, and names what each
// flag takes.
func TestDefaultsInManual(t *testing.T) {
	a := newApp(nil, io.Discard, io.Discard, func(name string) string { return map[string]string{"TVS_SOCKET": "/s"}[name] })
	page := strings.ReplaceAll(manual(a.root()), `\-`, "-")
	for _, want := range []string{
		"\\fB-n\\fR, \\fB--lines\\fR \\fIN\\fR\nat most the last N (default 100)\n",
		"\\fB-n\\fR, \\fB--requests\\fR \\fIN\\fR\nsend N requests, 1 to 100000 (default 32)\n",
		"wait for STATE: inactive, active or failed (default inactive)\n",
		"wait at most DURATION; 0 means for ever\n",
		"NO_COLOR",
	} {
		contains(t, "the page", page, want)
	}
	for _, wrong := range []string{"(default /s)", "(default )", "(default 0", "\\fIint\\fR"} {
		if strings.Contains(page, wrong) {
			t.Errorf("the page has %q", wrong)
		}
	}
}
