package daemon

import (
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"tvsctl/dockerops"
	"tvsctl/dockerops/enginetest"
	"tvsctl/ipc"
)

// Whoever can start containers says where their compose file is: a pipe there, or a file
// without end, holds up nobody.
func TestComposeFileThatDoesNotEnd(t *testing.T) {
	for name, spoil := range map[string]func(path string) error{
		"a pipe":     func(path string) error { return unix.Mkfifo(path, 0o666) },
		"an endless": func(path string) error { return os.Symlink("/dev/zero", path) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path := dir + "/compose.yaml"
			if err := spoil(path); err != nil {
				t.Fatal(err)
			}
			s := newStackWithout(t)
			for _, c := range []string{"tvs-entry-1", "tvs-webapp-1"} {
				s.Update(c, "create", func(c *enginetest.Container) {
					c.Labels["com.docker.compose.project.working_dir"], c.Labels["com.docker.compose.project.config_files"] = dir, path
				})
			}
			s.Client, s.d = serve(t, Config{Version: "test", StateDir: t.TempDir(), ProjectDir: t.TempDir(), Log: s.journal})
			if problems := s.status(t).Problems; len(problems) != 1 || !strings.Contains(problems[0], path+": it is not a regular file") {
				t.Errorf("problems %q", problems)
			}
			if o := s.do(t, "scale", scaleRequest(2)); o.State != ipc.OperationSucceeded {
				t.Errorf("%+v", o)
			}
			files := dockerops.Files{Directory: dir, Compose: []string{path}}
			if found := (&target{compose: dockerops.Compose{Files: files}}).interpolates(); found != "" {
				t.Errorf("it interpolates %s", found)
			}
		})
	}
}
