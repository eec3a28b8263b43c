package tests

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestInstallBuilds: what scripts/install.sh installs is not older than the checkout that
// its units come from.
func TestInstallBuilds(t *testing.T) {
	for name, c := range map[string]struct{ there, tools, want string }{
		"a checkout with programs":       {"bin .git", "go make git", "make -C %s build"},
		"a checkout without":             {".git", "go make git", "make -C %s build"},
		"a checkout, and no Go":          {"bin .git", "make git", "note: the programs in %s/bin are installed as they are"},
		"a checkout that git refuses":    {"bin .git", "go make", "note: the programs in %s/bin are installed as they are"},
		"a copied tree with programs":    {"bin", "go make git", ""},
		"a copied tree without":          {"", "go make git", "make -C %s build"},
		"neither programs nor a builder": {".git", "git", "missing: the programs in %s/bin"},
	} {
		source, path := t.TempDir(), t.TempDir()
		for _, dir := range strings.Fields(c.there) {
			if err := os.Mkdir(filepath.Join(source, dir), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		programs := []string{}
		if strings.Contains(c.there, "bin") {
			programs = append(programs, filepath.Join(source, "bin/tvsctl"), filepath.Join(source, "bin/tvsctld"))
		}
		for _, tool := range strings.Fields(c.tools) {
			programs = append(programs, filepath.Join(path, tool))
		}
		for _, program := range programs {
			text := "#!/bin/sh\n"
			if filepath.Base(program) == "make" {
				text += "echo make \"$@\"\n"
			}
			if err := os.WriteFile(program, []byte(text), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		bash, err := exec.LookPath("bash")
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(bash, "-c", `set -euo pipefail; eval "$FUNCTION"; missing=(); check_programs; printf 'missing: %s\n' "${missing[@]}"`)
		cmd.Env = []string{"PATH=" + path, "FUNCTION=" + shellFunction(t, "../scripts/install.sh", "check_programs"), "source=" + source}
		out, err := cmd.CombinedOutput()
		got := strings.TrimSuffix(string(out), "missing: \n")
		if want := strings.ReplaceAll(c.want, "%s", source); err != nil || !strings.HasPrefix(got, want) || want == "" && got != "" {
			t.Errorf("%s: %v, %q, not %q", name, err, got, want)
		}
	}
}

// shellFunction returns the text of a function of a script.
func shellFunction(t *testing.T, script, name string) string {
	t.Helper()
	text, err := os.ReadFile(script)
	if err != nil {
		t.Fatal(err)
	}
	_, body, found := strings.Cut(string(text), "\n"+name+"() {\n")
	body, _, ended := strings.Cut(body, "\n}\n")
	if !found || !ended {
		t.Fatalf("there is no function %s in %s", name, script)
	}
	return name + "() {\n" + body + "\n}\n"
}
