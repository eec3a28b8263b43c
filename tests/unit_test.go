//go:build e2e

package tests

import (
	"fmt"
	"slices"
	"sort"
	"strings"
	"testing"
	"time"

	"tvsctl/ipc"
)

// unitFiles are units that do and fail in every way. Those that
// have to be met in the middle take four seconds or six.
var unitFiles = map[string]string{
	"job@":       "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/sleep 6\n",
	"condition@": "[Unit]\nConditionPathExists=/nowhere/%i\n[Service]\nExecStart=/bin/sleep 1000\n",
	"exit@":      "[Service]\nType=oneshot\nExecStart=/bin/sh -c 'sleep 4; echo instance %i gives up; exit 3'\n",
	"slow@":      "[Service]\nType=notify\nTimeoutStartSec=2\nExecStart=/bin/sleep 1000\n",
	"needs@":     "[Unit]\nRequires=exit@%i.service\nAfter=exit@%i.service\n[Service]\nExecStart=/bin/sleep 1000\n",
	"short@":     "[Service]\nType=oneshot\nExecStart=/bin/sh -c 'sleep 4; echo ran >>/run/short.%i'\n",
	"simple@":    "[Service]\nExecStart=/bin/sh -c 'exit 3'\n",
	"killed@":    "[Service]\nExecStart=/bin/sh -c 'kill -SEGV $$$$'\n",
	"asserts@":   "[Unit]\nAssertPathExists=/nowhere\n[Service]\nExecStart=/bin/sleep 1000\n",
	"again@":     "[Service]\nRestart=on-failure\nRestartSec=30\nExecStart=/bin/false\n",
	"before@":    "[Service]\nExecStartPre=/bin/sh -c 'exit 9'\nExecStart=/bin/sleep 1000\n",
	"manual@":    "[Unit]\nRefuseManualStart=yes\n[Service]\nExecStart=/bin/sleep 1000\n",
}

// unitMachine is a machine with those units.
func unitMachine(t *testing.T, name string) *machine {
	m := own(t, name)
	m.must(t, "/srv/tvs/scripts/install.sh")
	for unit, text := range unitFiles {
		writeFile(t, m, "/etc/systemd/system/"+unit+".service", text)
	}
	m.must(t, "systemctl", "daemon-reload")
	writeFile(t, m, "/etc/tvsctld/tvsctld.toml", managedUnits())
	m.must(t, "systemctl", "restart", "tvsctld.service")
	m.eventually(t, 30*time.Second, "polkit lets tvsctld manage units", func() bool { return m.tvsctl("unit", "stop", "job@39").code == 0 })
	return m
}

// jobKinds are what 200 jobs are of, and what is to come of them.
var jobKinds = []struct {
	unit, says string
	code       int
}{
	{"job", "job@%d.service is active (exited)", 0},
	{"job", "job@%d.service is active (exited)", 0},
	{"exit", "cannot start exit@%d.service: its process exited with status 3", ipc.ExitFailure},
	{"slow", "cannot start slow@%d.service: it was not ready within 2s", ipc.ExitFailure},
	{"condition", "cannot start condition@%d.service: its condition ConditionPathExists=/nowhere/%[1]d is not met", ipc.ExitFailure},
	{"needs", "cannot start needs@%d.service: exit@%[1]d.service, which it needs, failed: its process exited with status 3", ipc.ExitFailure},
	{"short", "short@%d.service ran to its end", 0},
	{"simple", "cannot start simple@%d.service: its process exited with status 3", ipc.ExitFailure},
}

// firstJobs are the numbers of the first of them, in each round.
var firstJobs = []int{1000, 2000, 3000}

const manyJobs = 200

// managedUnits are the settings that let tvsctld manage the units of these tests.
func managedUnits() string {
	var b strings.Builder
	b.WriteString("[units]\n")
	allow := func(unit string) {
		fmt.Fprintf(&b, "%q = [\"start\", \"stop\", \"restart\", \"reload\", \"reset-failed\"]\n", unit)
	}
	for _, unit := range []string{"nginx.service", "tvsctld.service", "dbus.service", "dbus.socket", "systemd-logind.service", "multi-user.target"} {
		allow(unit)
	}
	for template := range unitFiles {
		if !strings.HasSuffix(template, "@") {
			continue
		}
		for n := range 40 {
			allow(fmt.Sprintf("%s%d.service", template, n))
		}
	}
	for _, first := range firstJobs {
		for i := range manyJobs {
			allow(fmt.Sprintf("%s@%d.service", jobKinds[i%len(jobKinds)].unit, first+i))
		}
	}
	return b.String()
}

