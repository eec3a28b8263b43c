package daemon

import (
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// TestMain is also the child that connects as somebody else.
func TestMain(m *testing.M) {
	path := os.Getenv("TVS_CONNECT_TO")
	if path == "" {
		os.Exit(m.Run())
	}
	conn, err := net.Dial("unix", path)
	if err != nil {
		os.Stderr.WriteString(err.Error())
		os.Exit(1)
	}
	_, _ = io.Copy(io.Discard, conn) // until the test has seen enough
}

func TestReadPeer(t *testing.T) {
	listener := listenUnix(t)
	dial(t, listener)
	c, err := listener.AcceptUnix()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	p, err := readPeer(c)
	if err != nil {
		t.Fatal(err)
	}
	if int(p.UID) != os.Getuid() || int(p.GID) != os.Getgid() || int(p.PID) != os.Getpid() {
		t.Errorf("%+v", p)
	}
	if p.name() == "" || (peer{UID: 4000000000}).name() != "4000000000" {
		t.Errorf("names %q, %q", p.name(), peer{UID: 4000000000}.name())
	}
	c.Close()
	if _, err := readPeer(c); err == nil {
		t.Error("a closed connection has a peer")
	}
}

// connectAs lets somebody else connect, until the connection ends.
func connectAs(t *testing.T, listener net.Listener, who syscall.Credential) (child *exec.Cmd) {
	t.Helper()
	path := listener.Addr().String()
	// The child may come from a build directory that only root can enter.
	program := filepath.Join(filepath.Dir(path), "child")
	if err := os.Link(os.Args[0], program); err != nil {
		copied, err := os.ReadFile(os.Args[0])
		if err == nil {
			err = os.WriteFile(program, copied, 0o755)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{path, filepath.Dir(path)} {
		if err := os.Chmod(name, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	child = exec.Command(program)
	child.Env = append(os.Environ(), "TVS_CONNECT_TO="+path, "GORACE=atexit_sleep_ms=0")
	child.SysProcAttr = &syscall.SysProcAttr{Credential: &who}
	child.Stderr = os.Stderr
	child.Dir = "/"
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	return child
}

func TestReadPeerOfOthers(t *testing.T) {
	many := make([]uint32, 100) // more than the first call has room for
	for i := range many {
		many[i] = uint32(5000 + i)
	}
	type other struct {
		credential syscall.Credential
		refusal    string
	}
	others := []other{
		{syscall.Credential{Uid: 1234, Gid: 2345, Groups: []uint32{77, 78}}, ""},
		{syscall.Credential{Uid: 1234, Gid: 2345, Groups: many}, ""},
		{syscall.Credential{Uid: overflowID, Gid: 2345}, "overflow id"},
		{syscall.Credential{Uid: 1234, Gid: overflowID}, "overflow id"},
	}
	if os.Getuid() != 0 { // who can become nobody else
		own, err := os.Getgroups()
		if err != nil {
			t.Fatal(err)
		}
		self := syscall.Credential{Uid: uint32(os.Getuid()), Gid: uint32(os.Getgid()), NoSetGroups: true}
		for _, group := range own {
			self.Groups = append(self.Groups, uint32(group))
		}
		slices.Sort(self.Groups)
		others = []other{{self, ""}}
	}
	for _, c := range others {
		listener := listenUnix(t)
		child := connectAs(t, listener, c.credential)
		conn, err := listener.AcceptUnix()
		if err != nil {
			t.Fatal(err)
		}
		p, err := readPeer(conn)
		conn.Close()
		if err := child.Wait(); err != nil {
			t.Error(err)
		}
		if c.refusal != "" {
			if err == nil || !strings.Contains(err.Error(), c.refusal) {
				t.Errorf("%+v: %+v, %v", c.credential, p, err)
			}
			continue
		}
		slices.Sort(p.Groups)
		if err != nil || p.UID != c.credential.Uid || p.GID != c.credential.Gid || int(p.PID) != child.Process.Pid || !slices.Equal(p.Groups, c.credential.Groups) {
			t.Errorf("%+v: %+v, %v", c.credential, p, err)
		}
	}
}

func TestPeerOf(t *testing.T) {
	if _, ok := peerOf(t.Context()); ok {
		t.Error("a peer out of nothing")
	}
	if p, ok := peerOf(withPeer(t.Context(), peer{UID: 7})); !ok || p.UID != 7 {
		t.Errorf("%+v", p)
	}
}

func TestGIDs(t *testing.T) {
	for _, c := range []struct{ groups, want []uint32 }{
		{nil, []uint32{5}}, {[]uint32{5, 9}, []uint32{5, 9}}, {[]uint32{9, 7}, []uint32{5, 9, 7}},
	} {
		if got := (peer{GID: 5, Groups: c.groups}).gids(); !slices.Equal(got, c.want) {
			t.Errorf("%v: %v", c.groups, got)
		}
	}
}
