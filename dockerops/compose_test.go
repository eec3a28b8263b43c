package dockerops

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// fakeDocker puts a docker command first in PATH: it notes its arguments, a
// line each, and goes on with the given shell text.
func fakeDocker(t *testing.T, script string) (arguments func() []string) {
	t.Helper()
	dir := t.TempDir()
	noted := filepath.Join(dir, "noted")
	text := "#!/bin/sh\n[ \"$2\" = version ] && exit \"${FAKE_PLUGIN:-0}\"\nprintf '%s\\n' \"$@\" >'" + noted + "'\npwd >>'" + noted + "'\n" + script + "\n"
	if err := os.WriteFile(filepath.Join(dir, "docker"), []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	return func() []string {
		text, err := os.ReadFile(noted)
		if err != nil {
			t.Fatal(err)
		}
		return strings.Split(strings.TrimSpace(string(text)), "\n")
	}
}

// declared is a project whose files may be run.
func declared(t *testing.T) Compose {
	t.Helper()
	dir := t.TempDir()
	files := Files{Directory: dir, Compose: []string{dir + "/a.yaml", dir + "/b.yaml"}, Env: []string{dir + "/e"}, Profiles: []string{"p"}}
	for _, path := range append(files.Compose, files.Env...) {
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return Compose{Project: "tvs", Files: files, Declared: true}
}

func TestComposeArguments(t *testing.T) {
	compose := declared(t)
	dir := compose.Files.Directory
	common := []string{"compose", "--project-name", "tvs", "--ansi", "never", "--project-directory", dir,
		"--file", dir + "/a.yaml", "--file", dir + "/b.yaml", "--env-file", dir + "/e", "--profile", "p"}
	for _, c := range []struct {
		run  func(Compose) error
		want []string
	}{
		{func(c Compose) error { return c.Up(t.Context(), false, map[string]int{"webapp": 3}) }, []string{"up", "--detach", "--scale", "webapp=3"}},
		{func(c Compose) error { return c.Up(t.Context(), true, nil) }, []string{"up", "--detach", "--build"}},
		{func(c Compose) error { return c.Down(t.Context()) }, []string{"down"}},
		{func(c Compose) error { return c.Scale(t.Context(), "webapp", 4) },
			[]string{"up", "--detach", "--no-deps", "--no-recreate", "--scale", "webapp=4", "webapp"}},
		{func(c Compose) error { return c.Create(t.Context(), "webapp", 4) },
			[]string{"up", "--no-start", "--no-deps", "--no-recreate", "--scale", "webapp=4", "webapp"}},
		{func(c Compose) error {
			c.Override = "services: {}\n"
			return c.Down(t.Context())
		}, []string{"--file", "-", "down"}},
	} {
		arguments := fakeDocker(t, "exit 0")
		if err := c.run(compose); err != nil {
			t.Error(err)
		}
		if got := arguments(); !slices.Equal(got, append(append(slices.Clone(common), c.want...), dir)) {
			t.Errorf("got %q", got)
		}
	}
}

func TestComposeOutput(t *testing.T) {
	fakeDocker(t, "i=1; while [ $i -le 15 ]; do echo \"line $i  \"; echo; i=$((i+1)); done; echo 'no such image' >&2; exit 17")
	var lines []string
	compose := declared(t)
	compose.Line = func(s string) { lines = append(lines, s) }
	err := compose.Down(t.Context())
	var failed *ComposeError
	if !errors.As(err, &failed) || failed.Missing || err.Error() != "docker compose down failed (exit status 17): no such image" {
		t.Fatalf("err %v", err)
	}
	if len(lines) != 16 || lines[0] != "line 1" || len(failed.Output) != lastLines || failed.Output[0] != "line 7" {
		t.Errorf("lines %q, output %q", lines, failed.Output)
	}
}

func TestComposeLineWithoutEnd(t *testing.T) {
	fakeDocker(t, "head -c 3000000 /dev/zero | tr '\\0' x; echo; echo after; exit 1")
	var failed *ComposeError
	if err := declared(t).Down(t.Context()); !errors.As(err, &failed) {
		t.Errorf("err %v", err)
	}
}

func TestComposeMissing(t *testing.T) {
	fakeDocker(t, "echo 'unknown flag: --project-name' >&2; exit 125")
	t.Setenv("FAKE_PLUGIN", "1")
	var missing *ComposeError
	if err := declared(t).Down(t.Context()); !errors.As(err, &missing) || !missing.Missing || err.Error() != "the docker compose plugin is not installed" {
		t.Errorf("without the plugin: %v", err)
	}
	t.Setenv("PATH", t.TempDir())
	if err := declared(t).Down(t.Context()); !errors.As(err, &missing) || !missing.Missing || err.Error() != "the docker command is not installed" {
		t.Errorf("without docker: %v", err)
	}
}

func TestComposeStopsWhenToldTo(t *testing.T) {
	fakeDocker(t, "trap 'echo stopped; exit 3' TERM; echo begun; while :; do sleep 0.01; done")
	ctx, cancel := context.WithCancel(t.Context())
	var lines []string
	compose := declared(t)
	compose.Line = func(s string) { lines = append(lines, s); cancel() }
	err := compose.Down(ctx)
	if err == nil || !slices.Equal(lines, []string{"begun", "stopped"}) {
		t.Errorf("%v, lines %q", err, lines)
	}
}

func TestComposeRunsNothingUntrusted(t *testing.T) {
	fakeDocker(t, "echo ran")
	compose := declared(t)
	if err := os.Chmod(compose.Files.Compose[1], 0o666); err != nil {
		t.Fatal(err)
	}
	compose.Line = func(s string) { t.Errorf("line %q", s) }
	for _, err := range []error{compose.Up(t.Context(), false, nil), compose.Down(t.Context()), compose.Scale(t.Context(), "webapp", 2),
		compose.Create(t.Context(), "webapp", 2)} {
		var untrusted *ComposeError
		if !errors.As(err, &untrusted) || !untrusted.Untrusted {
			t.Errorf("err %v", err)
		}
	}
}

func TestComposeHash(t *testing.T) {
	fakeDocker(t, "echo webapp 0123abcd")
	if hash, err := declared(t).Hash(t.Context(), "webapp"); hash != "0123abcd" || err != nil {
		t.Errorf("%q, %v", hash, err)
	}
	fakeDocker(t, "echo webapp; cat") // the further file
	compose := declared(t)
	compose.Override = "of-the-override"
	if hash, err := compose.Hash(t.Context(), "webapp"); hash != "of-the-override" || err != nil {
		t.Errorf("%q, %v", hash, err)
	}
	fakeDocker(t, "echo nothing of the kind")
	if _, err := declared(t).Hash(t.Context(), "webapp"); err == nil {
		t.Error("no error")
	}
}

func TestComposeConfig(t *testing.T) {
	arguments := fakeDocker(t, `echo 'level=warning' >&2; cat <<'END'
{"services": {
  "plain": {"image": "app:2", "deploy": {"resources": {}}, "configs": [{"source": "file"}]},
  "fixed": {"deploy": {"replicas": 0}},
  "hooked": {"post_start": [{"command": ["x"]}]},
  "configured": {"configs": [{"source": "text"}]},
  "secret": {"secrets": [{"source": "env"}]}},
 "configs": {"file": {"file": "/x"}, "text": {"content": "hello"}},
 "secrets": {"env": {"environment": "TOKEN"}}}
END`)
	compose := declared(t)
	compose.Line = func(s string) { t.Errorf("line %q", s) }
	got, err := compose.Config(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]ServiceConfig{"plain": {Image: "app:2"}, "fixed": {Replicas: true},
		"hooked":     {ComposeOnly: "it has post_start hooks"},
		"configured": {ComposeOnly: "compose writes the config text into its containers"},
		"secret":     {ComposeOnly: "compose writes the secret env into its containers"}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v", got)
	}
	if a := arguments(); !slices.Contains(a, "config") || !slices.Contains(a, "json") {
		t.Errorf("arguments %q", a)
	}
	fakeDocker(t, "echo this is no JSON")
	if _, err := declared(t).Config(t.Context()); err == nil || !strings.Contains(err.Error(), "printed no JSON") {
		t.Errorf("err %v", err)
	}
}

// A service that gets hold of a control socket, in whatever way, is told.
func TestComposeSockets(t *testing.T) {
	dir := t.TempDir()
	closed := filepath.Join(dir, "closed")
	for link, target := range map[string]string{"link": "/run", "dangling": "/nowhere", "round": "round"} {
		if err := os.Symlink(target, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	bind := func(source string) string {
		return fmt.Sprintf(`{"volumes": [{"type": "volume", "source": "data"}, {"type": "bind", "source": %q}]}`, source)
	}
	for _, c := range []struct{ service, mounts string }{
		{`{}`, ""},
		{bind("/var/run/docker.sock"), "/var/run/docker.sock"},
		{bind("/run/tvsctld.sock"), "/run/tvsctld.sock"},
		{bind("/run"), "/run"}, {bind("/var/run/"), "/var/run/"}, {bind("/var"), "/var"}, {bind("/"), "/"}, {bind("/srv/../run"), "/srv/../run"},
		{bind("/run/docker.sock.d"), ""}, {bind("/runner"), ""}, {bind("/srv"), ""}, {bind(closed), ""},
		{bind(dir + "/link"), dir + "/link"}, {bind(dir + "/link/.."), dir + "/link/.."}, {bind(dir + "/dangling"), ""},
		{bind(dir + "/round"), dir + "/round, of which tvsctld may not see what it is"},
		{`{"volumes": [{"type": "volume", "source": "run"}]}`, "/var/run"},
		{`{"volumes": [{"type": "tmpfs", "target": "/run"}]}`, ""},
		{`{"secrets": [{"source": "socket"}]}`, "/run/docker.sock"},
		{`{"configs": [{"source": "socket"}]}`, "/run/docker.sock"},
		{`{"use_api_socket": true}`, "/run/docker.sock"},
		{`{"volumes_from": ["web"]}`, ""},
		{`{"volumes_from": ["container:portainer:ro"]}`, "the volumes of container portainer:ro, which can be any"},
	} {
		fakeDocker(t, `cat <<'END'
{"services": {"x": `+c.service+`}, "volumes": {"data": {"name": "p_data"}, "run": {"driver_opts": {"type": "none", "o": "bind", "device": "/var/run"}}},
 "secrets": {"socket": {"file": "/run/docker.sock"}}, "configs": {"socket": {"file": "/run/docker.sock"}}}
END`)
		got, err := declared(t).Config(t.Context())
		want := ""
		if c.mounts != "" {
			want = "x mounts " + c.mounts
		}
		if err != nil || got["x"].Sockets != want {
			t.Errorf("%s: %q, %v, want %q", c.service, got["x"].Sockets, err, want)
		}
	}
}

func TestUntrusted(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(dir string, f *Files) error
		says   string // "": trusted
	}{
		{"as it should be", func(string, *Files) error { return nil }, ""},
		{"no file", func(_ string, f *Files) error { f.Compose = nil; return nil }, "no compose file is named"},
		{"relative directory", func(_ string, f *Files) error { f.Directory = "stack"; return nil }, "is not an absolute path"},
		{"relative file", func(_ string, f *Files) error { f.Compose[0] = "compose.yaml"; return nil }, "is not an absolute path"},
		{"absent file", func(dir string, f *Files) error { return os.Remove(f.Compose[0]) }, "no such file"},
		{"absent directory", func(dir string, f *Files) error { f.Directory = dir + "/none"; return nil }, "no such file"},
		{"writable by all", func(_ string, f *Files) error { return os.Chmod(f.Compose[0], 0o646) }, "compose.yaml: others than its owner can write it"},
		{"writable by the group", func(_ string, f *Files) error { return os.Chmod(f.Compose[0], 0o664) }, "compose.yaml: others than its owner can write it"},
		{"env file writable", func(_ string, f *Files) error { return os.Chmod(f.Env[0], 0o666) }, "env: others than its owner can write it"},
		{"directory writable by the group", func(dir string, _ *Files) error { return os.Chmod(dir+"/stack", 0o775) }, "stack: others than its owner can write it"},
		{"parent writable by the group", func(dir string, _ *Files) error { return os.Chmod(dir+"/above", 0o775) }, "above: others than its owner can write it"},
		{"parent sticky", func(dir string, _ *Files) error { return os.Chmod(dir+"/above", os.ModeSticky|0o777) }, ""},
		{"directory sticky", func(dir string, _ *Files) error { return os.Chmod(dir+"/stack", os.ModeSticky|0o777) }, "stack: others than its owner can write it"},
		{".env writable", func(dir string, _ *Files) error {
			return errors.Join(os.WriteFile(dir+"/stack/.env", nil, 0o600), os.Chmod(dir+"/stack/.env", 0o666))
		}, ".env: others than its owner can write it"},
		{"link into a writable directory", func(dir string, f *Files) error {
			f.Compose = []string{dir + "/stack/link.yaml"}
			return errors.Join(os.Mkdir(dir+"/open", 0o700), os.WriteFile(dir+"/open/c.yaml", nil, 0o600), os.Chmod(dir+"/open", 0o777),
				os.Symlink(dir+"/open/c.yaml", dir+"/stack/link.yaml"))
		}, "open: others than its owner can write it"},
		{"link to a safe place", func(dir string, f *Files) error {
			f.Compose = []string{dir + "/stack/link.yaml"}
			return os.Symlink(dir+"/above/compose.yaml", dir+"/stack/link.yaml")
		}, ""},
		{"a chain of links through a writable directory", func(dir string, f *Files) error {
			f.Compose = []string{dir + "/stack/link.yaml"}
			return errors.Join(os.Mkdir(dir+"/open", 0o700), os.Chmod(dir+"/open", 0o777),
				os.Symlink(dir+"/above/compose.yaml", dir+"/open/middle.yaml"), os.Symlink("../open/middle.yaml", dir+"/stack/link.yaml"))
		}, "open: others than its owner can write it"},
		{"links in a circle", func(dir string, f *Files) error {
			f.Compose = []string{dir + "/stack/a"}
			return errors.Join(os.Symlink("b", dir+"/stack/a"), os.Symlink("a", dir+"/stack/b"))
		}, "too many symbolic links"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			f := Files{Directory: dir + "/stack", Compose: []string{dir + "/above/compose.yaml"}, Env: []string{dir + "/stack/env"}}
			if err := errors.Join(os.Mkdir(dir+"/stack", 0o755), os.Mkdir(dir+"/above", 0o755),
				os.WriteFile(f.Compose[0], nil, 0o644), os.WriteFile(f.Env[0], nil, 0o600)); err != nil {
				t.Fatal(err)
			}
			if err := c.change(dir, &f); err != nil {
				t.Fatal(err)
			}
			err := f.Untrusted(true)
			if c.says == "" && err != nil || c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says)) {
				t.Errorf("got %v, want %q", err, c.says)
			}
		})
	}
}