// TestUnits: what runs under systemd, on a machine of its own.
func TestUnits(t *testing.T) {
	m := unitMachine(t, "units1")
	t.Run("words", func(t *testing.T) { unitWords(t, m) })
	t.Run("verbs", func(t *testing.T) { unitVerbs(t, m) })
	t.Run("agreement", func(t *testing.T) { unitAgreement(t, m) })
	t.Run("files", func(t *testing.T) { unitFileChanges(t, m) })
	t.Run("restart of the daemon", func(t *testing.T) { unitRestarts(t, m) })
	t.Run("speed", func(t *testing.T) { unitSpeed(t, m) })
	t.Run("200 jobs", func(t *testing.T) { manyUnits(t, m) })
	t.Run("isolate", func(t *testing.T) { unitIsolates(t, m) })
}

// unitWords: each failure is explained in its own words, and refused is what must be.
func unitWords(t *testing.T, m *machine) {
	for _, c := range []struct {
		args string
		code int
		says []string
	}{
		{"start condition@1", ipc.ExitFailure, []string{"cannot start condition@1.service: its condition ConditionPathExists=/nowhere/1 is not met"}},
		{"start exit@1", ipc.ExitFailure, []string{"its process exited with status 3", "instance 1 gives up"}},
		{"start slow@1", ipc.ExitFailure, []string{"it was not ready within 2s (TimeoutStartSec=)", "start operation timed out"}},
		{"start needs@2", ipc.ExitFailure, []string{"cannot start needs@2.service: exit@2.service, which it needs, failed: its process exited with status 3", "instance 2 gives up"}},
		{"start simple@1", ipc.ExitFailure, []string{"its process exited with status 3"}},
		{"start killed@1", ipc.ExitFailure, []string{"its process was killed by SIGSEGV"}},
		{"start asserts@1", ipc.ExitFailure, []string{"its assert AssertPathExists=/nowhere is not met"}},
		{"start again@1", ipc.ExitFailure, []string{"its process exited with status 1; systemd starts it again"}},
		{"start before@1", ipc.ExitFailure, []string{"its ExecStartPre= (sh) exited with status 9"}},
		{"start manual@1", ipc.ExitFailure, []string{"may be requested by dependency only"}},
		{"start nowhere", ipc.ExitUnknown, []string{"there is no unit nowhere.service"}},
		{"start job@", ipc.ExitUsage, []string{"it is a template"}},
		{"start a;b", ipc.ExitUsage, []string{`"a;b" is no name of a unit: it has a ';'`}},
		{"start " + strings.Repeat("a", 250), ipc.ExitUsage, []string{"longer than 255"}},
		{"start nginx*", ipc.ExitUsage, []string{"it has a '*'"}},
		{"status ..", ipc.ExitUsage, []string{"not a name"}},
		{"reload dbus.socket", ipc.ExitFailure, []string{"Job type reload is not applicable"}},
		{"isolate dbus", ipc.ExitFailure, []string{"it does not say AllowIsolate=yes"}},
		{"enable nginx", ipc.ExitForbidden, []string{"sudo systemctl enable nginx.service"}},
		{"status nowhere", ipc.ExitUnknown, []string{"there is no unit nowhere.service"}},
		{"wait again@1 --for nonsense", ipc.ExitUsage, []string{"the states are inactive, active, failed"}},
	} {
		r := m.tvsctl(append([]string{"unit"}, strings.Fields(c.args)...)...)
		if r.code != c.code {
			t.Errorf("exit status %d, not %d: %s", r.code, c.code, r)
		}
		for _, says := range c.says {
			if !strings.Contains(r.err, says) {
				t.Errorf("does not say %q: %s", says, r)
			}
		}
	}
	m.must(t, "systemctl", "stop", "again@1.service")
	// One of several fails: each is told of, and the first failure is the status.
	r := m.tvsctl("unit", "start", "job@1", "exit@3", "nowhere")
	if r.code != ipc.ExitFailure || !strings.Contains(r.out, "job@1.service is active (exited)") || !strings.Contains(r.err, "exit@3.service: its process") || !strings.Contains(r.err, "no unit nowhere") {
		t.Error(r)
	}
}

