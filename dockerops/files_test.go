package dockerops

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// What is no regular file is not opened, neither here nor by compose.
func TestFilesThatDoNotEnd(t *testing.T) {
	const irregular, large = "it is not a regular file", "it is larger than 4194304 bytes"
	for name, c := range map[string]struct {
		spoil func(path string) error
		says  string // "" for nothing
	}{
		"pipe":    {func(path string) error { return unix.Mkfifo(path, 0o666) }, irregular},
		"endless": {func(path string) error { return os.Symlink("/dev/zero", path) }, irregular},
		"large": {func(path string) error {
			return errors.Join(os.WriteFile(path, nil, 0o600), os.Truncate(path, maxComposeFile+1))
		}, large},
		"largest": {func(path string) error {
			return errors.Join(os.WriteFile(path, nil, 0o600), os.Truncate(path, maxComposeFile))
		}, ""},
		"none":                {func(string) error { return nil }, ""},
		"nothing is asked of": {func(path string) error { return os.Symlink("/dev/null", path) }, ""},
	} {
		for _, place := range []string{"compose.yaml", "given.env", ".env"} {
			dir := t.TempDir()
			path := filepath.Join(dir, place)
			if err := c.spoil(path); err != nil {
				t.Fatal(err)
			}
			fakeDocker(t, "echo '{}'")
			compose := Compose{Project: "tvs", Files: Files{Directory: dir, Compose: []string{dir + "/compose.yaml"}, Env: []string{dir + "/given.env"}}}
			_, readErr := compose.Config(t.Context())
			for _, err := range []error{compose.Files.Unreadable(), readErr} {
				if c.says == "" && err != nil || c.says != "" && (err == nil || err.Error() != path+": "+c.says) {
					t.Errorf("%s as %s: %v", name, place, err)
				}
			}
			_, err := ReadComposeFile(path)
			if bad := name == "pipe" || name == "endless" || name == "large"; bad && (err == nil || !strings.HasSuffix(err.Error(), c.says)) {
				t.Errorf("%s is read as %s: %v", name, place, err)
			}
		}
	}
	dir := t.TempDir()
	if err := os.Mkdir(dir+"/.env", 0o700); err != nil {
		t.Fatal(err)
	}
	if err := (Files{Directory: dir}).Unreadable(); err != nil {
		t.Errorf("a directory .env: %v", err)
	}
}

// Compose can wait for a file that the project's files name. A question to it ends with
// ctx all the same.
func TestComposeReadEnds(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mkfifo(dir+"/pipe", 0o600); err != nil {
		t.Fatal(err)
	}
	fakeDocker(t, "trap '' TERM; echo >'"+dir+"/begun'; cat '"+dir+"/pipe'")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 1)
	go func() {
		_, err := declared(t).Hash(ctx, "webapp")
		ended <- err
	}()
	until(t, "compose reads", func() bool { return exists(dir + "/begun") })
	cancel()
	if err := <-ended; err == nil {
		t.Error("no error")
	}
}
