package nginx

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// fakeNginx is control.sh's surroundings: a /proc of plain files, a program nginx,
// and a master, which is the test itself. Files in root change what they do.
type fakeNginx struct {
	t     *testing.T
	shell []string
	root  string
	dir   string
}

const nginxScript = `#!/bin/sh
cd ROOT
case $1 in
-v) echo "nginx version: nginx/1.30.6" >&2 ;;
-T) echo "# configuration file /etc/nginx/nginx.conf:"; echo "include $PWD/dir/*.conf;" ;;
-t)
  cat dir/*.conf >tested 2>/dev/null
  if [ -e refuse ]; then echo "nginx: [emerg] no way in x:1" >&2; exit 1; fi
  echo "nginx: test is successful" ;;
esac
`

func newFakeNginx(t *testing.T, shell ...string) *fakeNginx {
	t.Helper()
	f := &fakeNginx{t: t, shell: shell, root: t.TempDir()}
	f.dir = filepath.Join(f.root, "dir")
	f.write("bin/nginx", strings.ReplaceAll(nginxScript, "ROOT", f.root))
	f.write("dir/.keep", "")
	f.worker(11, "worker process", os.Getpid())
	f.write("proc/12/cmdline", "nginx: master process nginx\x00-g\x00")
	f.write("proc/self/cmdline", "nginx: worker process\x00") // not a number
	t.Setenv("PATH", filepath.Join(f.root, "bin")+":"+os.Getenv("PATH"))
	signal.Ignore(syscall.SIGHUP) // the master hears of it over a pipe: see surroundings
	t.Cleanup(func() { signal.Reset(syscall.SIGHUP) })
	return f
}

// reload does what the master does: the old worker leaves, a new one serves.
func (f *fakeNginx) reload() {
	f.write("reloads", f.read("reloads")+"x")
	if f.read("deaf") == "" {
		f.worker(11, "worker process is shutting down", os.Getpid())
	}
	if f.read("deaf")+f.read("crash") == "" {
		f.worker(21, "worker process", os.Getpid())
	}
	f.remove("busy")
}

func (f *fakeNginx) remove(name string) {
	if err := os.Remove(filepath.Join(f.root, name)); err != nil {
		f.t.Error(err)
	}
}

func (f *fakeNginx) worker(pid int, title string, master int) {
	f.write(fmt.Sprintf("proc/%d/stat", pid), fmt.Sprintf("%d (nginx) S %d 1 1 0 -1\n", pid, master))
	f.write(fmt.Sprintf("proc/%d/cmdline", pid), "nginx: "+title+"\x00")
}

func (f *fakeNginx) write(name, text string) {
	path := filepath.Join(f.root, name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o755)); err != nil {
		f.t.Error(err)
	}
}

func (f *fakeNginx) read(name string) string {
	text, err := os.ReadFile(filepath.Join(f.root, name))
	if err != nil {
		return ""
	}
	return string(text)
}

// files are those of the directory, hidden ones too.
func (f *fakeNginx) files() map[string]string {
	found := map[string]string{}
	entries, err := os.ReadDir(f.dir)
	if err != nil {
		f.t.Fatal(err)
	}
	for _, e := range entries {
		if e.Name() == ".keep" {
			continue
		}
		found[e.Name()] = f.read("dir/" + e.Name())
	}
	return found
}

func (f *fakeNginx) container() *Container {
	return &Container{Label: "tvs-entry-1", Dir: f.dir, Exec: f}
}

// surroundings passes a signal on over a pipe: at its end every signal has been acted
// upon, while one that was caught could still be on its way when the test is over. To
// wait in vain takes no time, and the master as much as it needs.
const surroundings = `kill() { command kill "$@" && : >ROOT/busy && echo "$1" >&3; }
sleep() { while [ -e ROOT/busy ] || [ -e ROOT/starting ]; do :; done; }
`

func (f *fakeNginx) Start(_ context.Context, argv []string) (Process, error) {
	if len(argv) != 3 || argv[0] != "sh" || argv[1] != "-c" {
		f.t.Errorf("argv %q", argv)
	}
	text := strings.ReplaceAll(surroundings, "ROOT", f.root) + strings.ReplaceAll(argv[2], "/proc/", f.root+"/proc/")
	command := exec.Command(f.shell[0], append(f.shell[1:], "-c", text)...)
	command.SysProcAttr = endsWithTest()
	p := &process{command: command, signalled: make(chan struct{})}
	command.Stdout, command.Stderr = &p.output, &p.output
	var err error
	if p.input, err = command.StdinPipe(); err != nil {
		return nil, err
	}
	signals, tell, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	command.ExtraFiles = []*os.File{tell}
	err = command.Start()
	tell.Close()
	if err != nil {
		signals.Close()
		return nil, err
	}
	go func() {
		defer close(p.signalled)
		defer signals.Close()
		for s := bufio.NewScanner(signals); s.Scan(); f.reload() {
			if s.Text() != "-HUP" {
				f.t.Errorf("signal %s", s.Text())
			}
		}
	}()
	f.t.Cleanup(func() {
		_ = command.Process.Kill() // it may have ended
		p.Close()
	})
	return p, nil
}

