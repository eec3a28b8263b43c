package tests

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

type goPackage struct {
	ImportPath   string
	Imports      []string
	TestImports  []string
	XTestImports []string
}

// mayImport is DESIGN.md's table: what of ours each package may import. A package
// that is not here needs a line there first.
var mayImport = map[string][]string{
	"tvsctl/ipc":         nil,
	"tvsctl/fault":       nil,
	"tvsctl/trust":       nil,
	"tvsctl/dockerops":   {"tvsctl/fault", "tvsctl/trust"},
	"tvsctl/nginx":       {"tvsctl/fault"},
	"tvsctl/systemd":     {"tvsctl/trust"},
	"tvsctl/policy":      {"tvsctl/trust"},
	"tvsctl/look":        nil,
	"tvsctl/daemon":      {"tvsctl/ipc", "tvsctl/dockerops", "tvsctl/nginx", "tvsctl/systemd", "tvsctl/policy", "tvsctl/fault", "tvsctl/look", "tvsctl/trust", "tvsctl/units"},
	"tvsctl/cmd/tvsctld": {"tvsctl/daemon", "tvsctl/policy", "tvsctl/look", "tvsctl/systemd", "tvsctl/fault"},
	"tvsctl/cmd/tvsctl":  {"tvsctl/ipc"},
	// For tests, and so that its name stays free of the client that it fakes.
	"tvsctl/dockerops/enginetest": nil,
	"tvsctl/systemd/managertest":  nil,
}

// standAlone are programs beside the product; of ours they import what lies below
// them, and ipc.
var standAlone = []string{"tvsctl/tests", "tvsctl/examples/", "tvsctl/scripts/", "tvsctl/units"}

func list(t *testing.T, arguments ...string) []goPackage {
	t.Helper()
	command := exec.Command("go", append([]string{"list", "-json=ImportPath,Imports,TestImports,XTestImports"}, arguments...)...)
	command.Dir = ".."
	output, err := command.Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		t.Fatalf("go list: %s", exit.Stderr)
	}
	if err != nil {
		t.Fatal(err)
	}
	var packages []goPackage
	for decoder := json.NewDecoder(strings.NewReader(string(output))); ; {
		var p goPackage
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			return packages
		} else if err != nil {
			t.Fatal(err)
		}
		packages = append(packages, p)
	}
}

func ours(path string) bool { return path == "tvsctl" || strings.HasPrefix(path, "tvsctl/") }

// only names the packages that alone may import what begins with the path.
var only = map[string]string{
	"github.com/docker/":     "tvsctl/dockerops",
	"github.com/moby/":       "tvsctl/dockerops",
	"github.com/containerd/": "tvsctl/dockerops",
	"github.com/godbus/":     "tvsctl/systemd",
	"go.etcd.io/bbolt":       "tvsctl/daemon",
	"github.com/BurntSushi/": "tvsctl/daemon",
	"github.com/pelletier/":  "tvsctl/policy",
	"github.com/spf13/":      "tvsctl/cmd/tvsctl",
}

func TestImportEdges(t *testing.T) {
	checked := 0
	for _, p := range list(t, "./...") {
		for path, owner := range only {
			for _, imported := range slices.Concat(p.Imports, p.TestImports, p.XTestImports) {
				if strings.HasPrefix(imported, path) && p.ImportPath != owner && p.ImportPath != owner+"/managertest" {
					t.Errorf("%s imports %s, which is for %s", p.ImportPath, imported, owner)
				}
			}
		}
		if slices.ContainsFunc(standAlone, func(root string) bool { return strings.HasPrefix(p.ImportPath, root) }) {
			for _, imported := range p.Imports {
				below := strings.HasPrefix(imported, p.ImportPath+"/") || strings.HasPrefix(imported, "tvsctl/tests/")
				if ours(imported) && imported != "tvsctl/ipc" && !below {
					t.Errorf("%s imports %s", p.ImportPath, imported)
				}
			}
			continue
		}
		allowed, known := mayImport[p.ImportPath]
		if !known {
			t.Errorf("DESIGN.md has no package %s", p.ImportPath)
			continue
		}
		checked++
		for _, imported := range p.Imports {
			if ours(imported) && !slices.Contains(allowed, imported) {
				t.Errorf("%s must not import %s", p.ImportPath, imported)
			}
			if strings.HasSuffix(imported, "/enginetest") || strings.HasSuffix(imported, "/managertest") {
				t.Errorf("%s imports %s outside its tests", p.ImportPath, imported)
			}
		}
	}
	if checked < 7 {
		t.Errorf("only %d packages were looked at", checked)
	}
}

func TestClientIsSmall(t *testing.T) {
	heavy := []string{"github.com/docker/", "github.com/moby/", "github.com/godbus/", "github.com/coreos/", "go.etcd.io/", "tvsctl/daemon", "tvsctl/dockerops"}
	packages := list(t, "-deps", "./cmd/tvsctl")
	if !slices.ContainsFunc(packages, func(p goPackage) bool { return p.ImportPath == "tvsctl/ipc" }) {
		t.Error("the dependencies of tvsctl are not complete")
	}
	for _, p := range packages {
		for _, path := range heavy {
			if strings.HasPrefix(p.ImportPath, path) {
				t.Errorf("tvsctl links %s", p.ImportPath)
			}
		}
	}
}
