package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"tvsctl/dockerops/enginetest"
	"tvsctl/ipc"
	"tvsctl/policy"
)

// logLines collects lines as "NAME:TEXT".
type logLines struct {
	mu    sync.Mutex
	lines []string
}

func (l *logLines) add(line ipc.LogLine) {
	l.mu.Lock()
	defer l.mu.Unlock()
	text := line.Name + ":" + line.Line
	if line.Error != nil {
		text = line.Name + "!" + line.Error.Message
	}
	l.lines = append(l.lines, strings.ReplaceAll(text, "tvs-", ""))
}

func (l *logLines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.lines, " ")
}

var past = time.Now().Add(-time.Hour)

func second(n int) time.Time { return past.Add(time.Duration(n) * time.Second) }

func readFile(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestLogsOfReplicas(t *testing.T) {
	s := newStack(t)
	s.Add("webapp", 2, func(c *enginetest.Container) { c.State = "exited" })
	s.Add("a.2", 1, nil)
	s.Write("tvs-webapp-1", 1, second(1), "one\n")
	s.Write("tvs-webapp-2", 2, second(2), "two\n")
	s.Write("tvs-webapp-1", 1, second(3), "three\n")
	s.Write("tvs-entry-1", 1, second(0), "zero\n")
	s.Write("tvs-a.2-1", 1, second(9), "nine\n")
	for _, c := range []struct {
		request ipc.LogRequest
		want    string
		code    ipc.Code
	}{
		{ipc.LogRequest{Tail: -1}, "webapp-1:one webapp-2:two webapp-1:three", ""},
		{ipc.LogRequest{Tail: -1, Services: []string{"webapp.2"}}, "webapp-2:two", ""},
		{ipc.LogRequest{Tail: 1, Services: []string{"entry", "webapp"}}, "entry-1:zero webapp-2:two webapp-1:three", ""},
		{ipc.LogRequest{Tail: -1, Services: []string{"a.2"}}, "a.2-1:nine", ""},
		{ipc.LogRequest{Tail: -1, Services: []string{"a.2.1"}}, "a.2-1:nine", ""},
		{ipc.LogRequest{Tail: -1, Since: second(2)}, "webapp-2:two webapp-1:three", ""},
		{ipc.LogRequest{Tail: 1, Until: second(2)}, "webapp-1:one webapp-2:two", ""},
		{ipc.LogRequest{Tail: 0}, "", ""},
		{ipc.LogRequest{Services: []string{"nothing"}}, "", ipc.CodeUnknownService},
		{ipc.LogRequest{Services: []string{"webapp.3"}}, "", ipc.CodeUnknownService},
		{ipc.LogRequest{Services: []string{"webapp.0"}}, "", ipc.CodeUnknownService},
		{ipc.LogRequest{Project: "none"}, "", ipc.CodeUnknownProject},
		{ipc.LogRequest{Tail: ipc.MaxTail + 1}, "", ipc.CodeBadRequest},
		{ipc.LogRequest{Follow: true, Until: second(1)}, "", ipc.CodeBadRequest},
		{ipc.LogRequest{Units: []string{"no/unit"}}, "", ipc.CodeBadRequest},
		{ipc.LogRequest{Services: []string{"webapp"}, Units: []string{"*.service"}}, "", ipc.CodeBadRequest},
	} {
		var got logLines
		err := s.Logs(t.Context(), c.request, got.add)
		if err != nil && describeError(err).Code != c.code || err == nil && c.code != "" {
			t.Errorf("%+v: %v", c.request, err)
		}
		if got.String() != c.want {
			t.Errorf("%+v: %s", c.request, got.String())
		}
	}
	for _, query := range []string{"?tail=x", "?follow=x", "?since=10m", "?colour=red"} {
		if err := s.Get(t.Context(), ipc.ProjectPath("tvs", "logs"+query), nil); describeError(err).Code != ipc.CodeBadRequest {
			t.Errorf("%s: %v", query, err)
		}
	}
	s.Fail("inspect logs "+s.Container("tvs-webapp-2").ID, 501, "configured logging driver does not support reading")
	var got logLines
	if err := s.Logs(t.Context(), ipc.LogRequest{Tail: -1}, got.add); err != nil ||
		got.String() != "webapp-1:one webapp-1:three webapp-2!cannot read the log of webapp-2: configured logging driver does not support reading" {
		t.Errorf("%v: %s", err, got.String())
	}
}

// Replicas that come are followed, those that end do not end it, and one that runs again
// goes on where it was.
func TestLogsFollow(t *testing.T) {
	s := newStack(t)
	s.Write("tvs-webapp-1", 1, second(1), "past\n")
	ctx, cancel := context.WithCancel(t.Context())
	var got logLines
	ended := make(chan error, 1)
	go func() { ended <- s.Logs(ctx, ipc.LogRequest{Follow: true, Tail: -1}, got.add) }()
	awaited := ""
	await := func(line string) {
		t.Helper()
		awaited = strings.TrimSpace(awaited + " " + line)
		until(t, fmt.Sprintf("%q", awaited), func() bool { return got.String() == awaited })
	}
	await("webapp-1:past")
	s.Write("tvs-webapp-1", 1, time.Now(), "now\n")
	await("webapp-1:now")
	if o := s.do(t, "scale", scaleRequest(2)); o.State != ipc.OperationSucceeded {
		t.Fatalf("%+v", o)
	}
	s.Write("tvs-webapp-2", 1, time.Now(), "new\n")
	await("webapp-2:new")
	s.Update("tvs-webapp-2", "die", func(c *enginetest.Container) { c.State = "exited" })
	s.Write("tvs-webapp-1", 1, time.Now(), "on\n")
	await("webapp-1:on")
	// It ran and ended between two looks.
	s.Write("tvs-webapp-2", 1, time.Now(), "brief\n")
	s.Update("tvs-webapp-2", "die", func(c *enginetest.Container) { c.Started = time.Now() })
	await("webapp-2:brief")
	s.Update("tvs-webapp-2", "start", func(c *enginetest.Container) { c.State, c.Started = "running", time.Now() })
	s.Write("tvs-webapp-2", 1, time.Now(), "again\n")
	await("webapp-2:again")
	s.Down()
	s.Up()
	s.Write("tvs-webapp-2", 1, time.Now(), "later\n")
	await("webapp-2:later")
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("err %v", err)
	}
}

