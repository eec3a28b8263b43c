package tests

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// sideEffects says by package which calls change something outside of the process: those
// that are named, and what is called of an only whose names are not among those that read.
var sideEffects = map[string]struct {
	named []string
	only  string
	reads []string
}{
	"dockerops": {named: []string{"runDocker", "c.start"}, only: "api", reads: []string{"Ping", "NegotiateAPIVersionPing", "ServerVersion", "ClientVersion", "Info", "Events",
		"ContainerList", "ContainerInspect", "ContainerInspectWithRaw", "ContainerLogs", "ContainerExecInspect", "ImageInspect"}},
	"nginx": {named: []string{"c.run", "replaceFile", "h.restore", "Unit.Reload"}},
	"daemon": {named: []string{"s.write", "s.put", "s.putHost", "db.Update"}, only: "units",
		reads: []string{"Names", "Unit", "List", "Wait", "State", "Dependencies", "Isolation", "Follow", "File", "Version", "ClockSynchronized", "Close"}},
}

// writes are those of package os, for every package.
var writes = []string{"Create", "CreateTemp", "OpenFile", "WriteFile", "Mkdir", "MkdirAll", "MkdirTemp", "Remove", "RemoveAll", "Rename", "Link", "Symlink", "Chmod", "Chown", "Truncate"}

// elsewhere are the functions whose side effects have their label where they are called,
// and those that leave nothing behind.
var elsewhere = map[string]string{
	"dockerops.Engine.StartExec": "nginx's script: package nginx labels what it changes",
	"dockerops.Engine.attach":    "its callers label it",
	"dockerops.Compose.start":    "run labels it, and read only reads",
	"nginx.Container.Facts":      "it only looks",
	"nginx.Container.Test":       "it only looks",
	"nginx.Container.Drain":      "it only waits",
	"nginx.Container.Writable":   "what it writes is gone again",
	"nginx.Host.Writable":        "what it writes is gone again",
	"nginx.Host.doubt":           "Publish labels it",
	"nginx.Host.restore":         "Publish labels it",
	"nginx.replaceFile":          "Publish and restore label it",
	"daemon.unit.Reload":         "package nginx labels it",
	"daemon.unit.examine":        "the unit only looks",
	"daemon.Daemon.look":         "the unit only looks",
	"daemon.store.put":           "update labels it",
	"daemon.store.putHost":       "keepEpoch and keepBoot label it",
	"daemon.store.write":         "its callers label it",
}

// changes reports whether a call is a side effect, and how it is written.
func changes(in string, call *ast.CallExpr) (string, bool) {
	rule := sideEffects[in]
	switch f := call.Fun.(type) {
	case *ast.Ident:
		return f.Name, slices.Contains(rule.named, f.Name)
	case *ast.SelectorExpr:
		of := ""
		switch x := f.X.(type) {
		case *ast.Ident:
			of = x.Name
		case *ast.SelectorExpr:
			of = x.Sel.Name
		}
		name := of + "." + f.Sel.Name
		return name, slices.Contains(rule.named, name) || of == "os" && slices.Contains(writes, f.Sel.Name) ||
			of != "" && of == rule.only && !slices.Contains(rule.reads, f.Sel.Name)
	}
	return "", false
}

// functionName is that of a declaration, "engine.Start".
func functionName(in string, f *ast.FuncDecl) string {
	if f.Recv != nil {
		of := f.Recv.List[0].Type
		if star, is := of.(*ast.StarExpr); is {
			of = star.X
		}
		if name, is := of.(*ast.Ident); is {
			in += "." + name.Name
		}
	}
	return in + "." + f.Name.Name
}

// TestSideEffectsHaveLabels: what changes something outside of tvsctld stands in a fault.Do,
// so that the fault walks come to it.
func TestSideEffectsHaveLabels(t *testing.T) {
	labeled, unused := 0, maps.Clone(elsewhere)
	for in := range sideEffects {
		files, err := filepath.Glob("../" + in + "/*.go")
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range files {
			if strings.HasSuffix(path, "_test.go") {
				continue
			}
			set := token.NewFileSet()
			file, err := parser.ParseFile(set, path, nil, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			for _, d := range file.Decls {
				f, is := d.(*ast.FuncDecl)
				if !is {
					continue
				}
				name := functionName(in, f)
				inspectEffects(f, func(call *ast.CallExpr, inside bool) {
					what, effect := changes(in, call)
					switch {
					case !effect:
					case inside:
						labeled++
					case elsewhere[name] != "":
						delete(unused, name)
					default:
						t.Errorf("%s: %s calls %s outside of fault.Do: give it a label", set.Position(call.Pos()), name, what)
					}
				})
			}
		}
	}
	if labeled < 20 {
		t.Errorf("only %d side effects have a label", labeled)
	}
	for name := range unused {
		t.Errorf("%s has no side effect that would need a label", name)
	}
}

// inspectEffects calls visit for every call in a function, and says which are inside of a
// fault.Do.
func inspectEffects(f *ast.FuncDecl, visit func(call *ast.CallExpr, inside bool)) {
	var until token.Pos
	ast.Inspect(f, func(n ast.Node) bool {
		call, is := n.(*ast.CallExpr)
		if !is {
			return true
		}
		visit(call, call.Pos() < until)
		if do, is := call.Fun.(*ast.SelectorExpr); is && do.Sel.Name == "Do" {
			if x, is := do.X.(*ast.Ident); is && x.Name == "fault" {
				until = max(until, call.End())
			}
		}
		return true
	})
}
