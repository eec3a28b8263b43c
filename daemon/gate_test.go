package daemon

import (
	"bytes"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"tvsctl/ipc"
)

// journalBuffer takes the log's lines of several goroutines.
type journalBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *journalBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *journalBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// until waits for a condition that another goroutine brings about.
func until(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for start := time.Now(); !condition(); time.Sleep(time.Millisecond) { // to spin would starve the other
		if time.Since(start) > time.Minute {
			t.Fatalf("in vain: %s", what)
		}
	}
}

func listenUnix(t *testing.T) *net.UnixListener {
	t.Helper()
	dir, err := os.MkdirTemp("", "tvs") // t.TempDir() can be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(dir, "s"), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	listener.SetUnlinkOnClose(false)
	t.Cleanup(func() { listener.Close() })
	return listener
}

func dial(t *testing.T, listener net.Listener) net.Conn {
	t.Helper()
	c, err := net.Dial("unix", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// newTestGate is a gate with small caps.
func newTestGate(listener net.Listener) *gate {
	d := &Daemon{activity: newActivity(0), log: &logbook{out: io.Discard}, health: newHealth()}
	d.settings.Store(&settings{MaxConnections: 12, MaxConnectionsPerUser: 4})
	return newGate(listener, d)
}

func TestGateCounts(t *testing.T) {
	listener := listenUnix(t)
	g := newTestGate(listener)
	a := g.activity
	dial(t, listener)
	c, err := g.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if a.quiet() || g.total != 1 || g.byUser[uint32(os.Getuid())] != 1 {
		t.Errorf("open: quiet %v, total %d", a.quiet(), g.total)
	}
	c.Close()
	c.Close() // net/http does
	if !a.quiet() || g.total != 0 || len(g.byUser) != 0 {
		t.Errorf("closed: quiet %v, total %d, %v", a.quiet(), g.total, g.byUser)
	}
	g.drained()
	listener.Close()
	if _, err := g.Accept(); err == nil {
		t.Error("accepted from a closed listener")
	}
}

func TestGateCaps(t *testing.T) {
	g := newTestGate(nil)
	for uid := range uint32(3) {
		for range 4 {
			if refusal := g.enter(peer{UID: uid}); refusal != nil {
				t.Fatal(refusal)
			}
		}
		if uid == 0 {
			if refusal := g.enter(peer{}); refusal == nil || refusal.Code != ipc.CodeBusy || !strings.Contains(refusal.Message, "of yours") {
				t.Errorf("one user too many times: %v", refusal)
			}
		}
	}
	if refusal := g.enter(peer{UID: 9999}); refusal == nil || refusal.Code != ipc.CodeBusy || strings.Contains(refusal.Message, "of yours") {
		t.Errorf("too many: %v", refusal)
	}
	g.leave(peer{UID: 2})
	if refusal := g.enter(peer{UID: 9999}); refusal != nil {
		t.Errorf("after one left: %v", refusal)
	}
	// Other caps hold for those who come from then on.
	g.settings = func() *settings { return &settings{MaxConnections: 13, MaxConnectionsPerUser: 1} }
	if refusal := g.enter(peer{UID: 9999}); refusal == nil || !strings.Contains(refusal.Message, "1 connections of yours") {
		t.Errorf("with a lower cap: %v", refusal)
	}
	if refusal := g.enter(peer{UID: 10000}); refusal != nil {
		t.Errorf("with a higher cap: %v", refusal)
	}
}

func TestGateRefusesWithAnAnswer(t *testing.T) {
	listener := listenUnix(t)
	g := newTestGate(listener)
	a := g.activity
	g.byUser[uint32(os.Getuid())] = 4
	accepted := make(chan struct{})
	go func() {
		defer close(accepted)
		if _, err := g.Accept(); err == nil {
			t.Error("accepted")
		}
	}()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true,
		Dial: func(string, string) (net.Conn, error) { return net.Dial("unix", listener.Addr().String()) }}}
	reply, err := client.Post("http://tvsctld/v1/x", "application/json", strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	defer reply.Body.Close()
	var body ipc.ErrorReply
	if err := json.NewDecoder(reply.Body).Decode(&body); err != nil || reply.StatusCode != http.StatusTooManyRequests || body.Error.Code != ipc.CodeBusy {
		t.Errorf("%d, %+v, %v", reply.StatusCode, body.Error, err)
	}
	// To answer before the request comes confuses a client (net/http drops it).
	early := dial(t, listener)
	if err := early.SetReadDeadline(time.Now().Add(20 * time.Millisecond)); err != nil { // errs on the side of a pass
		t.Fatal(err)
	}
	if n, err := early.Read(make([]byte, 10)); err == nil {
		t.Errorf("%d bytes before the request", n)
	}
	early.Close()
	until(t, "the refused one is forgotten", a.quiet)
	listener.Close()
	<-accepted
	g.drained()
}
