package trust

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"syscall"
	"testing"
)

const most = 1000

// whole makes a directory of a file and a directory that are as they should be.
func whole(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := errors.Join(os.MkdirAll(dir+"/etc/list.d", 0o755), os.WriteFile(dir+"/etc/list", []byte("text"), 0o644),
		os.WriteFile(dir+"/etc/list.d/b", nil, 0o644), os.WriteFile(dir+"/etc/list.d/a", nil, 0o644)); err != nil {
		t.Fatal(err)
	}
	return dir
}

// read reads all that whole makes.
func read(dir string) error {
	owners := Owners{uint32(os.Geteuid())}
	text, err := owners.ReadFile(dir+"/etc/list", most)
	if err != nil {
		return err
	}
	if string(text) != "text" {
		return fmt.Errorf("read %q", text)
	}
	names, err := owners.ReadDir(dir + "/etc/list.d")
	if err == nil && strings.Join(names, " ") != "a b" {
		err = fmt.Errorf("there are %v", names)
	}
	return err
}

func TestRead(t *testing.T) {
	for _, c := range []struct {
		name  string
		spoil func(dir string) error
		says  string // "" for nothing
	}{
		{"as it should be", func(string) error { return nil }, ""},
		{"group can write the file", func(dir string) error { return os.Chmod(dir+"/etc/list", 0o664) },
			"cannot trust DIR/etc/list: others than its owner can write it (mode 0664): chmod go-w DIR/etc/list"},
		{"all can write the file", func(dir string) error { return os.Chmod(dir+"/etc/list", 0o602) },
			"cannot trust DIR/etc/list: others than its owner can write it (mode 0602): chmod go-w DIR/etc/list"},
		{"group can write the directory", func(dir string) error { return os.Chmod(dir+"/etc", 0o775) },
			"cannot trust DIR/etc: others than its owner can write it (mode 0775): chmod go-w DIR/etc"},
		{"all can add files, if not remove them", func(dir string) error { return os.Chmod(dir+"/etc/list.d", 0o777|fs.ModeSticky) },
			"cannot trust DIR/etc/list.d: others than its owner can write it (mode 0777): chmod go-w DIR/etc/list.d"},
		{"a directory above is sticky", func(dir string) error { return os.Chmod(dir, 0o777|fs.ModeSticky) }, ""},
		{"a link to what is trusted", func(dir string) error {
			return errors.Join(os.Rename(dir+"/etc/list", dir+"/etc/real"), os.Symlink("../etc/./real", dir+"/etc/list"))
		}, ""},
		{"an absolute link of a directory", func(dir string) error {
			return errors.Join(os.Rename(dir+"/etc", dir+"/real"), os.Symlink(dir+"/real", dir+"/etc"))
		}, ""},
		{"a link to what is not", func(dir string) error {
			return errors.Join(os.Mkdir(dir+"/pub", 0o755), os.Chmod(dir+"/pub", 0o777), os.WriteFile(dir+"/pub/x", nil, 0o644),
				os.Remove(dir+"/etc/list"), os.Symlink("../pub/x", dir+"/etc/list"))
		}, "cannot trust DIR/pub: others than its owner can write it (mode 0777): chmod go-w DIR/pub"},
		{"a link to nothing", func(dir string) error {
			return errors.Join(os.Remove(dir+"/etc/list"), os.Symlink("gone", dir+"/etc/list"))
		}, "DIR/etc/list: a symbolic link leads to DIR/etc/gone, which is not there"},
		{"links in a circle", func(dir string) error {
			return errors.Join(os.Remove(dir+"/etc/list"), os.Symlink("list", dir+"/etc/list"))
		}, "DIR/etc/list: too many symbolic links"},
		{"no file", func(dir string) error {
			return errors.Join(os.Remove(dir+"/etc/list"), os.Mkdir(dir+"/etc/list", 0o755))
		}, "DIR/etc/list: it is not a regular file"},
		{"a pipe, which would block", func(dir string) error {
			return errors.Join(os.Remove(dir+"/etc/list"), syscall.Mkfifo(dir+"/etc/list", 0o600))
		}, "DIR/etc/list: it is not a regular file"},
		{"no directory", func(dir string) error {
			return errors.Join(os.RemoveAll(dir+"/etc/list.d"), os.WriteFile(dir+"/etc/list.d", nil, 0o644))
		}, "DIR/etc/list.d: it is not a directory"},
		{"too large", func(dir string) error {
			return os.WriteFile(dir+"/etc/list", []byte(strings.Repeat("#", most+1)), 0o644)
		}, "DIR/etc/list: it is larger than 1000 bytes"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := whole(t)
			if err := c.spoil(dir); err != nil {
				t.Fatal(err)
			}
			err := read(dir)
			if want := strings.ReplaceAll(c.says, "DIR", dir); want == "" && err != nil || want != "" && (err == nil || err.Error() != want) {
				t.Errorf("%v\nwant %s", err, want)
			}
		})
	}
	dir := whole(t)
	for _, path := range []string{dir + "/none", dir + "/etc/list/below"} {
		if err := (Owners{uint32(os.Geteuid())}).Check(path); !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENOTDIR) {
			t.Errorf("%s: %v", path, err)
		}
	}
	if err := (Owners{}).Check("etc/list"); err == nil || err.Error() != "etc/list: it is not an absolute path" {
		t.Errorf("a relative path: %v", err)
	}
}

func TestOwners(t *testing.T) {
	dir := whole(t)
	file, owner := dir+"/etc/list", os.Geteuid()
	if owner == 0 {
		owner = 12345
		if err := os.Lchown(file, owner, -1); err != nil {
			t.Fatal(err)
		}
	}
	var flaw *Error
	// Whoever the first on the way is that is not root's: above it all is.
	if err := (Owners{}).Check(file); !errors.As(err, &flaw) || !flaw.Foreign || flaw.Problem != fmt.Sprintf("it belongs to uid %d, not to root", owner) ||
		flaw.Remedy != "chown -h root "+flaw.Path || !strings.HasPrefix(file, flaw.Path) {
		t.Errorf("%#v", flaw)
	}
	if err := (Owners{uint32(owner)}).Check(file); err != nil {
		t.Error(err)
	}
}

// No handle is left open, whatever is found.
func TestHandles(t *testing.T) {
	dir := whole(t)
	if err := errors.Join(os.Symlink(dir+"/etc/list", dir+"/link"), os.Symlink("none", dir+"/dangling"), os.Symlink("circle", dir+"/circle")); err != nil {
		t.Fatal(err)
	}
	count := func() int {
		all, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(all)
	}
	before := count()
	for _, path := range []string{"/etc/list", "/etc/list.d", "/link", "/dangling", "/circle", "/none"} {
		_ = Owners{uint32(os.Geteuid())}.Check(dir + path)
		_, _ = Owners{uint32(os.Geteuid())}.ReadFile(dir+path, most)
		_, _ = Owners{uint32(os.Geteuid())}.ReadDir(dir + path)
		_ = Owners{12345}.Check(dir + path)
	}
	if after := count(); after != before {
		t.Errorf("%d handles before, %d after", before, after)
	}
}