// One that was named and is gone does not keep another from being followed, and what
// cannot be read is said once.
func TestLogsFollowGoesOnWithoutOne(t *testing.T) {
	s := newStack(t)
	s.Add("webapp", 2, func(c *enginetest.Container) { c.Health, c.Address = "healthy", "172.20.0.2" })
	s.Add("mute", 1, nil)
	s.Fail("inspect logs "+s.Container("tvs-mute-1").ID, 501, "no driver")
	s.Write("tvs-webapp-1", 1, second(1), "past\n")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var got logLines
	request := ipc.LogRequest{Follow: true, Tail: -1, Services: []string{"webapp.1", "webapp.2", "mute"}}
	go func() { _ = s.Logs(ctx, request, got.add) }()
	until(t, "it is followed", func() bool {
		return strings.Contains(got.String(), "past") && strings.Contains(got.String(), "no driver")
	})
	s.Remove("tvs-webapp-2")
	for n := range 5 {
		s.Update("tvs-webapp-1", "die", func(c *enginetest.Container) { c.State = "exited" })
		s.Update("tvs-webapp-1", "start", func(c *enginetest.Container) { c.State, c.Started = "running", time.Now() })
		s.Write("tvs-webapp-1", 1, time.Now(), fmt.Sprintf("life%d\n", n))
		until(t, "it goes on", func() bool { return strings.Contains(got.String(), fmt.Sprintf("life%d", n)) })
	}
	if text := got.String(); strings.Count(text, "past") != 1 || strings.Count(text, "no driver") != 1 {
		t.Errorf("%s", text)
	}
}