// unitVerbs: what each verb does, and what is left behind of it.
func unitVerbs(t *testing.T, m *machine) {
	active := func(unit string) string { return strings.TrimSpace(m.run("systemctl", "is-active", unit).out) }
	if r := m.tvsctl("unit", "start", "nginx"); r.code != 0 || !strings.Contains(r.out, "nginx.service is active (running)") || active("nginx") != "active" {
		t.Error(r)
	}
	pid := m.must(t, "systemctl", "show", "-P", "MainPID", "nginx")
	if r := m.tvsctl("unit", "reload", "nginx"); r.code != 0 || m.must(t, "systemctl", "show", "-P", "MainPID", "nginx") != pid {
		t.Error(r)
	}
	if r := m.tvsctl("unit", "restart", "nginx"); r.code != 0 || m.must(t, "systemctl", "show", "-P", "MainPID", "nginx") == pid {
		t.Error(r)
	}
	if r := m.tvsctl("unit", "status", "nginx"); r.code != 0 {
		t.Error(r)
	}
	if r := m.tvsctl("unit", "stop", "nginx"); r.code != 0 || active("nginx") != "inactive" {
		t.Error(r)
	}
	if r := m.tvsctl("unit", "status", "nginx"); r.code != ipc.ExitStopped {
		t.Error(r)
	}
	// A oneshot that leaves nothing behind has run nevertheless.
	if r := m.tvsctl("unit", "start", "short@1"); r.code != 0 || !strings.Contains(r.out, "short@1.service ran to its end") {
		t.Error(r)
	}
	if r := m.tvsctl("unit", "start", "job@2", "--no-block"); r.code != 0 || r.took > 4*time.Second || active("job@2") != "activating" {
		t.Error(r)
	}
	if r := m.tvsctl("unit", "wait", "job@2", "--for", "active"); r.code != 0 || active("job@2") != "active" {
		t.Error(r)
	}
	if r := m.tvsctl("unit", "wait", "job@2", "--timeout", "200ms"); r.code != ipc.ExitFailure || !strings.Contains(r.err, "job@2 is not inactive after 200ms") {
		t.Error(r)
	}
	m.tvsctl("unit", "start", "exit@4")
	if r := m.tvsctl("unit", "list", "--state", "failed"); !strings.Contains(r.out, "exit@4.service") {
		t.Error(r)
	}
	if r := m.tvsctl("unit", "reset-failed", "exit@4"); r.code != 0 || strings.Contains(m.tvsctl("unit", "list", "--state", "failed").out, "exit@4.service") {
		t.Error(r)
	}
	// An alias is no way around: what is changed, kept and judged is the unit.
	var o ipc.Operation
	m.ask(t, &o, "unit", "restart", "dbus-org.freedesktop.login1")
	if o.Unit != "systemd-logind.service" || o.State != ipc.OperationSucceeded {
		t.Errorf("%+v", o)
	}
	if out := m.journalctl(t, "-o", "cat", "TVS_UNIT=systemd-logind.service"); !strings.Contains(out, "root asks to restart systemd-logind.service.") || !strings.Contains(out, "Succeeded to restart") {
		t.Errorf("the journal says %s", out)
	}
	m.sh(t, "useradd -G tvs ana 2>/dev/null || useradd -m -G tvs ana")
	if r := m.run("setpriv", "--reuid", "ana", "--regid", "ana", "--init-groups", "tvsctl", "unit", "stop", "job@2"); r.code != ipc.ExitForbidden || active("job@2") != "active" {
		t.Errorf("a member of the group: %s", r)
	}
}

