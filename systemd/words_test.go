package systemd

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"
)

func TestUnitName(t *testing.T) {
	for _, c := range []struct{ text, name, wrong string }{
		{"nginx", "nginx.service", ""},
		{"nginx.service", "nginx.service", ""},
		{"foo.bar", "foo.bar.service", ""},
		{"tvsapp@35000", "tvsapp@35000.service", ""},
		{"a.socket", "a.socket", ""},
		{`dev-disk\x2d1.device`, `dev-disk\x2d1.device`, ""},
		{"/srv/data/", "srv-data.mount", ""},
		{"/", "-.mount", ""},
		{"/dev/sda1", "dev-sda1.device", ""},
		{strings.Repeat("a", 247), strings.Repeat("a", 247) + ".service", ""},
		{strings.Repeat("a", 248), "", "longer than 255"},
		{"", "", "begins with its suffix"},
		{".service", "", "begins with its suffix"},
		{"@x.service", "", "begins with its suffix"},
		{"a b", "", `it has a ' '`},
		{"a/b", "", `it has a '/'`},
		{"a\x1b[31m", "", `it has a '\x1b'`},
		{"nginx*", "", `it has a '*'`},
		{"-rm;", "", `it has a ';'`},
		{"ünit", "", `it has a 'ü'`},
	} {
		name, err := UnitName(c.text)
		var wrong *NameError
		if name != c.name || (c.wrong == "") != (err == nil) || err != nil && (!errors.As(err, &wrong) || !strings.Contains(err.Error(), c.wrong)) {
			t.Errorf("%q is %q, %v", c.text, name, err)
		}
	}
	for text, want := range map[string]string{"php*": "php*", "[ab]?.timer": "[ab]?.timer", "nginx": "nginx.service"} {
		if got, err := UnitPattern(text); got != want || err != nil {
			t.Errorf("pattern %q is %q, %v", text, got, err)
		}
	}
	if _, err := UnitPattern("a*;"); err == nil {
		t.Error("a pattern may have a ;")
	}
	for name, is := range map[string]bool{"a@.service": true, "a@b.service": false, "a.service": false, "a@b@.service": false} {
		if Template(name) != is {
			t.Errorf("%s is a template: %v", name, !is)
		}
	}
	for name, want := range map[string]dbus.ObjectPath{"a-b.service": "a_2db_2eservice", "1x@y.timer": "_31x_40y_2etimer"} {
		if got := unitPath(name); got != "/org/freedesktop/systemd1/unit/"+want {
			t.Errorf("the path of %s is %s", name, got)
		}
	}
}

func TestJudge(t *testing.T) {
	past, now := time.Unix(1000, 0), time.Unix(2000, 0)
	before := Mark{Unit: "a.service", Invocation: "1", Checked: past}
	up := Mark{Unit: "a.service", Invocation: "1", Checked: past, Active: true}
	unit := func(state, sub string, change func(*Unit)) *Unit {
		u := &Unit{ID: "a.service", ActiveState: state, SubState: sub, Invocation: "2", Type: "simple", Result: "success", Condition: true, ConditionAt: now, StartTimeout: 90 * time.Second}
		if change != nil {
			change(u)
		}
		return u
	}
	failed := func(result string, code, status int) *Unit {
		return unit("failed", "failed", func(u *Unit) { u.Result, u.ExitCode, u.ExitStatus = result, code, status })
	}
	for _, c := range []struct {
		name, verb string
		before     Mark
		now        *Unit
		result     string
		says       string // empty: it is as it should be
	}{
		{"runs", "start", before, unit("active", "running", nil), "done", ""},
		{"ran to its end", "start", before, unit("inactive", "dead", nil), "done", ""},
		{"ran before already", "start", up, unit("active", "running", func(u *Unit) { u.Invocation = "1" }), "done", ""},
		{"never ran", "start", before, unit("inactive", "dead", func(u *Unit) { u.Invocation = "1" }), "done", "it is inactive (dead)"},
		{"condition", "start", before, unit("inactive", "dead", func(u *Unit) { u.Condition, u.Conditions = false, []string{"ConditionPathExists=/x"} }), "done", "its condition ConditionPathExists=/x is not met"},
		{"conditions", "start", before, unit("inactive", "dead", func(u *Unit) { u.Condition, u.Conditions = false, []string{"A=|b", "C=!d"} }), "done", "one of its conditions is not met: A=|b, C=!d"},
		{"a condition of before", "start", Mark{Unit: "a.service", Checked: now}, unit("inactive", "dead", func(u *Unit) { u.Condition = false }), "done", ""},
		{"assert", "start", before, unit("inactive", "dead", func(u *Unit) { u.Asserts = []string{"AssertX=1"} }), "assert", "its assert AssertX=1 is not met"},
		{"exit status", "start", before, failed("exit-code", 1, 3), "failed", "its process exited with status 3"},
		{"known exit status", "start", before, failed("exit-code", 1, 203), "failed", "its process exited with status 203 (its program cannot be executed)"},
		{"signal", "start", before, failed("signal", 2, 9), "failed", "its process was killed by SIGKILL"},
		{"core", "start", before, failed("core-dump", 3, 11), "failed", "its process was killed by SIGSEGV and dumped core"},
		{"before it", "start", before, unit("failed", "failed", func(u *Unit) {
			u.Result, u.Commands = "exit-code", []Command{{"ExecStartPre", "check", 1, 4}}
		}), "failed", "its ExecStartPre= (check) exited with status 4"},
		{"timeout", "start", before, failed("timeout", 0, 0), "failed", "it was not ready within 1m30s (TimeoutStartSec=)"},
		{"start limit", "start", before, failed("start-limit-hit", 0, 0), "failed", "reset-failed lets it start again"},
		{"protocol", "start", before, unit("failed", "failed", func(u *Unit) { u.Result, u.Type = "protocol", "notify" }), "failed", "without telling systemd that it is ready (Type=notify)"},
		{"again", "start", before, unit("activating", "auto-restart", func(u *Unit) { u.Result, u.ExitCode, u.ExitStatus = "exit-code", 1, 1 }), "done", "status 1; systemd starts it again"},
		{"canceled", "start", before, unit("inactive", "dead", nil), "canceled", "another job took its place"},
		{"job timeout", "start", before, unit("inactive", "dead", nil), "timeout", "JobTimeoutSec="},
		{"dependency", "start", before, unit("inactive", "dead", nil), "dependency", "a unit that it needs failed"},
		{"restarted", "restart", up, unit("active", "running", nil), "done", ""},
		{"not restarted", "restart", up, unit("active", "running", func(u *Unit) { u.Invocation = "1" }), "", "it goes on as before"},
		{"stopped", "stop", up, unit("inactive", "dead", nil), "done", ""},
		{"stopped and failed", "stop", up, failed("timeout", 0, 0), "done", ""},
		{"up again", "stop", up, unit("active", "running", nil), "done", "it is active again"},
		{"reloaded", "reload", up, unit("active", "running", nil), "done", ""},
		{"not reloaded", "reload", up, unit("active", "running", func(u *Unit) { u.Commands = []Command{{"ExecReload", "kill", 1, 2}}; u.Result = "exit-code" }), "failed", "its ExecReload= (kill) exited with status 2"},
	} {
		got := judge(c.verb, c.before, c.now, c.result)
		if (got == nil) != (c.says == "") || got != nil && !strings.Contains(got.Error(), c.says) {
			t.Errorf("%s: %v", c.name, got)
		}
		if got != nil && got.Superseded != (c.result == "canceled") {
			t.Errorf("%s: superseded %v", c.name, got.Superseded)
		}
	}
	for d, want := range map[time.Duration]string{time.Second: "1s", 90 * time.Second: "1m30s", time.Minute: "1m", 2 * time.Hour: "2h", 1500 * time.Millisecond: "1.5s"} {
		if got := brief(d); got != want {
			t.Errorf("%v is %s", d, got)
		}
	}
}

