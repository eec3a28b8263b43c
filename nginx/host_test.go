package nginx

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// fakeUnit is an nginx whose master is the test's own process: its workers are
// children with nginx's titles.
type fakeUnit struct {
	t       *testing.T
	workers []*exec.Cmd
	program string // answers as nginx -v -T
	reload  func() error
	stopped bool
	reloads int
}

func (u *fakeUnit) MainPID(context.Context) (int, error) {
	if u.stopped {
		return 0, nil
	}
	return os.Getpid(), nil
}

func (u *fakeUnit) Reload(context.Context) error {
	u.reloads++
	return u.reload()
}

func (u *fakeUnit) Examine(ctx context.Context) (bool, string, error) {
	output, err := exec.CommandContext(ctx, u.program).CombinedOutput()
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return false, "", ctx.Err()
	case err != nil && !errors.As(err, &exit):
		return false, "", err
	}
	return err == nil, string(output), nil
}

func (u *fakeUnit) start(title string) *exec.Cmd {
	u.t.Helper()
	path, err := exec.LookPath("sleep")
	if err != nil {
		u.t.Fatal(err)
	}
	c := &exec.Cmd{Path: path, Args: []string{title, "1000"}, SysProcAttr: endsWithTest()}
	if err := c.Start(); err != nil {
		u.t.Fatal(err)
	}
	u.workers = append(u.workers, c)
	// Start returns in the middle of the exec: a little before the kernel knows the title.
	u.becomes(c, title)
	return c
}

// becomes returns when a process has the title.
func (u *fakeUnit) becomes(c *exec.Cmd, title string) {
	u.t.Helper()
	for start := time.Now(); ; time.Sleep(time.Millisecond) {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", c.Process.Pid))
		if strings.HasPrefix(string(text), title) {
			return
		}
		if time.Since(start) > time.Minute {
			u.t.Fatalf("%q is %q, %v", title, text, err)
		}
	}
}

func (u *fakeUnit) end(c *exec.Cmd) {
	_ = c.Process.Kill() // it may have ended
	_ = c.Wait()
}

const title, leavingTitle = "nginx: worker process", "nginx: worker process is shutting down"

// newHost has one worker; its reload replaces that by one that leaves and a new one.
func newHost(t *testing.T, program string) (*Host, *fakeUnit) {
	t.Helper()
	if _, err := os.Stat("/proc/self/task/" + pid() + "/children"); err != nil {
		t.Fatal("this kernel does not list the children of a process (CONFIG_PROC_CHILDREN), which nginx.Host needs")
	}
	u := &fakeUnit{t: t}
	dir := t.TempDir()
	path := filepath.Join(dir, "nginx")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+program+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	first := u.start(title)
	u.reload = func() error {
		u.end(first)
		u.start(leavingTitle)
		u.start(title)
		return nil
	}
	t.Cleanup(func() {
		for _, c := range u.workers {
			u.end(c)
		}
	})
	u.program = path
	upstreams := filepath.Join(dir, "upstreams")
	if err := os.Mkdir(upstreams, 0o755); err != nil {
		t.Fatal(err)
	}
	return &Host{Label: "nginx.service", Dir: upstreams, Unit: u}, u
}

func pid() string {
	name, _ := os.Readlink("/proc/self")
	return name
}

func contents(t *testing.T, h *Host) string {
	t.Helper()
	entries, err := os.ReadDir(h.Dir)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, e := range entries {
		text, _ := os.ReadFile(filepath.Join(h.Dir, e.Name()))
		all = append(all, e.Name()+"="+string(text))
	}
	return strings.Join(all, " ")
}

func TestHostPublishAndDrain(t *testing.T) {
	h, u := newHost(t, "exit 0")
	if err := h.Publish(t.Context(), map[string][]byte{"a.conf": []byte("A"), "b.conf": []byte("B")}); err != nil {
		t.Fatal(err)
	}
	if got := contents(t, h); got != "a.conf=A b.conf=B" || u.reloads != 1 {
		t.Errorf("%s, %d reloads", got, u.reloads)
	}
	short, cancel := context.WithTimeout(t.Context(), 2*tick)
	defer cancel()
	if err := h.Drain(short); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("err %v", err)
	}
	u.end(u.workers[1])
	if err := h.Drain(t.Context()); err != nil {
		t.Error(err)
	}
	u.stopped = true
	if err := h.Drain(t.Context()); err != nil {
		t.Errorf("of one that does not run: %v", err)
	}
}

func TestHostPublishFails(t *testing.T) {
	for _, c := range []struct {
		name, program, text string
		reload              func() error
	}{
		{"refused", "echo 'nginx: [emerg] no way in x:1' >&2; exit 1", "nginx.service does not accept the configuration: no way in x:1", nil},
		{"not reloaded", "exit 0", "nginx.service cannot be reloaded: access denied", func() error { return errors.New("access denied") }},
	} {
		t.Run(c.name, func(t *testing.T) {
			h, u := newHost(t, c.program)
			if c.reload != nil {
				u.reload = c.reload
			}
			if err := os.WriteFile(h.Dir+"/a.conf", []byte("before"), 0o644); err != nil {
				t.Fatal(err)
			}
			err := h.Publish(t.Context(), map[string][]byte{"a.conf": []byte("A"), "b.conf": []byte("B")})
			var config *ConfigError
			if !errors.As(err, &config) || config.Error() != c.text {
				t.Errorf("err %v", err)
			}
			if got := contents(t, h); got != "a.conf=before" {
				t.Errorf("left %s", got)
			}
		})
	}
}

