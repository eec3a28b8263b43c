package policy

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func rule1(name string) string {
	return fmt.Sprintf("[[rule]]\nname = %q\nusers = ['ann']\nrole = 'viewer'\n", name)
}

func TestLoad(t *testing.T) {
	dir, me := t.TempDir(), uint32(os.Geteuid())
	file, dropins := filepath.Join(dir, "policy.toml"), filepath.Join(dir, "policy.d")
	load := func() *Policy {
		t.Helper()
		p, err := Load(file, dropins, me)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	if p := load(); p.Hash() != Default().Hash() || p.Files()[0] != DefaultName {
		t.Errorf("without files: %v", p.Files())
	}
	write(t, filepath.Join(dropins, "20-b.toml"), rule1("b"))
	write(t, filepath.Join(dropins, "10-a.toml"), rule1("a"))
	write(t, filepath.Join(dropins, "30-c.toml.bak"), "nonsense")
	write(t, filepath.Join(dropins, ".hidden.toml"), "nonsense")
	if p := load(); p.Rules() != 2 || p.rules[0].name != "a" || p.rules[1].name != "b" {
		t.Errorf("only drop-ins: %s", p.rewritten())
	}
	write(t, file, rule1("main"))
	if p := load(); p.Rules() != 3 || p.rules[0].name != "main" || strings.Join(p.Files(), " ") != file+" "+dropins+"/10-a.toml "+dropins+"/20-b.toml" {
		t.Errorf("%v: %s", p.Files(), p.rewritten())
	}
	var want []string
	for i := range 30 {
		want = append(want, fmt.Sprintf("%02d", i*7%30))
		write(t, filepath.Join(dropins, want[i]+".toml"), rule1(want[i]))
	}
	slices.Sort(want)
	var got []string
	for _, r := range load().rules {
		if len(r.name) == 2 {
			got = append(got, r.name)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("drop-ins in the order %s", got)
	}
	// A file without rules is a policy: root alone may do anything.
	os.RemoveAll(dropins)
	write(t, file, "# nobody\n")
	if p := load(); p.Rules() != 0 || p.Decide(ann, Request{Verb: Status, Target: shop}).Allowed {
		t.Errorf("an empty file: %s", p.rewritten())
	}
	// All problems of all files, and the name that stands in two of them.
	write(t, file, "x = 1\n"+rule1("main"))
	write(t, filepath.Join(dropins, "a.toml"), "[[rule]]\nusers = ['a']\nrole = 'b'\n")
	_, err := Load(file, dropins, me)
	if want := file + ":1:1: unknown key \"x\": keys belong under a line [[rule]]\n" + dropins + "/a.toml:3:8: there is no role \"b\": the roles are viewer, operator, deployer and admin"; err == nil || err.Error() != want {
		t.Errorf("%v", err)
	}
	write(t, file, rule1("main"))
	write(t, filepath.Join(dropins, "a.toml"), rule1("main"))
	if _, err := Load(file, dropins, me); err == nil || !strings.Contains(err.Error(), dropins+`/a.toml:1:1: there is another rule "main": `+file+":1") {
		t.Errorf("%v", err)
	}
}

func TestLoadTrusts(t *testing.T) {
	me := uint32(os.Geteuid())
	for name, c := range map[string]struct {
		spoil func(dir string) error
		says  string // of what is below dir
	}{
		"all can write a drop-in": {func(dir string) error { return os.Chmod(dir+"/policy.d/a.toml", 0o602) },
			"policy.d/a.toml: cannot trust it: others than its owner can write it (mode 0602): chmod go-w DIR/policy.d/a.toml"},
		"group can write the file": {func(dir string) error { return os.Chmod(dir+"/policy.toml", 0o664) },
			"policy.toml: cannot trust it: others than its owner can write it (mode 0664): chmod go-w DIR/policy.toml"},
		"all can add drop-ins": {func(dir string) error { return os.Chmod(dir+"/policy.d", 0o777|fs.ModeSticky) },
			"policy.d: cannot trust it: others than its owner can write it (mode 0777): chmod go-w DIR/policy.d"},
		"a directory among the drop-ins": {func(dir string) error { return os.Mkdir(dir+"/policy.d/b.toml", 0o755) }, "policy.d/b.toml: it is not a regular file"},
	} {
		dir := t.TempDir()
		write(t, dir+"/policy.toml", rule1("main"))
		write(t, dir+"/policy.d/a.toml", rule1("a"))
		if _, err := Load(dir+"/policy.toml", dir+"/policy.d", me); err != nil {
			t.Fatalf("as it should be: %v", err)
		}
		if err := c.spoil(dir); err != nil {
			t.Fatal(err)
		}
		_, err := Load(dir+"/policy.toml", dir+"/policy.d", me)
		if want := dir + "/" + strings.ReplaceAll(c.says, "DIR", dir); err == nil || err.Error() != want {
			t.Errorf("%s: %v\nwant %s", name, err, want)
		}
	}
}

func TestLoadDemandsTheOwner(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "policy.toml")
	write(t, file, rule1("main"))
	owner := os.Geteuid()
	if owner == 0 {
		owner = 12345
		if err := os.Lchown(file, owner, -1); err != nil {
			t.Fatal(err)
		}
	}
	// Whoever the first on the way is that is not root's: above it all is.
	_, err := Load(file, filepath.Join(dir, "policy.d"))
	if err == nil || !strings.Contains(err.Error(), fmt.Sprintf(": cannot trust it: it belongs to uid %d, not to root: chown -h root /", owner)) {
		t.Errorf("%v", err)
	}
	if _, err := Load(file, filepath.Join(dir, "policy.d"), uint32(owner)); err != nil {
		t.Error(err)
	}
	if _, err := Load("policy.toml", dir); err == nil || !strings.Contains(err.Error(), "not an absolute path") {
		t.Errorf("%v", err)
	}
}