// The owner of the project's directory may write the files only where root has
// declared the project. /proc shows directories of other owners to any user.
func TestUntrustedOwner(t *testing.T) {
	dir := t.TempDir()
	f := Files{Directory: dir, Compose: []string{dir + "/compose.yaml"}}
	if err := os.WriteFile(f.Compose[0], nil, 0o644); err != nil {
		t.Fatal(err)
	}
	const somebody = 12345
	err := f.Untrusted(false)
	if mine := os.Getuid() != 0; mine != (err != nil) {
		t.Errorf("undeclared, of uid %d: %v", os.Getuid(), err)
	}
	if os.Getuid() != 0 {
		return // only root can give files away
	}
	for _, path := range []string{f.Compose[0], dir} { // the directory is looked at first
		if err := os.Chown(path, somebody, -1); err != nil {
			t.Fatal(err)
		}
		if err := f.Untrusted(false); err == nil || !strings.Contains(err.Error(), path+" belongs to somebody other than root") {
			t.Errorf("undeclared: %v", err)
		}
	}
	f.Owner = OwnerOf(dir)
	if err := f.Untrusted(true); err != nil {
		t.Errorf("declared, all of the directory's owner: %v", err)
	}
	if err := os.Chown(f.Compose[0], somebody+1, -1); err != nil {
		t.Fatal(err)
	}
	if err := f.Untrusted(true); err == nil || !strings.Contains(err.Error(), f.Compose[0]+" belongs to neither root nor uid 12345, who owned") {
		t.Errorf("declared, a file of another: %v", err)
	}
}