// endsWithTest is of a process that must not outlive the test, even when that is killed.
func endsWithTest() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }

type process struct {
	command   *exec.Cmd
	input     io.WriteCloser
	output    bytes.Buffer
	signalled chan struct{} // closed when its last signal has been acted upon
	once      sync.Once
	err       error
}

func (p *process) Write(b []byte) (int, error) { return p.input.Write(b) }

func (p *process) Close() { _, _, _ = p.Wait(context.Background()) }

func (p *process) Wait(context.Context) (string, int, error) {
	p.once.Do(func() {
		p.input.Close()
		p.err = p.command.Wait()
		<-p.signalled
	})
	err := p.err
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		err = nil
	}
	return p.output.String(), p.command.ProcessState.ExitCode(), err
}

// forEachShell runs a test with every shell that this machine has.
func forEachShell(t *testing.T, test func(t *testing.T, f *fakeNginx)) {
	for _, shell := range [][]string{{"sh"}, {"dash"}, {"busybox", "sh"}, {"bash"}} {
		if _, err := exec.LookPath(shell[0]); err != nil && shell[0] != "sh" {
			continue // only sh is on every machine
		}
		t.Run(shell[0], func(t *testing.T) { test(t, newFakeNginx(t, shell...)) })
	}
}

func TestContainerPublish(t *testing.T) {
	forEachShell(t, func(t *testing.T, f *fakeNginx) {
		f.write("dir/webapp.conf", "before\n")
		odd := "  $HOME \"'`id` \\n %s *\n\nend # é\n"
		if err := f.container().Publish(t.Context(), map[string][]byte{"webapp.conf": []byte(odd), "api.conf": []byte("api\n")}); err != nil {
			t.Fatal(err)
		}
		if got := f.files(); len(got) != 2 || got["webapp.conf"] != odd || got["api.conf"] != "api\n" {
			t.Errorf("files %q", got)
		}
		if f.read("tested") != "api\n"+odd || f.read("reloads") != "x" {
			t.Errorf("tested %q, reloads %q", f.read("tested"), f.read("reloads"))
		}
	})
}

func TestContainerPublishFails(t *testing.T) {
	for _, c := range []struct{ file, text string }{
		{"refuse", "tvs-entry-1 does not accept the configuration: no way in x:1"},
		{"gone", "tvs-entry-1 cannot be reloaded"},
		{"crash", "tvs-entry-1 did not take up the new configuration; its log says why"},
		{"deaf", "tvs-entry-1 did not take up the new configuration; its log says why"},
	} {
		t.Run(c.file, func(t *testing.T) {
			f := newFakeNginx(t, "sh")
			f.write(c.file, "x")
			if c.file == "gone" {
				f.worker(11, "worker process", 1<<30) // no process has that id
			}
			f.write("dir/webapp.conf", "before\n")
			err := f.container().Publish(t.Context(), map[string][]byte{"webapp.conf": []byte("after\n"), "new.conf": []byte("x\n")})
			var config *ConfigError
			if !errors.As(err, &config) || !strings.HasPrefix(err.Error(), c.text) {
				t.Errorf("err %v", err)
			}
			if got := f.files(); len(got) != 1 || got["webapp.conf"] != "before\n" {
				t.Errorf("files %q", got)
			}
		})
	}
}

func TestContainerPublishCannotWrite(t *testing.T) {
	f := newFakeNginx(t, "sh")
	f.write("dir/a.conf", "before\n")
	f.write("dir/z.conf", "")
	if err := os.Mkdir(filepath.Join(f.dir, ".z.conf.new"), 0o755); err != nil { // in the way
		t.Fatal(err)
	}
	err := f.container().Publish(t.Context(), map[string][]byte{"a.conf": []byte("after\n"), "z.conf": []byte("x\n")})
	if err == nil || !strings.Contains(err.Error(), "cannot write to "+f.dir) {
		t.Errorf("err %v", err)
	}
	if got := f.files(); got["a.conf"] != "before\n" || f.read("reloads") != "" {
		t.Errorf("files %q", got)
	}
	c := f.container()
	c.Dir = f.root + "/none"
	if err := c.Publish(t.Context(), map[string][]byte{"a.conf": nil}); err == nil || !strings.Contains(err.Error(), "has no directory") {
		t.Errorf("err %v", err)
	}
}

