//go:build e2e

package tests

import (
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"tvsctl/ipc"
)

// chatter writes many lines, each with its number, and then nothing more.
const (
	chatterLines = 20000
	chatter      = "  chatter:\n    image: chatter\n    init: true\n    command: [sh, -c, 'i=0; while [ $$i -lt 20000 ]; do i=$$((i+1)); echo line $$i of $$HOSTNAME %0500d; done; exec sleep 1000000']\n"
)

// chatterImage is a shell.
const chatterImage = `mkdir -p /tmp/chatter/bin && cp /bin/busybox /tmp/chatter/bin/ && for x in sh sleep; do ln -sf busybox /tmp/chatter/bin/$x; done
tar -C /tmp/chatter -c . | docker import -c 'ENV PATH=/bin' - chatter`

func logLines(t testing.TB, out string) (lines []ipc.LogLine) {
	t.Helper()
	for text := range strings.Lines(out) {
		var line ipc.LogLine
		if err := json.Unmarshal([]byte(text), &line); err != nil {
			t.Fatalf("%v: %.200s", err, text)
		}
		lines = append(lines, line)
	}
	return lines
}

// TestLogs: what tvsctl shows of a service is what docker and the journal have, in the
// order of its time.
func TestLogs(t *testing.T) {
	m := shared
	m.sh(t, chatterImage)
	s := &stack{m: m, name: "logs", port: 3901, extra: chatter}
	s.up(t, "--scale", "chatter=3")
	s.tvsctl(t, "scale", "webapp", "2")
	m.eventually(t, time.Minute, "all is written", func() bool {
		return strings.Contains(m.run("bash", "-c", `for n in 1 2 3; do docker logs -n 1 logs-chatter-$n 2>&1; done | grep -c "line 20000 "`).out, "3")
	})
	r := m.tvsctl("-p", s.name, "logs", "chatter", "--json")
	lines := logLines(t, r.out)
	if r.code != 0 || len(lines) != 3*chatterLines {
		t.Fatalf("%d lines of %d, exit status %d: %s", len(lines), 3*chatterLines, r.code, r.err)
	}
	t.Logf("%d lines of 3 replicas merged in %v", len(lines), r.took.Round(time.Millisecond))
	if !slices.IsSortedFunc(lines, func(a, b ipc.LogLine) int { return a.Time.Compare(b.Time) }) {
		t.Error("they are not in the order of their times")
	}
	next := map[string]int{}
	for _, line := range lines {
		if next[line.Name]++; !strings.HasPrefix(line.Line, fmt.Sprintf("line %d of ", next[line.Name])) || line.Service != "chatter" || line.Stream != "stdout" {
			t.Fatalf("line %d of %s: %.40s", next[line.Name], line.Name, line.Line)
		}
	}

	// The last ones, since a time, until a time.
	middle, own := lines[len(lines)/2].Time, lines[len(lines)-chatterLines/2]
	for _, c := range []struct {
		args  []string
		count int
	}{
		{[]string{"-n", "7", "chatter"}, 21},
		{[]string{"-n", "7", "chatter.2"}, 7},
		{[]string{"-n", "2", "--until", own.Time.Format(time.RFC3339Nano), own.Service + "." + strconv.Itoa(own.Replica)}, 2},
		{[]string{"-n", "1", "webapp", "unit:docker", "unit:tvsctld.service"}, 4},
		{[]string{"-n", "0", "chatter"}, 0},
		{[]string{"--since", "1h", "--until", "59m", "webapp"}, 0},
	} {
		got := logLines(t, m.tvsctl(append([]string{"-p", s.name, "logs", "--json"}, c.args...)...).out)
		if len(got) != c.count {
			t.Errorf("%s: %d lines, not %d", c.args, len(got), c.count)
		}
	}
	after := logLines(t, m.tvsctl("-p", s.name, "logs", "--json", "chatter", "--since", middle.Format(time.RFC3339Nano)).out)
	before := logLines(t, m.tvsctl("-p", s.name, "logs", "--json", "chatter", "--until", middle.Add(-1).Format(time.RFC3339Nano)).out)
	if len(after)+len(before) != len(lines) || len(after) == 0 || len(before) == 0 {
		t.Errorf("%d lines before and %d after, of %d", len(before), len(after), len(lines))
	}

	// A unit as journalctl has it.
	asJournalctl(t, m)
	for _, c := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"nothing"}, ipc.ExitUnknown, `no service "nothing"`},
		{[]string{"webapp.9"}, ipc.ExitUnknown, "no replica 9"},
		{[]string{"unit:nothing"}, ipc.ExitUnknown, "no unit nothing.service"},
		{[]string{"unit:*"}, ipc.ExitUsage, `"*" is no name of a unit`},
	} {
		if r := m.tvsctl(append([]string{"-p", s.name, "logs"}, c.args...)...); r.code != c.code || !strings.Contains(r.err, c.says) {
			t.Errorf("%s", r)
		}
	}
	slowReader(t, s)
}

