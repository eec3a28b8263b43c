package daemon

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"tvsctl/ipc"
)

// Uids that are lent to a user are nobody's of their own. The file may come, change and go.
func TestLent(t *testing.T) {
	l := &lent{file: filepath.Join(t.TempDir(), "subuid")}
	at := time.Now()
	expect := func(what string, want map[uint32]string) {
		t.Helper()
		for uid, to := range want {
			err := l.check(uid)
			if (err == nil) != (to == "") || err != nil && !strings.HasSuffix(err.Error(), " lends to "+to+" for user namespaces") {
				t.Errorf("%s: %d: %v", what, uid, err)
			}
		}
	}
	write := func(text string) {
		t.Helper()
		at = at.Add(time.Second)
		if err := os.WriteFile(l.file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(l.file, at, at); err != nil {
			t.Fatal(err)
		}
	}
	expect("no file", map[uint32]string{100004: "", 0: ""})
	write("mallory:100000:65536\n1005:165536:65536\nroot:1000:1\n0:1001:1\n# nonsense\nx:y:z\nbob:4294967295:9\nzero:0:1\n")
	expect("a file", map[uint32]string{99999: "", 100000: "mallory", 100004: "mallory", 165535: "mallory", 165536: "1005", 231071: "1005", 231072: "",
		1000: "", 1001: "", 4294967295: "bob", 0: ""})
	write("mallory:300000:65536\n")
	expect("another", map[uint32]string{100004: "", 300004: "mallory"})
	if err := os.Remove(l.file); err != nil {
		t.Fatal(err)
	}
	expect("no file any more", map[uint32]string{300004: ""})
}

// A peer whose uid is lent is refused with the reason.
func TestGateRefusesLentUids(t *testing.T) {
	listener := listenUnix(t)
	journal := &journalBuffer{}
	g := newTestGate(listener)
	g.log = &logbook{out: journal}
	who := syscall.Credential{Uid: 100004, Gid: 2345}
	if uid := uint32(os.Getuid()); uid != 0 { // who can become nobody else
		who = syscall.Credential{Uid: uid, Gid: uint32(os.Getgid()), NoSetGroups: true}
	}
	g.lent.file = filepath.Join(t.TempDir(), "subuid")
	if err := os.WriteFile(g.lent.file, fmt.Appendf(nil, "mallory:%d:1\n", who.Uid), 0o644); err != nil {
		t.Fatal(err)
	}
	accepted := make(chan struct{})
	go func() {
		defer close(accepted)
		if c, err := g.Accept(); err == nil {
			t.Error("accepted")
			c.Close()
		}
	}()
	child := connectAs(t, listener, who)
	want := fmt.Sprintf("Refused a connection: the peer has uid %d, which %s lends to mallory for user namespaces", who.Uid, g.lent.file)
	until(t, "it is refused", func() bool { return strings.Contains(journal.String(), want) })
	if err := child.Wait(); err != nil {
		t.Error(err)
	}
	listener.Close()
	<-accepted
	g.drained()
}

// Whoever fills the connections of the host does not keep out root.
func TestGateKeepsSomeForRoot(t *testing.T) {
	g := newTestGate(nil)
	g.settings = func() *settings { return &settings{MaxConnections: 128, MaxConnectionsPerUser: 16} }
	entered := 0
	for uid := range uint32(16) {
		for range 16 {
			if g.enter(peer{UID: 1000 + uid}) == nil {
				entered++
			}
		}
	}
	if entered != 120 {
		t.Errorf("%d of 128 connections are others'", entered)
	}
	if refusal := g.enter(peer{UID: 5000}); refusal == nil || refusal.Code != ipc.CodeBusy {
		t.Errorf("one more: %v", refusal)
	}
	for n := range 9 {
		if refusal := g.enter(peer{}); (refusal == nil) != (n < 8) {
			t.Errorf("root, after %d: %v", n, refusal)
		}
	}
}