func TestJournalLines(t *testing.T) {
	entries := parseEntries([]byte(`{"MESSAGE":"text","SYSLOG_IDENTIFIER":"app","_PID":"7","_SYSTEMD_INVOCATION_ID":"1"}
{"MESSAGE":[104,105,255],"_COMM":"sh","_SYSTEMD_INVOCATION_ID":"1"}
{"MESSAGE":null,"SYSLOG_IDENTIFIER":"app","INVOCATION_ID":"1"}
{"MESSAGE":"of nobody","_COMM":"sh"}
{"MESSAGE":"of another run","_SYSTEMD_INVOCATION_ID":"2"}
{"MESSAGE":"of nobody of another run","_COMM":"sh"}
{"MESSAGE":"twice","SYSLOG_IDENTIFIER":["a","b"],"_COMM":"sh","INVOCATION_ID":"1"}
nonsense
{"MESSAGE":"` + strings.Repeat("x", maxLine+5) + `","_COMM":"sh","_SYSTEMD_INVOCATION_ID":"1"}`))
	want := []string{"app[7]: text", "sh: hi\xff", "app: (a message too long to be shown)", "sh: of nobody", "sh: twice", "sh: " + strings.Repeat("x", maxLine) + "…"}
	if got := linesOf(entries, "1"); strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("%q", got)
	}
	if got := linesOf(entries, ""); got != nil {
		t.Errorf("without a run: %q", got)
	}
}

func TestUnitFileList(t *testing.T) {
	path := filepath.Join(t.TempDir(), "list")
	listed := func(verb, name string) error { return UnitFileListed(path, os.Geteuid(), verb, name) }
	if err := listed("enable", "a.service"); !errors.Is(err, ErrNotListed) {
		t.Errorf("without a list: %v", err)
	}
	if err := os.WriteFile(path, []byte("# enable c.service\n  enable   a.service  # x\nmask b.service\ndisable *\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for change, is := range map[[2]string]bool{{"enable", "a.service"}: true, {"mask", "b.service"}: true, {"disable", "a.service"}: false,
		{"enable", "c.service"}: false, {"enable", "a"}: false, {"enable", ""}: false} {
		if err := listed(change[0], change[1]); (err == nil) != is || !is && !errors.Is(err, ErrNotListed) {
			t.Errorf("%v: %v", change, err)
		}
	}
	if err := os.Chmod(path, 0o664); err != nil {
		t.Fatal(err)
	}
	if err := listed("enable", "a.service"); err == nil || errors.Is(err, ErrNotListed) {
		t.Errorf("a list that others can write: %v", err)
	}
	if got := UnitFileHelper("enable", "tvsapp@1-2.service"); got != `tvsctld-unit-file@enable:tvsapp\x401\x2d2.service.service` {
		t.Errorf("the helper is %s", got)
	}
}

func TestFiles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.service")
	if err := os.WriteFile(path, []byte("[Service]\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	u := Unit{ID: "a.service", LoadState: "loaded", Fragment: path}
	if files, err := u.Files(); err != nil || len(files) != 1 || files[0] != (UnitFile{path, "[Service]\n"}) {
		t.Errorf("%+v, %v", files, err)
	}
	u = Unit{ID: "a.service", LoadState: "masked", Fragment: "/etc/systemd/system/a.service"}
	if files, err := u.Files(); err != nil || len(files) != 1 || files[0] != (UnitFile{u.Fragment, "# Unit a.service is masked.\n"}) {
		t.Errorf("a masked one: %+v, %v", files, err)
	}
}