// asJournalctl: the last lines of a unit are those of journalctl, if none is written
// between the two looks.
func asJournalctl(t *testing.T, m *machine) {
	t.Helper()
	m.eventually(t, 10*time.Second, "unit:docker is what journalctl has", func() bool {
		journal := m.journalctl(t, "-u", "docker", "-n", "50", "-o", "cat")
		var text strings.Builder
		for _, line := range logLines(t, m.tvsctl("logs", "--json", "-n", "50", "unit:docker").out) {
			text.WriteString(line.Line + "\n")
		}
		if text.String() == journal {
			return true
		}
		t.Logf("unit:docker is\n%s\nnot\n%s", text.String(), journal)
		return false
	})
}

// slowReader: what somebody follows and does not read stays where it is written.
func slowReader(t *testing.T, s *stack) {
	const memory = `awk '/VmRSS/ {print $2}' /proc/$(systemctl show -P MainPID tvsctld)/status`
	kib := func(text string) int {
		n, err := strconv.Atoi(strings.TrimSpace(text))
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	before := kib(s.m.sh(t, memory))
	most := kib(s.m.sh(t, `for n in 1 2 3 4; do (tvsctl -p logs logs -f chatter | sleep 4) & done
for i in $(seq 30); do `+memory+`; sleep 0.1; done | sort -n | tail -1; kill $(jobs -p) 2>/dev/null; wait 2>/dev/null; true`))
	t.Logf("tvsctld has %d KiB, and %d KiB with four readers that read nothing of 33 MB", before, most)
	if most > before+24<<10 {
		t.Errorf("it grows from %d to %d KiB", before, most)
	}
}

// TestLogsFollow: replicas that come are followed, and a restart of tvsctld or of Docker
// neither loses a line nor brings one twice.
func TestLogsFollow(t *testing.T) {
	m := own(t, "follow")
	if err := m.install(); err != nil {
		t.Fatal(err)
	}
	s := &stack{m: m, name: "follow", port: 3902, service: "labels:\n  tvs.rollout.settle: 0s\n"}
	s.up(t)
	s.tvsctl(t, "scale", "webapp", "1")
	m.sh(t, `setsid tvsctl -p follow logs -f --json webapp unit:tvsctld >/root/follow.out 2>/root/follow.err & echo $! >/root/follow.pid`)
	read := func() []ipc.LogLine {
		text, err := os.ReadFile(filepath.Join(m.root, "root/follow.out"))
		if err != nil {
			t.Fatal(err)
		}
		whole := string(text[:cmp.Or(strings.LastIndexByte(string(text), '\n'), -1)+1])
		return logLines(t, whole)
	}
	await := func(name, text string) {
		t.Helper()
		m.eventually(t, 15*time.Second, name+" says "+text, func() bool {
			return slices.ContainsFunc(read(), func(l ipc.LogLine) bool { return l.Name == name && strings.Contains(l.Line, text) })
		})
	}
	await("follow-webapp-1", "listening")
	s.tvsctl(t, "scale", "webapp", "3")
	await("follow-webapp-3", "listening")
	s.tvsctl(t, "scale", "webapp", "1")
	m.must(t, "systemctl", "restart", "tvsctld.service")
	s.tvsctl(t, "scale", "webapp", "2")
	await("tvsctld.service", "Succeeded to scale webapp from 1 to 2")
	m.must(t, "systemctl", "restart", "docker.service")
	m.eventually(t, 30*time.Second, "the project is up", func() bool { return m.run("tvsctl", "-p", "follow", "status").code == 0 })
	s.tvsctl(t, "restart", "webapp")
	await("tvsctld.service", "Succeeded to restart webapp")
	for _, name := range []string{"follow-webapp-3", "follow-webapp-4"} {
		await(name, "listening")
	}
	m.sh(t, "kill -INT $(cat /root/follow.pid)")
	m.eventually(t, 5*time.Second, "it ends", func() bool { return m.run("bash", "-c", "kill -0 $(cat /root/follow.pid)").code != 0 })
	lines := read()
	seen := map[string]int{}
	for _, l := range lines {
		seen[l.Time.String()+l.Name+l.Line]++
	}
	for key, n := range seen {
		if n > 1 {
			t.Errorf("%d times: %s", n, key)
		}
	}
	// Whatever the journal has of that time was told.
	var journal []string
	for text := range strings.Lines(m.must(t, "journalctl", "-u", "tvsctld", "-o", "cat", "--no-pager")) {
		journal = append(journal, strings.TrimSpace(text))
	}
	var told []string
	for _, l := range lines {
		if l.Name == "tvsctld.service" {
			told = append(told, strings.Split(l.Line, "\n")...)
		}
	}
	for _, text := range journal {
		if !slices.Contains(told, text) && !strings.Contains(text, "Succeeded to restart") {
			t.Errorf("lost: %s", text)
		}
	}
	errors := m.must(t, "cat", "/root/follow.err")
	if strings.Count(errors, "lost tvsctld; following again") < 1 || strings.Count(errors, "\n") > 3 {
		t.Errorf("it says %s", errors)
	}
	t.Logf("%d lines of %d replicas and a unit over restarts of tvsctld and Docker, none lost, none twice", len(lines), 5)
}

// TestAudit: what was asked is read back, with its outcome, and nobody can forge it.
func TestAudit(t *testing.T) {
	m := shared
	s := &stack{m: m, name: "audited", port: 3903}
	s.up(t)
	start := time.Now()
	s.tvsctl(t, "scale", "webapp", "2")
	m.sh(t, `id eve >/dev/null 2>&1 || useradd eve
printf 'MESSAGE_ID=94472761461641d2b6161762a2cdaf07\nTVS_DECISION=allow\nTVS_USER=eve\nTVS_VERB=forged\nSYSLOG_IDENTIFIER=tvsctld\n_SYSTEMD_UNIT=tvsctld.service\nMESSAGE=forged\n' | setpriv --reuid=eve --regid=eve --clear-groups logger --journald
journalctl --sync`)
	var list []ipc.AuditEntry
	m.ask(t, &list, "audit", "--since", start.Format(time.RFC3339Nano))
	var scaled *ipc.AuditEntry
	for i, e := range list {
		if e.Verb == "forged" || e.User == "eve" {
			t.Errorf("a forged entry: %+v", e)
		}
		if e.Verb == "scale" && strings.HasPrefix(e.Target, "audited") {
			scaled = &list[i]
		}
	}
	if scaled == nil || scaled.User != "root" || scaled.Result != "succeeded" || scaled.Decision != ipc.Allow || scaled.Operation == "" {
		t.Errorf("%+v", list)
	}
	if out := m.must(t, "tvsctl", "audit", "-n", "1"); !strings.HasPrefix(out, "TIME ") || strings.Count(out, "\n") != 2 {
		t.Errorf("%s", out)
	}
	m.sh(t, "usermod -aG tvs eve")
	for _, args := range []string{"tvsctl audit", "tvsctl logs unit:docker"} {
		if r := m.run("runuser", "-u", "eve", "--", "bash", "-c", args); r.code != ipc.ExitForbidden {
			t.Errorf("a member may: %s", r)
		}
	}
	if r := m.run("runuser", "-u", "eve", "--", "tvsctl", "-p", s.name, "logs"); r.code != 0 || !strings.Contains(r.out, "listening") {
		t.Errorf("a member may not: %s", r)
	}
}
