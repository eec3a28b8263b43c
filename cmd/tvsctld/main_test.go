package main

import (
	"bytes"
	"context"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tvsctl/daemon"
	"tvsctl/ipc"
)

func TestRunRefuses(t *testing.T) {
	t.Setenv("LISTEN_FDS", "")
	for _, c := range []struct {
		args   []string
		status int
		says   string
	}{
		{[]string{"-nonsense"}, exitUsage, "flag provided but not defined: -nonsense"},
		{[]string{"-idle", "soon"}, exitUsage, "invalid value"},
		{[]string{"serve"}, exitUsage, `unexpected argument "serve"; see tvsctld -help`},
		{[]string{"-help"}, 0, "-listen PATH"},
		{nil, exitFailure, "tvsctld: systemd passed no socket: systemctl start tvsctld.socket, or use --listen PATH"},
	} {
		var stderr bytes.Buffer
		if status := run(c.args, &stderr); status != c.status || !strings.Contains(stderr.String(), c.says) {
			t.Errorf("%q: %d, %s", c.args, status, stderr.String())
		}
	}
}

func TestListen(t *testing.T) {
	dir, err := os.MkdirTemp("", "tvs") // t.TempDir() can be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	path := filepath.Join(dir, "s")
	first, err := listen(path)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o660 {
		t.Errorf("%v, %v", info, err)
	}
	if _, err := listen(path); err == nil || !strings.Contains(err.Error(), "another tvsctld does") {
		t.Errorf("err %v", err)
	}
	first.SetUnlinkOnClose(false)
	first.Close()
	again, err := listen(path) // over what an earlier run left behind
	if err != nil {
		t.Fatal(err)
	}
	again.Close()
	if err := os.WriteFile(path, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := listen(path); err == nil {
		t.Error("listens on a file")
	}
	if text, err := os.ReadFile(path); err != nil || string(text) != "mine" {
		t.Errorf("the file is gone: %q, %v", text, err)
	}
}

func TestIdleTime(t *testing.T) {
	for _, c := range []struct {
		flag  time.Duration
		env   string
		want  time.Duration
		given bool
		bad   bool
	}{
		{0, "", defaultIdle, false, false},
		{time.Second, "5s", time.Second, true, false},
		{0, "5s", 5 * time.Second, true, false},
		{0, "soon", defaultIdle, false, true},
		{0, "-5s", defaultIdle, false, true},
		{0, "0s", defaultIdle, false, true},
	} {
		t.Setenv("TVSCTLD_IDLE", c.env)
		if got, given, err := idleTime(c.flag); got != c.want || given != c.given || (err != nil) != c.bad {
			t.Errorf("%+v: %v, %v, %v", c, got, given, err)
		}
	}
}

func TestStateDir(t *testing.T) {
	t.Setenv("STATE_DIRECTORY", "")
	if got := stateDir(); got != "/var/lib/tvsctld" {
		t.Error(got)
	}
	t.Setenv("STATE_DIRECTORY", "/x")
	if got := stateDir(); got != "/x" {
		t.Error(got)
	}
}

// The program serves until it is told to end, and leaves no socket behind.
func TestServe(t *testing.T) {
	t.Setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
	dir, err := os.MkdirTemp("", "tvs")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	path := filepath.Join(dir, "s")
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- serve(ctx, daemon.Config{Version: "v9", StateDir: dir, ProjectDir: dir, Log: io.Discard}, path, 0)
	}()
	for start := time.Now(); ; time.Sleep(time.Millisecond) { // until it listens
		if conn, err := net.Dial("unix", path); err == nil {
			conn.Close()
			break
		} else if time.Since(start) > time.Minute {
			t.Fatal(err)
		}
	}
	var v ipc.Version
	if err := ipc.NewClient(path).Get(t.Context(), "/version", &v); err != nil || v.Version != "v9" {
		t.Errorf("%+v, %v", v, err)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("the socket is left: %v", err)
	}
}
