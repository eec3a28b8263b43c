package main

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"tvsctl/ipc"
)

func example() ipc.Status {
	code := 137
	ago := func(d time.Duration) time.Time { return clock.Add(-d) }
	return ipc.Status{Project: "tvs", State: ipc.StateDegraded, Entry: "http://localhost:2024",
		Nginx: []ipc.Nginx{{Name: "tvs-entry-1", Service: "entry", State: "running", Since: ago(5 * time.Minute)}},
		Services: []ipc.Service{
			{Name: "storage", Desired: 1, Running: 1, Ready: 1, Replicas: []ipc.Replica{
				{Number: 1, Name: "tvs-storage-1", State: "running", Health: "healthy", Ready: true, Address: "172.20.1.2", Since: ago(time.Hour)}}},
			{Name: "webapp", Balanced: true, Port: 8080, Desired: 3, Running: 2, Ready: 2, Problems: []string{"1 of 3 is missing"},
				Replicas: []ipc.Replica{
					{Number: 1, Name: "tvs-webapp-1", ID: "aaaaaaaaaaaa", Hostname: "aaaaaaaaaaaa", State: "running", Health: "healthy", Ready: true, Serving: true, Address: "172.20.0.5", Since: ago(3 * time.Second)},
					{Number: 2, Name: "tvs-webapp-2", ID: "bbbbbbbbbbbb", Hostname: "two", State: "running", Ready: true, Address: "172.20.0.6", Created: ago(49 * time.Hour)},
					{Number: 3, Name: "tvs-webapp-3", ID: "cccccccccccc", Hostname: "three", State: "exited", ExitCode: &code, Since: ago(time.Minute), Problem: "killed:\nout of memory"}}},
		},
		Operations: []ipc.Operation{{ID: "op1", Summary: "scale webapp from 3 to 4", User: "ann", State: ipc.OperationRunning, Started: ago(90 * time.Second)}},
		Problems:   []string{"the state cannot be written"},
	}
}

const wantStatus = `tvs: degraded, http://localhost:2024
! the state cannot be written
NAME             READY  STATE         HEALTH   ADDRESS     AGE             PROBLEM
tvs-entry-1             running                            5 minutes
storage          1/1    up
  tvs-storage-1         running       healthy  172.20.1.2  About an hour
webapp           2/3    degraded               :8080                       1 of 3 is missing
  tvs-webapp-1          running       healthy  172.20.0.5  3 seconds
  tvs-webapp-2          running                172.20.0.6  2 days          ready, but not in nginx
  tvs-webapp-3          exited (137)                       About a minute  killed: out of memory
running: scale webapp from 3 to 4 (operation op1 of ann, 1m 30s)
`

func TestStatusTable(t *testing.T) {
	status := example()
	a := newApp(nil, nil, nil, func(string) string { return "" })
	a.now = func() time.Time { return clock }
	var out bytes.Buffer
	a.writeStatus(&out, &status)
	equal(t, "status", out.String(), wantStatus)

	a.stdoutSize = func() (int, int, bool) { return 80, 24, true }
	out.Reset()
	a.writeStatus(&out, &status)
	coloured := out.String()
	equal(t, "status without its colours", colours.ReplaceAllString(coloured, ""), wantStatus)
	contains(t, "status", coloured, "\x1b[31mexited (137)\x1b[0m")

	a.env = func(name string) string { return map[string]string{"NO_COLOR": "1"}[name] }
	out.Reset()
	a.writeStatus(&out, &status)
	equal(t, "status with NO_COLOR", out.String(), wantStatus)
}

func TestStatusExit(t *testing.T) {
	for state, want := range map[ipc.State]int{
		ipc.StateUp: 0, ipc.StateDegraded: ipc.ExitDegraded, ipc.StateStopped: ipc.ExitStopped, "new": ipc.ExitDegraded,
	} {
		daemon := newFake(t, map[string]any{"GET /projects/-": ipc.Status{Project: "tvs", State: state}})
		for _, flag := range []string{"--json=false", "--json", "-q"} {
			got := daemon.tvsctl("status", flag)
			if got.status != want || got.err != "" {
				t.Errorf("%s %s exits %d, not %d: %s", state, flag, got.status, want, got.err)
			}
			if (got.out == "") != (flag == "-q") {
				t.Errorf("%s prints %q", flag, got.out)
			}
		}
	}
}