func TestContainerWaitsForWorkers(t *testing.T) {
	f := newFakeNginx(t, "sh")
	if err := os.RemoveAll(filepath.Join(f.root, "proc/11")); err != nil {
		t.Fatal(err)
	}
	err := f.container().Reload(t.Context())
	if err == nil || err.Error() != "tvs-entry-1 has no workers" || f.read("reloads") != "" {
		t.Errorf("%v, reloads %q", err, f.read("reloads"))
	}
	if _, err := f.container().Facts(t.Context()); err == nil || err.Error() != "tvs-entry-1 has no workers" {
		t.Errorf("facts: %v", err)
	}
	f.write("starting", "")
	var start sync.WaitGroup
	defer start.Wait()
	start.Go(func() {
		f.worker(11, "worker process", os.Getpid())
		f.remove("starting")
	})
	if err := f.container().Reload(t.Context()); err != nil || f.read("reloads") != "x" {
		t.Errorf("%v, reloads %q", err, f.read("reloads"))
	}
}

func TestContainerDrain(t *testing.T) {
	forEachShell(t, func(t *testing.T, f *fakeNginx) {
		if err := f.container().Drain(t.Context()); err != nil {
			t.Errorf("nothing to drain: %v", err)
		}
		f.worker(13, "worker process is shutting down", os.Getpid())
		short, cancel := context.WithTimeout(t.Context(), 5*tick)
		defer cancel()
		if err := f.container().Drain(short); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("err %v", err)
		}
		drained := make(chan error, 1)
		go func() { drained <- f.container().Drain(t.Context()) }()
		select {
		case err := <-drained:
			t.Errorf("drained with a worker left: %v", err)
		case <-time.After(50 * time.Millisecond): // errs on the side of a pass
		}
		if err := os.RemoveAll(filepath.Join(f.root, "proc/13")); err != nil {
			t.Fatal(err)
		}
		if err := <-drained; err != nil {
			t.Error(err)
		}
	})
}

func TestContainerFactsAndTest(t *testing.T) {
	forEachShell(t, func(t *testing.T, f *fakeNginx) {
		facts, err := f.container().Facts(t.Context())
		if err != nil || facts.Version != "1.30.6" || !facts.Includes {
			t.Errorf("%+v, %v", facts, err)
		}
		ok, output, err := f.container().Test(t.Context())
		if !ok || err != nil || !slices.Equal(output, []string{"nginx: test is successful"}) {
			t.Errorf("%v, %q, %v", ok, output, err)
		}
		f.write("refuse", "")
		ok, output, err = f.container().Test(t.Context())
		if ok || err != nil || !slices.Equal(output, []string{"nginx: [emerg] no way in x:1"}) {
			t.Errorf("%v, %q, %v", ok, output, err)
		}
	})
}

func TestContainerPrepare(t *testing.T) {
	f := newFakeNginx(t, "sh")
	c := f.container()
	c.Prepare(t.Context())
	c.Prepare(t.Context()) // the first one ends
	c.Release()
	c.Release()
	c.Prepare(t.Context())
	if err := c.Publish(t.Context(), map[string][]byte{"a.conf": []byte("a\n")}); err != nil || f.read("dir/a.conf") != "a\n" {
		t.Errorf("%v", err)
	}
	c.Exec = failing{}
	c.Prepare(t.Context()) // an error of it shows in the call
	if err := c.Reload(t.Context()); err == nil || err.Error() != "no such container" {
		t.Errorf("err %v", err)
	}
}

type failing struct{}

func (failing) Start(context.Context, []string) (Process, error) {
	return nil, errors.New("no such container")
}

// said is a process that says one thing.
type said struct {
	output string
	status int
}

func (s said) Start(context.Context, []string) (Process, error) { return s, nil }
func (s said) Write(p []byte) (int, error)                      { return len(p), nil }
func (s said) Close()                                           {}
func (s said) Wait(context.Context) (output string, status int, err error) {
	return s.output, s.status, nil
}

func TestContainerStatuses(t *testing.T) {
	for status, says := range map[int]string{
		126: "its image has no shell or no nginx program", 127: "its image has no shell or no nginx program",
		20: "has no directory /d", 99: "cannot be configured (status 99): the output",
	} {
		c := &Container{Label: "entry", Dir: "/d", Exec: said{"the output\n", status}}
		if err := c.Reload(t.Context()); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%d: %v", status, err)
		}
	}
}

func TestEncode(t *testing.T) {
	if got, want := string(encode([]string{"publish", "", "a\nb\n", "\n"})), fmt.Sprint("4\n1\npublish\n1\n\n2\na\nb\n1\n\n"); got != want {
		t.Errorf("got %q", got)
	}
}