// Who owns the files is who owned the directory when root declared it: in a sticky directory
// its owner can move it away, and somebody else make another of that name.
func TestUntrustedSuccessor(t *testing.T) {
	if os.Getuid() != 0 {
		return // only root can give files away
	}
	root, err := user.LookupId("0")
	if err != nil {
		t.Fatal(err)
	}
	const bob, mallory = 12345, 12346
	for _, c := range []struct {
		name  string
		above os.FileMode // of the directory above
		owner uint32      // of the directory when it was declared
		known bool        // the declaration says so
		now   int
		says  string // "": trusted
	}{
		{"bob's, as it was", os.ModeSticky | 0o777, bob, true, bob, ""},
		{"bob's, now mallory's", os.ModeSticky | 0o777, bob, true, mallory, "stack belongs to neither root nor uid 12345, who owned"},
		{"bob's, now root's", os.ModeSticky | 0o777, bob, true, 0, ""},
		{"root's, now mallory's", os.ModeSticky | 0o777, 0, true, mallory, "stack belongs to neither root nor uid 0, who owned"},
		{"not known whose", os.ModeSticky | 0o777, bob, false, bob, "shared: in it anybody can make what its owner moves away (mode 1777); move the project"},
		{"not known whose, of a group", os.ModeSticky | 0o775, bob, false, bob, "shared: in it anybody"},
		{"not known whose, now root's", os.ModeSticky | 0o777, bob, false, 0, ""},
		{"not known whose, where nobody moves", os.ModeSticky | 0o755, bob, false, bob, ""},
		{"not known whose, plain", 0o755, bob, false, bob, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			// Not in /tmp, which is sticky itself.
			top, err := os.MkdirTemp(root.HomeDir, "tvs")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { os.RemoveAll(top) })
			dir := top + "/shared/stack"
			f := Files{Directory: dir, Compose: []string{dir + "/compose.yaml"}}
			if err := errors.Join(os.Chmod(top, 0o755), os.Mkdir(top+"/shared", 0o755), os.Chmod(top+"/shared", c.above), os.Mkdir(dir, 0o755), os.Chown(dir, int(c.owner), -1)); err != nil {
				t.Fatal(err)
			}
			if c.known {
				f.Owner = OwnerOf(dir)
			}
			if err := errors.Join(os.WriteFile(f.Compose[0], nil, 0o644), os.Chown(f.Compose[0], c.now, -1), os.Chown(dir, c.now, -1)); err != nil {
				t.Fatal(err)
			}
			err = f.Untrusted(true)
			if c.says == "" && err != nil || c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says)) {
				t.Errorf("got %v, want %q", err, c.says)
			}
		})
	}
}
