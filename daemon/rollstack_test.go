package daemon

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"tvsctl/dockerops"
	"tvsctl/dockerops/enginetest"
	"tvsctl/ipc"
)

// rollStack is a stack whose three webapps are of app:1, as its compose file says, with
// a docker command that reads that file and pulls.
type rollStack struct {
	*stack
	dir, state string
	end        func() // the daemon's
}

// newRollStack is one without a daemon.
func newRollStack(t *testing.T) *rollStack {
	t.Helper()
	s := &rollStack{stack: newStackWithout(t), dir: t.TempDir(), state: t.TempDir()}
	s.Remove("tvs-webapp-1")
	for n := range 3 {
		s.Add("webapp", n+1, s.is("app:1", nil))
	}
	s.SetImage("app:1", "sha256:1", map[string]any{"Env": []string{"VERSION=1"}})
	s.SetImage("app:2", "sha256:2", map[string]any{"Env": []string{"VERSION=2"}})
	s.write(t, "compose.yaml", "services:\n  webapp:\n    image: app:1\n")
	s.write(t, "tvs.toml", fmt.Sprintf("directory = %q\nfiles = [%q]\n", s.dir, s.dir+"/compose.yaml"))
	s.fakeDocker(t)
	return s
}

// is makes a container a healthy replica of an image.
func (s *rollStack) is(image string, change func(*enginetest.Container)) func(*enginetest.Container) {
	return func(c *enginetest.Container) {
		c.Health, c.Address = "healthy", "172.20.0."+c.Labels["com.docker.compose.container-number"]
		c.Image, c.ImageID, c.Config["Env"] = image, strings.Replace(image, "app:", "sha256:", 1), []string{"VERSION=" + image[len(image)-1:], "MODE=test"}
		c.Labels["com.docker.compose.config-hash"], c.Labels["tvs.rollout.settle"] = "hash-"+image, "0s"
		if change != nil {
			change(c)
		}
	}
}

func (s *rollStack) write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(s.dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// fakeDocker puts a docker command first in PATH. Its compose reads the image from the
// compose file; what it says of a webapp is in the file config, if there is one. What it
// is to make, the engine makes when it is asked for it.
func (s *rollStack) fakeDocker(t *testing.T) {
	t.Helper()
	script := `#!/bin/sh
cd '` + s.dir + `' || exit
ask() { echo "$2" >"$1.new" && mv "$1.new" "$1"; }
echo "$*" >>calls
image=$(sed -n 's/.*image: "*\([^"}]*\).*/\1/p' compose.yaml)
salt=$(sed -n 's/^# //p' compose.yaml)
case "$*" in
"compose version") ;;
"pull -- "*) [ -e gate ] && read -r _ <gate; [ -e unknown ] && { echo 'manifest unknown' >&2; exit 1; }; echo "Pulling $3"; [ -e lost ] || ask pulled "$3" ;;
*"config --hash webapp")
	[ -e broken ] && { echo 'no such variable' >&2; exit 15; }
	other=$(sed -n 's/.*image: "\([^"]*\)".*/\1/p')
	echo "webapp hash-${other:-$image}$salt" ;;
*"config --format json")
	[ -e config ] && exec cat config
	echo '{"services": {"webapp": {"image": "'"$image"'"}}}' ;;
*"up --no-start"*) ask create "$image" ;;
*"up --detach --no-deps"*) ask scale "$image" ;;
*"up --detach"*) ;;
*) echo "the fake docker knows no $*" >&2; exit 1 ;;
esac
`
	bin := t.TempDir()
	if err := os.WriteFile(filepath.Join(bin, "docker"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	asked := func(name string) string {
		text, err := os.ReadFile(filepath.Join(s.dir, name))
		if err != nil || os.Remove(filepath.Join(s.dir, name)) != nil {
			return ""
		}
		return strings.TrimSpace(string(text))
	}
	for _, image := range []string{"app:3", "app:4"} {
		s.Before("inspect image "+image, func() {
			if name := asked("pulled"); name != "" {
				s.SetImage(name, strings.Replace(name, "app:", "sha256:", 1), nil)
			}
		})
	}
	var making sync.Mutex // who comes second is to see it
	s.Before("inspect list", func() {
		making.Lock()
		defer making.Unlock()
		if image := asked("create"); image != "" {
			s.Add("webapp", s.highest()+1, s.is(image, func(c *enginetest.Container) { c.State, c.Health = "created", "" }))
		}
		if image := asked("scale"); image != "" {
			for range 3 {
				s.Add("webapp", s.highest()+1, s.is(image, nil))
			}
		}
	})
}

// highest is the highest number of a webapp.
func (s *rollStack) highest() (highest int) {
	for _, name := range s.Names() {
		number := 0
		if _, err := fmt.Sscanf(name, "tvs-webapp-%d", &number); err == nil {
			highest = max(highest, number)
		}
	}
	return highest
}

// docker returns how often the docker command was called so.
func (s *rollStack) docker(t *testing.T, words string) int {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(s.dir, "calls"))
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return strings.Count(string(text), words)
}

// run is a life of the daemon, up to the end of the test or of that life.
func (s *rollStack) run(t *testing.T) *rollStack {
	t.Helper()
	d := New(Config{Version: "test", StateDir: s.state, ProjectDir: s.dir, Log: s.journal})
	d.log = &logbook{out: s.journal}
	listener := listenUnix(t)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx, listener) }()
	s.Client, s.d, s.end = ipc.NewClient(listener.Addr().String()), d, func() {
		if ctx.Err() == nil {
			cancel()
			if err := <-ended; err != nil {
				t.Errorf("Run: %v", err)
			}
		}
	}
	t.Cleanup(s.end)
	return s
}