// Only new lines are wanted, also of a replica that is started again.
func TestLogsFollowWithoutPast(t *testing.T) {
	s := newStack(t)
	s.Write("tvs-webapp-1", 1, second(1), "past\n")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var got logLines
	opened := make(chan struct{})
	s.Before("inspect logs "+s.Container("tvs-webapp-1").ID, sync.OnceFunc(func() { close(opened) }))
	go func() { _ = s.Logs(ctx, ipc.LogRequest{Follow: true, Tail: 0}, got.add) }()
	<-opened
	s.Update("tvs-webapp-1", "die", func(c *enginetest.Container) { c.State = "exited" })
	s.Update("tvs-webapp-1", "start", func(c *enginetest.Container) { c.State, c.Started = "running", time.Now() })
	s.Write("tvs-webapp-1", 1, time.Now(), "new\n")
	until(t, "the new line comes", func() bool { return got.String() == "webapp-1:new" })
	// Of a replica that comes all is new.
	s.Add("webapp", 2, nil)
	s.Write("tvs-webapp-2", 1, time.Now(), "first\n")
	s.Update("tvs-webapp-2", "start", func(*enginetest.Container) {})
	until(t, "the new replica is read", func() bool { return got.String() == "webapp-1:new webapp-2:first" })
}

// A daemon that is told to end ends what is followed, also for a reader that reads nothing.
func TestLogsEndWithTheDaemon(t *testing.T) {
	s := newStackWithout(t)
	life, end := context.WithCancel(t.Context())
	d := New(Config{StateDir: t.TempDir(), ProjectDir: t.TempDir()})
	d.log = &logbook{out: s.journal}
	listener := listenUnix(t)
	ended := make(chan error, 1)
	go func() { ended <- d.Run(life, listener) }()
	client := ipc.NewClient(listener.Addr().String())
	for range 2000 {
		s.Write("tvs-webapp-1", 1, time.Now(), strings.Repeat("x", 2000)+"\n")
	}
	lost := make(chan error, 2)
	first := make(chan struct{})
	on := make(chan struct{})
	go func() {
		lost <- client.Logs(t.Context(), ipc.LogRequest{Follow: true, Tail: 1}, func(ipc.LogLine) { close(first) })
	}()
	stuck := make(chan struct{})
	go func() {
		block := sync.OnceFunc(func() {
			close(stuck)
			<-on
		})
		lost <- client.Logs(t.Context(), ipc.LogRequest{Follow: true, Tail: -1}, func(ipc.LogLine) { block() })
	}()
	<-first
	<-stuck
	start := time.Now()
	end()
	if err := <-ended; err != nil || time.Since(start) > 5*time.Second {
		t.Errorf("after %v, %v", time.Since(start), err)
	}
	close(on)
	for range 2 {
		if err := <-lost; !errors.Is(err, ipc.ErrLost) || describeError(err).Code != ipc.CodeUnreachable {
			t.Errorf("err %v", err)
		}
	}
}

// The journal of a unit is for those whom the policy lets read it.
func TestLogsOfUnitsAreGuarded(t *testing.T) {
	d, _ := ruled(t, "[[rule]]\ngroups = [990]\nrole = \"viewer\"\nunits = [\"nginx.service\"]\n")
	for _, c := range []struct {
		ctx  context.Context
		unit string
		code ipc.Code
	}{
		{asking(t, 0).Context(), "nginx.service", ""},
		{asking(t, stranger, 990).Context(), "nginx.service", ""},
		{asking(t, stranger, 990).Context(), "ssh.service", ipc.CodeForbidden},
		{asking(t, stranger, 991).Context(), "nginx.service", ipc.CodeForbidden},
		{t.Context(), "nginx.service", ipc.CodeForbidden},
	} {
		err := d.allowUnit(c.ctx, policy.Logs, c.unit)
		if err != nil && describeError(err).Code != c.code || err == nil && c.code != "" {
			t.Errorf("%s: %v", c.unit, err)
		}
	}
}

