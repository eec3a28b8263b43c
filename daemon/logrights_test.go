package daemon

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"tvsctl/dockerops"
	"tvsctl/dockerops/enginetest"
	"tvsctl/ipc"
	"tvsctl/policy"
)

// It is the services that are decided on, whether or not they have replicas now.
func TestPermitLogs(t *testing.T) {
	d, journal := ruled(t, narrow)
	down := &dockerops.Project{Name: "shop", Services: []dockerops.Service{{Name: "vault"}, {Name: "web"}}}
	hidden := &dockerops.Project{Name: "shop", Services: []dockerops.Service{{Name: "vault"}, {Name: "web"}}, Backends: map[string]dockerops.Backend{"vault": {}}}
	for _, c := range []struct {
		p       *dockerops.Project
		names   string
		group   uint32
		allowed bool
	}{
		{down, "web", 990, true}, {down, "web.2", 990, true}, {down, "vault", 990, false}, {down, "vault.1", 990, false}, {down, "web vault", 990, false},
		{down, "nothing", 990, false}, {down, "", 990, true}, {down, "", 991, false}, {down, "web", 991, false}, {hidden, "", 990, false},
		{&dockerops.Project{Name: "shop"}, "", 990, true}, {down, "vault", 0, true}, {down, "", 0, true},
	} {
		uid := uint32(stranger)
		if c.group == 0 {
			uid = 0
		}
		before := strings.Count(journal.String(), "TVS_DECISION=deny")
		err := d.permitLogs(asking(t, uid, c.group).Context(), c.p, strings.Fields(c.names))
		if (err == nil) != c.allowed || err != nil && describeError(err).Code != ipc.CodeForbidden {
			t.Errorf("%+v: %v", c, err)
		}
		if n := strings.Count(journal.String(), "TVS_DECISION=deny") - before; (n == 1) == c.allowed || n > 1 {
			t.Errorf("%+v: %d denials on record", c, n)
		}
	}
}

// What comes while logs are followed is decided on as it comes, and what may no longer be
// read is told no more.
func TestLogsFollowWhatMayBeRead(t *testing.T) {
	s := newStack(t)
	rules := func(text string) {
		p, err := policy.Parse("test.toml", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		s.d.rules.Store(p)
	}
	const webapp = "[[rule]]\ngroups = [990]\nrole = 'viewer'\nservices = ['webapp']\n"
	rules(webapp)
	ctx, cancel := context.WithCancel(asking(t, stranger, 990).Context())
	ended := make(chan error, 1)
	var got logLines
	request := ipc.LogRequest{Project: "tvs", Services: []string{"webapp", "vault"}, Follow: true, Tail: -1}
	go func() {
		tell := func(line ipc.LogLine) error { got.add(line); return nil }
		ended <- s.d.tellLogs(ctx, request, tell, func() error { return nil })
	}()
	said := ""
	// hears waits for a line of webapp: what was written before it has been told, or not.
	hears := func(line string) {
		t.Helper()
		s.Write("tvs-webapp-1", 1, time.Now(), line+"\n")
		said = strings.TrimSpace(said + " webapp-1:" + line)
		until(t, fmt.Sprintf("%q", said), func() bool { return strings.HasSuffix(got.String(), line) })
		if got.String() != said {
			t.Errorf("heard %q, not %q", got.String(), said)
		}
	}
	hears("alone")
	opened := make(chan struct{})
	s.Add("vault", 1, nil)
	s.Before("inspect logs "+s.Container("tvs-vault-1").ID, sync.OnceFunc(func() { close(opened) }))
	s.Write("tvs-vault-1", 1, second(1), "secret\n")
	s.Add("webapp", 2, nil)
	s.Write("tvs-webapp-2", 1, time.Now(), "more\n")
	s.Update("tvs-webapp-2", "start", func(*enginetest.Container) {}) // a look, which finds both
	said += " webapp-2:more"
	until(t, "it is looked at", func() bool { return strings.Contains(got.String(), "webapp-2:more") })
	hears("both")
	select {
	case <-opened:
		t.Error("the log of vault was opened")
	default:
	}
	rules(strings.Replace(webapp, "'webapp'", "'*'", 1))
	s.Update("tvs-vault-1", "start", func(*enginetest.Container) {})
	said += " vault-1:secret"
	until(t, "vault is read", func() bool { return got.String() == said })
	rules(webapp)
	s.Write("tvs-vault-1", 1, time.Now(), "denied\n")
	hears("later")
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