// webapps are the numbers of those that run, and of the others in brackets.
func (s *rollStack) webapps() string {
	var numbers []string
	for _, name := range s.Names() {
		if number, is := strings.CutPrefix(name, "tvs-webapp-"); is {
			if number, runs := strings.CutSuffix(number, " running"); runs {
				numbers = append(numbers, number)
			} else {
				numbers = append(numbers, "("+number+")")
			}
		}
	}
	return strings.Join(numbers, " ")
}

func (s *rollStack) kept() projectState { return s.d.state.project("tvs") }

// accept posts a request that is to be accepted.
func (s *rollStack) accept(t *testing.T, path string, request any) ipc.Operation {
	t.Helper()
	var accepted ipc.Operation
	if err := s.Post(t.Context(), ipc.ProjectPath("tvs", path), request, &accepted); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return accepted
}

// refused posts a request that is to be refused, and returns why.
func (s *rollStack) refused(t *testing.T, path string, request any) *ipc.Error {
	t.Helper()
	err := s.Post(t.Context(), ipc.ProjectPath("tvs", path), request, nil)
	if err == nil {
		t.Errorf("%s %+v is accepted", path, request)
		return &ipc.Error{}
	}
	return describeError(err)
}

// lines carries out a request, and returns what was told meanwhile too.
func (s *rollStack) lines(t *testing.T, path string, request any) (o *ipc.Operation, lines []string) {
	t.Helper()
	o, err := s.Follow(t.Context(), s.accept(t, path, request).ID, func(e ipc.Event) {
		if e.Kind == ipc.EventLog {
			lines = append(lines, e.Line)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return o, lines
}

// expect checks an operation's outcome, and which webapps there are.
func (s *rollStack) expect(t *testing.T, o *ipc.Operation, code ipc.Code, says, webapps string) {
	t.Helper()
	text := o.Result
	if o.Error != nil {
		text = o.Error.Message
	}
	if o.Error == nil && code != "" || o.Error != nil && o.Error.Code != code || text != says {
		t.Errorf("it ended with %q (%+v), want %q", text, o.Error, says)
	}
	if got := s.webapps(); got != webapps {
		t.Errorf("webapps %q, want %q", got, webapps)
	}
}

// served checks which webapps nginx has, in the end.
func (s *rollStack) served(t *testing.T, numbers ...int) {
	t.Helper()
	var want []string
	for _, n := range numbers {
		want = append(want, fmt.Sprintf("172.20.0.%d:8080", n))
	}
	slices.Sort(want)
	defer func() {
		if t.Failed() {
			t.Logf("nginx has %s\n%v\n%s", s.members(), s.Calls(), s.journal)
		}
	}()
	until(t, fmt.Sprintf("nginx has %q", want), func() bool { got := strings.Fields(s.members()); slices.Sort(got); return slices.Equal(got, want) })
}

func imageOf(spec *dockerops.Spec) string {
	if spec == nil {
		return "none"
	}
	return spec.Config.Image + " " + spec.ImageID + " " + spec.Hash()
}

func toImage(image string) ipc.RolloutRequest {
	return ipc.RolloutRequest{Service: "webapp", Image: image}
}