// A reload that is not taken up: the wait ends with the caller's context here.
func TestHostPublishWaitsForNewWorkers(t *testing.T) {
	h, u := newHost(t, "exit 0")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	u.reload = func() error {
		time.AfterFunc(3*tick, cancel)
		return nil
	}
	err := h.Publish(ctx, map[string][]byte{"a.conf": []byte("A")})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("err %v", err)
	}
	if got := contents(t, h); got != ".a.conf.unproven=" { // it may have been taken up
		t.Errorf("left %s", got)
	}
}

// A worker that was forked right before the reload has its master's title until it runs.
func TestHostPublishWaitsForForkedWorkers(t *testing.T) {
	h, u := newHost(t, "exit 0")
	forked := exec.Command("bash", "-c", `read; exec -a "`+title+`" sleep 1000`)
	forked.Args[0], forked.SysProcAttr = "nginx: master process", endsWithTest()
	runs, err := forked.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := forked.Start(); err != nil {
		t.Fatal(err)
	}
	u.workers = append(u.workers, forked)
	taken := u.reload
	u.reload = func() error {
		err := runs.Close()
		u.becomes(forked, title)
		return errors.Join(err, taken())
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*tick)
	defer cancel()
	if err := h.Publish(ctx, map[string][]byte{"a.conf": []byte("A")}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("it serves what it was forked with, and err %v", err)
	}
}

// A reload that is canceled may come all the same.
func TestHostPublishIsCanceledInAReload(t *testing.T) {
	h, u := newHost(t, "exit 0")
	ctx, cancel := context.WithCancel(t.Context())
	u.reload = func() error {
		cancel()
		return ctx.Err()
	}
	if err := h.Publish(ctx, map[string][]byte{"a.conf": []byte("A")}); err == nil {
		t.Error("no error")
	}
	if got := contents(t, h); got != ".a.conf.unproven=" {
		t.Errorf("left %s", got)
	}
}

// A test of the configuration that the caller's context cuts short is no refusal.
func TestHostTestIsCutShort(t *testing.T) {
	h, u := newHost(t, "exec sleep 1000")
	ctx, cancel := context.WithTimeout(t.Context(), 10*tick)
	defer cancel()
	err := h.Publish(ctx, map[string][]byte{"a.conf": []byte("A")})
	if !errors.Is(err, context.DeadlineExceeded) || u.reloads != 0 {
		t.Errorf("%v, %d reloads", err, u.reloads)
	}
	if got := contents(t, h); got != "" {
		t.Errorf("left %s", got)
	}
}

func TestHostPublishCannotWrite(t *testing.T) {
	h, u := newHost(t, "exit 0")
	if err := os.Mkdir(h.Dir+"/.z.conf.new", 0o755); err != nil { // in the way
		t.Fatal(err)
	}
	err := h.Publish(t.Context(), map[string][]byte{"a.conf": []byte("A"), "z.conf": []byte("Z")})
	if err == nil || !strings.Contains(err.Error(), "cannot write nginx.service's upstreams") || u.reloads != 0 {
		t.Errorf("%v, %d reloads", err, u.reloads)
	}
	if got := contents(t, h); got != ".z.conf.new=" {
		t.Errorf("left %s", got)
	}
}

func TestHostThatDoesNotRun(t *testing.T) {
	h, u := newHost(t, "exit 0")
	u.stopped = true
	ctx, cancel := context.WithTimeout(t.Context(), 2*tick)
	defer cancel()
	if err := h.Reload(ctx); err == nil || u.reloads != 0 {
		t.Errorf("%v, %d reloads", err, u.reloads)
	}
}

func TestHostFactsAndTest(t *testing.T) {
	h, u := newHost(t, `echo 'nginx version: nginx/1.26.3' >&2; echo "nginx: fine" >&2; echo "# configuration file /etc/nginx/nginx.conf:"; echo "include DIR/*.conf;"`)
	text, err := os.ReadFile(u.program)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(u.program, []byte(strings.Replace(string(text), "DIR", h.Dir, 1)), 0o755); err != nil {
		t.Fatal(err)
	}
	facts, err := h.Facts(t.Context())
	if err != nil || facts.Version != "1.26.3" || !facts.Includes {
		t.Errorf("%+v, %v", facts, err)
	}
	ok, output, err := h.Test(t.Context())
	if !ok || err != nil || len(output) != 1 || output[0] != "nginx: fine" {
		t.Errorf("%v, %q, %v", ok, output, err)
	}
	u.program = "/nowhere/nginx"
	if _, _, err := h.Test(t.Context()); err == nil {
		t.Errorf("err %v", err)
	}
	if _, err := h.Facts(t.Context()); err == nil {
		t.Errorf("err %v", err)
	}
}

func TestChildren(t *testing.T) {
	_, u := newHost(t, "")
	leaves, forked := u.start(leavingTitle), u.start("nginx: master process")
	u.start("nginx: cache manager process")
	now, err := childrenOf(os.Getpid())
	if err != nil || len(now.serving) != 1 || len(now.leaving) != 1 || now.serving[0] != u.workers[0].Process.Pid || now.leaving[0] != leaves.Process.Pid {
		t.Errorf("%+v, %v", now, err)
	}
	if len(now.pids) != 4 || !slices.Contains(now.pids, forked.Process.Pid) {
		t.Errorf("%+v", now)
	}
	if now, err := childrenOf(forked.Process.Pid); err != nil || len(now.pids) != 0 {
		t.Errorf("%+v, %v", now, err)
	}
}
