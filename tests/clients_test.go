//go:build e2e

package tests

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"tvsctl/ipc"
)

// crowd is what tests/clients prints.
type crowd struct {
	Good struct {
		Sent   int            `json:"sent"`
		OK     int            `json:"ok"`
		Errors map[string]int `json:"errors"`
		P50    float64        `json:"p50_ms"`
		P99    float64        `json:"p99_ms"`
		Max    float64        `json:"max_ms"`
	} `json:"good"`
	Bad map[string]struct {
		Ended int     `json:"ended"`
		Left  int     `json:"left"`
		First float64 `json:"first_s"`
		Last  float64 `json:"last_s"`
	} `json:"bad"`
}

const clientsProgram = "/srv/tvs/bin/tests/clients"

// clients runs tests/clients.
func (m *machine) clients(t testing.TB, args ...string) (c crowd) {
	t.Helper()
	r := m.run(append([]string{clientsProgram}, args...)...)
	if err := json.Unmarshal([]byte(r.out), &c); err != nil {
		t.Fatalf("%v: %s", err, r)
	}
	return c
}

// usage is what the daemon holds.
type usage struct{ files, threads, resident int }

func (m *machine) usage(t testing.TB) (u usage) {
	t.Helper()
	out := m.sh(t, `cd /proc/$(systemctl show -p MainPID --value tvsctld.service) && ls fd | wc -l && ls task | wc -l && sed -n 's/VmRSS:\s*\([0-9]*\) kB/\1/p' status`)
	if _, err := fmt.Sscan(out, &u.files, &u.threads, &u.resident); err != nil {
		t.Fatalf("%v: %q", err, out)
	}
	return u
}

// TestManyClients: a thousand clients at once, half of them silent; slow ones; and
// changes meanwhile. Those who ask are answered, the others are ended by the deadlines,
// and afterwards the daemon holds no more than before. The bounds leave room for a machine
// that is slow: to wait for the others costs at least 10 s, a deadline that is missing
// shows as 30 s and more, and a thread kept for each client as a hundred.
func TestManyClients(t *testing.T) {
	m := own(t, "str-clients")
	if err := m.install(); err != nil {
		t.Fatal(err)
	}
	s := &stack{m: m, name: "crowded", port: 3001}
	s.up(t)
	s.tvsctl(t, "status")

	// As installed: a user has 64 connections, root too, and others have theirs.
	m.sh(t, "useradd -m ana && usermod -aG tvs ana")
	ctx, leave := context.WithCancel(t.Context())
	// More than there is room for, so that one of tvsctl's that is just ending does not
	// take the place of one that stays.
	silent := m.command(ctx, clientsProgram, "-silent", "70")
	connected, err := silent.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := silent.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(connected).ReadString('\n'); err != nil {
		t.Fatalf("%v: %q", err, line)
	}
	const says = "64 connections of yours are open"
	if r := m.tvsctl("projects"); r.code != ipc.ExitConflict || !strings.Contains(r.err, says) {
		t.Errorf("beside 64 connections: %s", r)
	}
	if r := m.run("runuser", "-l", "ana", "-c", "tvsctl projects"); r.code != 0 {
		t.Errorf("another user: %s", r)
	}
	leave()
	_ = silent.Wait() // it was killed
	m.eventually(t, 5*time.Second, "those who left make room", func() bool { return m.tvsctl("projects").code == 0 })

	m.configure(t, "max_connections = 2000\nmax_connections_per_user = 1500\n")
	path := "/projects/" + s.name
	m.clients(t, "-path", path, "-good", "500") // so that it has once been as large as it gets
	before := m.usage(t)
	alone := m.clients(t, "-path", path, "-good", "500")
	among := m.clients(t, "-path", path, "-good", "500", "-silent", "500")
	t.Logf("500 status at once: p50 %.0f ms, p99 %.0f ms; beside 500 silent clients p50 %.0f ms, p99 %.0f ms; the silent ones ended after %.1f to %.1f s",
		alone.Good.P50, alone.Good.P99, among.Good.P50, among.Good.P99, among.Bad["silent"].First, among.Bad["silent"].Last)
	for _, c := range []crowd{alone, among} {
		if c.Good.OK != 500 {
			t.Errorf("%d of 500 answered: %v", c.Good.OK, c.Good.Errors)
		}
	}
	if among.Good.P99 > 2*alone.Good.P99+4000 {
		t.Error("those who ask wait for the silent ones")
	}
	if silent := among.Bad["silent"]; silent.Ended != 500 || silent.First < 7 || silent.Last > 25 {
		t.Errorf("silent clients: %+v", silent)
	}

	// A byte a second: the header has 10 s, all of the request 30. Changes go on beside it.
	crowded := make(chan crowd, 1)
	go func() {
		crowded <- m.clients(t, "-path", path, "-headers", "50", "-body", "50", "-good", "5", "-bursts", "100", "-pause", "100ms")
	}()
	scales := 0
	for start := time.Now(); time.Since(start) < 20*time.Second; scales++ {
		s.tvsctl(t, "scale", "webapp", strconv.Itoa(1+(scales+1)%2))
	}
	slow := <-crowded
	t.Logf("beside 100 slow clients: p50 %.0f ms, p99 %.0f ms, and %d scales; slow headers ended after %.1f s, slow bodies after %.1f s",
		slow.Good.P50, slow.Good.P99, scales, slow.Bad["headers"].Last, slow.Bad["body"].Last)
	if slow.Good.OK != 500 || slow.Good.P99 > 5000 {
		t.Errorf("beside slow clients: %+v", slow.Good)
	}
	if h, b := slow.Bad["headers"], slow.Bad["body"]; h.Ended != 50 || h.Last > 25 || b.Ended != 50 || b.Last > 45 {
		t.Errorf("slow clients: %+v", slow.Bad)
	}

	var after usage
	defer func() { t.Logf("before %+v, after %+v", before, after) }()
	m.eventually(t, 20*time.Second, "the daemon holds as much as before", func() bool {
		after = m.usage(t)
		return after.files <= before.files+5 && after.threads <= before.threads+40 && after.resident <= before.resident+10<<10
	})
}

// TestIdleExitUnderFire: ten thousand commands, sixty at a time, with pauses around the
// idle time, so that they meet every moment of the daemon's end. None is lost.
func TestIdleExitUnderFire(t *testing.T) {
	m := own(t, "str-idle")
	if err := m.install(); err != nil {
		t.Fatal(err)
	}
	setIdle(t, m, "50ms")
	starts := func() int {
		return strings.Count(m.must(t, "journalctl", "-u", "tvsctld", "-o", "cat", "--no-pager"), "serves /run")
	}
	before := starts()
	c := m.clients(t, "-path", "/operations", "-good", "60", "-bursts", "167", "-pause", "48ms", "-jitter", "14ms")
	n := starts() - before
	t.Logf("%d commands against an idle time of 50 ms: %d answered, %d starts of the daemon, p99 %.0f ms", c.Good.Sent, c.Good.OK, n, c.Good.P99)
	if c.Good.OK != c.Good.Sent || c.Good.Sent < 10000 {
		t.Errorf("lost: %v", c.Good.Errors)
	}
	if n < 50 {
		t.Error("the daemon was hardly started: the test shows nothing")
	}
}