// unitAgreement: the same units, and the same of them, as systemctl.
func unitAgreement(t *testing.T, m *machine) {
	for _, args := range [][]string{{"basic.target"}, {"multi-user.target", "--all"}, {"dbus.socket", "--reverse"}} {
		ours := strings.Fields(m.must(t, append([]string{"tvsctl", "unit", "deps", "--plain"}, args...)...))
		theirs := strings.Fields(strings.NewReplacer("●", "", "○", "", "×", "").Replace(m.must(t, append([]string{"systemctl", "list-dependencies", "--plain", "--no-pager"}, args...)...)))
		sort.Strings(ours)
		sort.Strings(theirs)
		if theirs = slices.Compact(theirs); !slices.Equal(ours, theirs) || len(ours) < 2 {
			t.Errorf("deps %s: %d units\n%q\nand systemctl %d\n%q", args, len(ours), ours, len(theirs), theirs)
		}
		t.Logf("deps %s: %d units", args, len(ours))
	}
	tree := m.must(t, "tvsctl", "unit", "deps", "basic.target")
	if !strings.HasPrefix(tree, "basic.target\n") || !strings.Contains(tree, "\n├─● ") || !strings.Contains(tree, "│ └─● ") {
		t.Error(tree)
	}
	writeFile(t, m, "/etc/systemd/system/ring1.target", "[Unit]\nWants=ring2.target\n")
	writeFile(t, m, "/etc/systemd/system/ring2.target", "[Unit]\nWants=ring1.target\n")
	m.must(t, "systemctl", "daemon-reload")
	if tree := m.must(t, "tvsctl", "unit", "deps", "ring1.target"); tree != "ring1.target\n└─○ ring2.target\n  └─○ ring1.target (cycle)\n" {
		t.Errorf("a cycle:\n%s", tree)
	}
	writeFile(t, m, "/etc/systemd/system/ring1.target.d/b.conf", "[Unit]\n# \tof two\nDescription=A ring")
	writeFile(t, m, "/etc/systemd/system/ring1.target.d/a.conf", "\n[Unit]\nDocumentation=man:ring(7)\n\n")
	m.sh(t, "ln -s /dev/null /etc/systemd/system/veiled.service; systemctl daemon-reload")
	for _, name := range []string{"ring1.target", "veiled.service"} {
		compareUnit(t, m, name)
	}
	if u := m.tvsctl("unit", "status", "veiled"); !strings.Contains(u.out, "masked") {
		t.Errorf("a masked unit: %s", u)
	}

	var list []ipc.UnitSummary
	m.ask(t, &list, "unit", "list", "--all")
	compared := 0
	for i, u := range list {
		if u.Load != "not-found" && i%max(1, len(list)/40) == 0 || strings.Contains(u.Name, "docker") {
			compareUnit(t, m, u.Name)
			compared++
		}
	}
	if compared < 30 {
		t.Errorf("only %d units", compared)
	}
	t.Logf("%d units compared", compared)
	for _, name := range []string{"exit@4.service", "slow@1.service", "killed@1.service"} {
		m.tvsctl("unit", "start", name)
		compareUnit(t, m, name)
	}
}

// unitFileChanges: the oneshot does what root has listed and nothing else.
func unitFileChanges(t *testing.T, m *machine) {
	enabled := func() string { return strings.TrimSpace(m.run("systemctl", "is-enabled", "nginx").out) }
	writeFile(t, m, "/etc/tvsctld/unit-files.list", "# what tvsctl may have done\nenable nginx.service\ndisable nginx.service # again\nmask nginx.service\nunmask nginx.service\nenable dbus.service\n")
	for _, c := range []struct{ verb, state string }{{"disable", "disabled"}, {"enable", "enabled"}, {"mask", "masked"}, {"unmask", "enabled"}} {
		if r := m.tvsctl("unit", c.verb, "nginx"); r.code != 0 || enabled() != c.state || !strings.Contains(r.out, "nginx.service is "+c.state) {
			t.Errorf("now %s: %s", enabled(), r)
		}
	}
	if r := m.tvsctl("unit", "enable", "dbus"); r.code != ipc.ExitFailure || !strings.Contains(r.err, "has no [Install] section") {
		t.Error(r)
	}
	if r := m.tvsctl("unit", "disable", "docker"); r.code != ipc.ExitForbidden || !strings.Contains(r.err, "sudo systemctl disable docker.service") {
		t.Error(r)
	}
	// Whoever may start the oneshot gets no further.
	m.sh(t, `! systemctl start "tvsctld-unit-file@$(systemd-escape disable:docker.service).service"; systemctl is-enabled docker`)
	m.must(t, "chmod", "o+w", "/etc/tvsctld/unit-files.list")
	if r := m.tvsctl("unit", "disable", "nginx"); r.code != ipc.ExitForbidden || enabled() != "enabled" || !strings.Contains(r.err, "cannot trust") {
		t.Error(r)
	}
	m.sh(t, `! systemctl start "tvsctld-unit-file@$(systemd-escape disable:nginx.service).service"; [ $(systemctl is-enabled nginx) = enabled ]`)
	m.must(t, "rm", "/etc/tvsctld/unit-files.list")
}