// To read the log of a slice is not to read those of the units in it, which -u does.
func TestLogsOfASlice(t *testing.T) {
	arguments := fakeJournal(t, "")
	d, _ := ruled(t, "[[rule]]\ngroups = [990]\nrole = 'viewer'\nunits = ['*']\n")
	request := ipc.LogRequest{Units: []string{"system.slice"}, Tail: -1}
	err := d.tellLogs(asking(t, stranger, 990).Context(), request, func(ipc.LogLine) error { return nil }, func() error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	for arg := range strings.Lines(readFile(t, arguments)) {
		if arg == "-u\n" || strings.HasPrefix(arg, "--unit") || strings.HasPrefix(arg, "_SYSTEMD_SLICE") {
			t.Errorf("it asks for %s", arg)
		}
	}
}

// The journal of tvsctld is the audit, and for who may read that.
func TestTheLogOfTheDaemonIsTheAudit(t *testing.T) {
	s := newInstanceStack(t, "notify")
	s.File(ownUnit, nil)
	s.run(t)
	fakeJournal(t, `echo '{"__REALTIME_TIMESTAMP":"1000000","MESSAGE":"sh -c secret"}'`)
	p, err := policy.Parse("test.toml", []byte("[[rule]]\ngroups = [990, 992]\nrole = 'viewer'\nunits = ['*']\n[[rule]]\ngroups = [991, 992]\nrole = 'admin'\nverbs = ['audit']\nunits = ['*']\n"))
	if err != nil {
		t.Fatal(err)
	}
	s.d.rules.Store(p)
	for group, may := range map[uint32]bool{990: false, 991: false, 992: true} {
		ctx := asking(t, stranger, group).Context()
		_, err := s.d.unitLogID(ctx, ownUnit)
		if (err == nil) != may || err != nil && describeError(err).Code != ipc.CodeForbidden {
			t.Errorf("group %d: %v", group, err)
		}
		var got logLines
		tell := func(line ipc.LogLine) error { got.add(line); return nil }
		if err := s.d.tellLogs(ctx, ipc.LogRequest{Units: []string{ownUnit}, Tail: -1}, tell, func() error { return nil }); err != nil {
			t.Fatal(err)
		}
		if (got.String() != "") != may {
			t.Errorf("group %d reads %q", group, got.String())
		}
	}
	if !strings.Contains(s.journal.String(), "Allowed 4000000000 to audit unit:tvsctld.service") {
		t.Errorf("it is not on record:\n%s", s.journal)
	}
}

// The journal of a unit is read in two parts, with no entry lost or twice between them.
func TestLogsOfAUnit(t *testing.T) {
	arguments := fakeJournal(t, `case "$*" in
*--follow*) printf '{"__CURSOR":"c3","__REALTIME_TIMESTAMP":"3000000","MESSAGE":"three","PRIORITY":"4"}\n'; exec sleep 60 ;;
*--reverse*) printf '{"__CURSOR":"c2","__REALTIME_TIMESTAMP":"2000000","MESSAGE":"two"}\n{"__CURSOR":"c1","__REALTIME_TIMESTAMP":"1000000","MESSAGE":"one"}\n' ;;
*) printf '{"__CURSOR":"c1","__REALTIME_TIMESTAMP":"1000000","MESSAGE":"one"}\n{"__CURSOR":"c2","__REALTIME_TIMESTAMP":"2000000","MESSAGE":"two"}\n' ;;
esac
`)
	for _, c := range []struct {
		tail int
		want string
		args []string // of the second part
	}{
		{-1, "x.service:one x.service:two x.service:three", []string{"--after-cursor=c2", "--lines=all"}},
		{5, "x.service:one x.service:two x.service:three", []string{"--after-cursor=c2", "--lines=all"}},
		{0, "x.service:three", []string{"--lines=0"}},
	} {
		var got logLines
		ctx, cancel := context.WithCancel(asking(t, 0).Context())
		d := New(Config{StateDir: t.TempDir(), ProjectDir: t.TempDir()})
		err := d.tellLogs(ctx, ipc.LogRequest{Units: []string{"x.service"}, Follow: true, Tail: c.tail}, func(line ipc.LogLine) error {
			if got.add(line); strings.HasSuffix(got.String(), "three") {
				cancel()
				if line.Priority == nil || *line.Priority != 4 {
					t.Errorf("priority %v", line.Priority)
				}
			}
			return nil
		}, func() error { return nil })
		if err != nil || got.String() != c.want {
			t.Errorf("tail %d: %q, %v", c.tail, got.String(), err)
		}
		calls := strings.Split(strings.TrimSpace(readFile(t, arguments)), "\n.")
		last := calls[len(calls)-2]
		for _, arg := range append(c.args, "--follow", "_SYSTEMD_UNIT=x.service", "+\nUNIT=x.service\n_PID=1", "+\nMESSAGE_ID="+coredump+"\n_UID=0\nCOREDUMP_UNIT=x.service") {
			if !strings.Contains(last, "\n"+arg) {
				t.Errorf("tail %d: %q lacks %s", c.tail, last, arg)
			}
		}
	}
}