func TestStatusOfService(t *testing.T) {
	status := example()
	status.Services = append(status.Services,
		ipc.Service{Name: "off", Desired: 2}, ipc.Service{Name: "none"}, ipc.Service{Name: "more", Running: 1, Ready: 1},
		ipc.Service{Name: "slow", Desired: 1, Running: 1})
	daemon := newFake(t, map[string]any{"GET /projects/-": status})
	for service, want := range map[string]struct {
		status int
		state  ipc.State
	}{
		"storage": {0, "up"}, "webapp": {10, "degraded"}, "off": {3, "stopped"}, "none": {3, "stopped"},
		"more": {10, "degraded"}, "slow": {10, "degraded"}, "entry": {0, "up"}, "tvs-entry-1": {0, "up"},
	} {
		got := daemon.tvsctl("status", service, "--json")
		var filtered ipc.Status
		if err := json.Unmarshal([]byte(got.out), &filtered); err != nil {
			t.Fatal(err)
		}
		if got.status != want.status || filtered.State != want.state || len(filtered.Services)+len(filtered.Nginx) != 1 {
			t.Errorf("%s exits %d: %+v", service, got.status, filtered)
		}
	}
	got := daemon.tvsctl("status", "nosuch")
	if got.status != ipc.ExitUnknown {
		t.Errorf("an unknown service exits %d", got.status)
	}
	equal(t, "stderr", got.err, "tvsctl: cannot show nosuch: project tvs has no such service\n"+
		"  → its services: storage, webapp, off, none, more, slow\n")
}

func TestWatch(t *testing.T) {
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	asked := 0
	daemon := newFake(t, map[string]any{"GET /projects/-": func(w http.ResponseWriter, r *http.Request) {
		asked++
		switch asked {
		case 1:
			w.Write([]byte(`{"project":"tvs","state":"up"}`))
		case 2:
			w.Write([]byte(`{"project":"tvs","state":"stopped"}`))
		default:
			cancel(interrupt{syscall.SIGINT})
			<-r.Context().Done()
		}
	}})
	var out, stderr bytes.Buffer
	a := newApp(nil, &out, &stderr, func(name string) string { return map[string]string{"TVS_SOCKET": daemon.socket}[name] })
	a.stdoutSize = func() (int, int, bool) { return 80, 24, true }
	ticks := make(chan time.Time, 2)
	ticks <- clock
	ticks <- clock
	a.ticker = func(time.Duration) (<-chan time.Time, func()) { return ticks, func() {} }
	if status := a.run(ctx, []string{"status", "--watch"}); status != ipc.ExitStopped {
		t.Errorf("exits %d, not as the last state: %s", status, stderr.String())
	}
	if n := strings.Count(out.String(), "\x1b[H"); n != 2 {
		t.Errorf("drew %d times: %q", n, out.String())
	}
}

func TestScreenFits(t *testing.T) {
	got := screen("one\n\x1b[32mtwo and more\x1b[0m\n\x1b[32m3\x1b[0m\nfour\nfive\n", 6, 5)
	equal(t, "screen", got, "\x1b[Hone\x1b[K\ntwo a…\x1b[K\n\x1b[32m3\x1b[0m\x1b[K\n…\x1b[K\n\x1b[J")
}

func TestAges(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "Less than a second", 0: "Less than a second", time.Second: "1 second", 59 * time.Second: "59 seconds",
		time.Minute: "About a minute", 3 * time.Minute: "3 minutes", time.Hour: "About an hour", 2 * time.Hour: "2 hours",
		48 * time.Hour: "2 days", 15 * 24 * time.Hour: "2 weeks", 61 * 24 * time.Hour: "2 months", 800 * 24 * time.Hour: "2 years",
	} {
		equal(t, d.String(), age(clock, clock.Add(-d)), want)
	}
	equal(t, "no time", age(clock, time.Time{}), "")
	for d, want := range map[time.Duration]string{
		-1: "0.00s", 210 * time.Millisecond: "0.21s", 1900 * time.Millisecond: "1.9s", 125 * time.Second: "2m 5s", 3700 * time.Second: "1h 1m",
	} {
		equal(t, d.String(), took(d), want)
	}
}
