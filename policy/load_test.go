package policy

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
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
	for _, c := range []struct {
		name  string
		spoil func(dir string) error
		says  string // of the file below dir; "" for nothing
	}{
		{"as it should be", func(string) error { return nil }, ""},
		{"group can write the file", func(dir string) error { return os.Chmod(dir+"/etc/policy.toml", 0o664) },
			"etc/policy.toml: cannot trust it: others than its owner can write it (mode 0664): chmod go-w DIR/etc/policy.toml"},
		{"all can write a drop-in", func(dir string) error { return os.Chmod(dir+"/etc/policy.d/a.toml", 0o602) },
			"etc/policy.d/a.toml: cannot trust it: others than its owner can write it (mode 0602): chmod go-w DIR/etc/policy.d/a.toml"},
		{"group can write the directory", func(dir string) error { return os.Chmod(dir+"/etc", 0o775) },
			"etc: cannot trust it: others than its owner can write it (mode 0775): chmod go-w DIR/etc"},
		{"all can add drop-ins, if not remove them", func(dir string) error { return os.Chmod(dir+"/etc/policy.d", 0o777|fs.ModeSticky) },
			"etc/policy.d: cannot trust it: others than its owner can write it (mode 0777): chmod go-w DIR/etc/policy.d"},
		{"a directory above is sticky", func(dir string) error { return os.Chmod(dir, 0o777|fs.ModeSticky) }, ""},
		{"a link to what is trusted", func(dir string) error {
			return errors.Join(os.Rename(dir+"/etc/policy.toml", dir+"/etc/real"), os.Symlink("../etc/./real", dir+"/etc/policy.toml"))
		}, ""},
		{"an absolute link of a directory", func(dir string) error {
			return errors.Join(os.Rename(dir+"/etc", dir+"/real"), os.Symlink(dir+"/real", dir+"/etc"))
		}, ""},
		{"a link to what is not", func(dir string) error {
			return errors.Join(os.Mkdir(dir+"/pub", 0o755), os.Chmod(dir+"/pub", 0o777), os.WriteFile(dir+"/pub/x", nil, 0o644),
				os.Remove(dir+"/etc/policy.toml"), os.Symlink("../pub/x", dir+"/etc/policy.toml"))
		}, "pub: cannot trust it: others than its owner can write it (mode 0777): chmod go-w DIR/pub"},
		{"a link to nothing", func(dir string) error {
			return errors.Join(os.Remove(dir+"/etc/policy.toml"), os.Symlink("gone", dir+"/etc/policy.toml"))
		}, "etc/policy.toml: a symbolic link leads to DIR/etc/gone, which is not there"},
		{"links in a circle", func(dir string) error {
			return errors.Join(os.Remove(dir+"/etc/policy.toml"), os.Symlink("policy.toml", dir+"/etc/policy.toml"))
		}, "etc/policy.toml: too many symbolic links"},
		{"no file", func(dir string) error {
			return errors.Join(os.Remove(dir+"/etc/policy.toml"), os.Mkdir(dir+"/etc/policy.toml", 0o755))
		}, "etc/policy.toml: it is not a regular file"},
		{"a pipe, which would block", func(dir string) error {
			return errors.Join(os.Remove(dir+"/etc/policy.toml"), syscall.Mkfifo(dir+"/etc/policy.toml", 0o600))
		}, "etc/policy.toml: it is not a regular file"},
		{"a pipe among the drop-ins", func(dir string) error { return syscall.Mkfifo(dir+"/etc/policy.d/b.toml", 0o600) },
			"etc/policy.d/b.toml: it is not a regular file"},
		{"no directory", func(dir string) error {
			return errors.Join(os.RemoveAll(dir+"/etc/policy.d"), os.WriteFile(dir+"/etc/policy.d", nil, 0o644))
		}, "etc/policy.d: it is not a directory"},
		{"too large", func(dir string) error {
			return os.WriteFile(dir+"/etc/policy.toml", []byte(strings.Repeat("#", maxBytes+1)), 0o644)
		}, "etc/policy.toml: cannot read it: it is larger than 1048576 bytes"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			write(t, dir+"/etc/policy.toml", rule1("main"))
			write(t, dir+"/etc/policy.d/a.toml", rule1("a"))
			if err := c.spoil(dir); err != nil {
				t.Fatal(err)
			}
			_, err := Load(dir+"/etc/policy.toml", dir+"/etc/policy.d", me)
			switch {
			case c.says == "" && err != nil:
				t.Error(err)
			case c.says == "":
			case err == nil:
				t.Error("it is trusted")
			default:
				want := dir + "/" + strings.ReplaceAll(c.says, "DIR", dir)
				if first, _, _ := strings.Cut(err.Error(), "\n"); first != want {
					t.Errorf("%v\nwant %s", err, want)
				}
			}
		})
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