// unitRestarts: a job goes on when tvsctld ends, whatever ends it, and its outcome is known
// to the next life; tvsctld can be asked to restart itself.
func unitRestarts(t *testing.T, m *machine) {
	for i, end := range []string{"kill -KILL $(systemctl show -P MainPID tvsctld)", "systemctl restart tvsctld"} {
		n := 10 + i
		for unit, want := range map[string]string{"job": "job@%d.service is active (exited)", "exit": "cannot start exit@%d.service: its process exited with status 3", "short": "short@%d.service ran to its end"} {
			name := fmt.Sprintf("%s@%d.service", unit, n)
			id := strings.TrimSpace(m.must(t, "tvsctl", "unit", "start", name, "--detach"))
			m.eventually(t, 5*time.Second, name+" is on its way", func() bool { return m.run("systemctl", "is-active", name).out == "activating\n" })
			m.sh(t, end)
			r := m.tvsctl("ops", id, "--follow")
			if says := fmt.Sprintf(want, n); !strings.Contains(r.out+r.err, says) {
				t.Errorf("after %s not %q: %s", end, says, r)
			}
			if r.took > 15*time.Second {
				t.Errorf("it took %v", r.took)
			}
		}
		if out := m.must(t, "cat", fmt.Sprintf("/run/short.%d", n)); out != "ran\n" {
			t.Errorf("short@%d ran more than once: %q", n, out)
		}
	}
	pid := m.show(t, "MainPID")
	if r := m.tvsctl("unit", "restart", "tvsctld"); r.code != 0 || r.took > 10*time.Second || m.show(t, "MainPID") == pid {
		t.Error(r)
	}
	id := strings.TrimSpace(m.must(t, "tvsctl", "unit", "start", "job@20", "--detach"))
	if r := m.tvsctl("ops", "cancel", id); r.code != 0 || strings.TrimSpace(m.run("systemctl", "is-active", "job@20").out) == "active" || m.run("systemctl", "is-active", "job@20").out == "activating\n" {
		t.Errorf("canceled: %s", r)
	}
	m.must(t, "systemctl", "start", "job@21")
	writeFile(t, m, "/etc/systemd/system/job@21.service.d/slow.conf", "[Service]\nExecStop=/bin/sleep 6\n")
	m.must(t, "systemctl", "daemon-reload")
	id = strings.TrimSpace(m.must(t, "tvsctl", "unit", "stop", "job@21", "--detach"))
	m.eventually(t, 5*time.Second, "it is on its way", func() bool { return m.run("systemctl", "is-active", "job@21").out == "deactivating\n" })
	if r := m.tvsctl("ops", "cancel", id); r.code != 0 || !strings.Contains(r.out, "too late to cancel") || m.run("systemctl", "is-active", "job@21").out != "inactive\n" {
		t.Errorf("canceled: %s", r)
	}
}

// unitIsolates: what it says that it would stop is what it stops; a no changes nothing.
func unitIsolates(t *testing.T, m *machine) {
	running := func() []string {
		return strings.Fields(m.must(t, "sh", "-c", "systemctl list-units --no-legend --plain --state=active,activating,reloading | cut -d' ' -f1 | sort"))
	}
	m.must(t, "systemctl", "start", "job@900.service")
	before := running()
	var would ipc.UnitIsolation
	m.ask(t, &would, "unit", "isolate", "multi-user.target", "--dry-run")
	r := m.runWith(strings.NewReader("n\n"), "tvsctl", "unit", "isolate", "multi-user.target")
	if r.code != ipc.ExitCanceled || !strings.Contains(r.err, "job@900.service") || !slices.Equal(running(), before) {
		t.Errorf("a no: %s", r)
	}
	if r := m.tvsctl("unit", "isolate", "multi-user.target", "--yes"); r.code != 0 {
		t.Error(r)
	}
	m.eventually(t, 30*time.Second, "systemd has nothing left to do", func() bool {
		return m.must(t, "systemctl", "list-jobs", "--no-legend") == ""
	})
	after := running()
	var stopped []string
	for _, name := range before {
		if !slices.Contains(after, name) {
			stopped = append(stopped, name)
		}
	}
	if !slices.Contains(stopped, "job@900.service") || !slices.Equal(stopped, would.Stop) {
		t.Errorf("it said\n%q\nand stopped\n%q", would.Stop, stopped)
	}
}
