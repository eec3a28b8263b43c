package daemon

import (
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"tvsctl/dockerops/enginetest"
	"tvsctl/ipc"
	"tvsctl/policy"
	"tvsctl/systemd"
)

func (d *Daemon) rule(t *testing.T, rules string) {
	t.Helper()
	p, err := policy.Parse("test.toml", []byte(rules))
	if err != nil {
		t.Fatal(err)
	}
	d.rules.Store(p)
}

// Why a replica did not become ready is told to all who may know of the operation, the
// lines of its log only to who may read that, however they ask.
func TestLogsInOperationsAreForWhoMayReadThem(t *testing.T) {
	s := newStack(t)
	until(t, "the guard publishes", func() bool { return s.members() == "172.20.0.1:8080" })
	s.OnStart = func(c *enginetest.Container) { c.State, c.ExitCode, c.Logs = "exited", 3, "out of luck\n" }
	entries, stop := s.d.log.follow()
	o := s.do(t, "scale", scaleRequest(2))
	stop()
	for e := range entries {
		if strings.Contains(e.Message, "out of luck") {
			t.Errorf("it is told to all who follow: %q", e.Message)
		}
	}
	if !strings.Contains(s.journal.String(), "exited with code 3; what was new has been removed again\nout of luck") {
		t.Errorf("the journal lacks the lines:\n%s", s.journal)
	}
	s.d.rule(t, `
[[rule]]
groups = [990, 991]
role = "operator"
[[rule]]
groups = [991]
effect = "deny"
verbs = ["logs"]
services = ["webapp"]
`)
	ask := func(group uint32, answer handler, query string) string {
		t.Helper()
		r := asking(t, stranger, group)
		r.SetPathValue("id", o.ID)
		r.URL.RawQuery = query
		reply, err := answer(s.d, r)
		if err != nil {
			t.Fatal(err)
		}
		recorder := httptest.NewRecorder()
		if told, streams := reply.(stream); streams {
			told(recorder, r)
		} else {
			send(recorder, 200, reply)
		}
		return recorder.Body.String()
	}
	for range 2 {
		for name, answer := range map[string]handler{"the list": getOperations, "one": getOperation, "its events": getEvents} {
			for group, may := range map[uint32]bool{990: true, 991: false} {
				text := ask(group, answer, "")
				if !strings.Contains(text, "exited with code 3") || strings.Contains(text, "out of luck") != may {
					t.Errorf("group %d, %s: %s", group, name, text)
				}
			}
		}
		s.d.mu.Lock()
		s.d.recent = nil // from now on it is told from its record
		s.d.mu.Unlock()
	}
}

// Of what is not lines of a log nobody is kept from reading it.
func TestWithoutLog(t *testing.T) {
	for _, c := range []struct {
		log  *ipc.Excerpt
		want string
	}{
		{nil, "why one two"}, {&ipc.Excerpt{Service: "web", Lines: 2}, "why"}, {&ipc.Excerpt{Unit: "a.service", Lines: 9}, ""},
	} {
		e := &ipc.Error{Message: "it failed", Detail: []string{"why", "one", "two"}, Log: c.log}
		if got := withoutLog(e); strings.Join(got.Detail, " ") != c.want || got.Log != nil || got.Message != e.Message || len(e.Detail) != 3 {
			t.Errorf("%+v: %+v", c.log, got)
		}
	}
}

func TestReadsExcerpt(t *testing.T) {
	d, journal := ruled(t, narrow+"[[rule]]\ngroups = [990]\nrole = 'viewer'\nunits = ['*']\n[[rule]]\ngroups = [990]\neffect = 'deny'\nunits = ['db.service']\n")
	for _, c := range []struct {
		of    ipc.Excerpt
		reads bool
	}{
		{ipc.Excerpt{Service: "web"}, true}, {ipc.Excerpt{Service: "vault"}, false}, {ipc.Excerpt{}, false},
		{ipc.Excerpt{Unit: "app.service"}, true}, {ipc.Excerpt{Unit: "db.service"}, false}, {ipc.Excerpt{Unit: ownUnit}, false},
	} {
		if got := d.readsExcerpt(asking(t, stranger, 990).Context(), "shop", c.of); got != c.reads {
			t.Errorf("%+v: %v", c.of, got)
		}
		if !d.readsExcerpt(asking(t, 0).Context(), "shop", c.of) {
			t.Errorf("%+v: not for root", c.of)
		}
	}
	if journal.Len() > 0 {
		t.Errorf("that is no refusal: %s", journal)
	}
}

// What fails a job may be another unit than the one that was to be started.
func TestExplainSaysWhoseLinesTheyAre(t *testing.T) {
	fakeJournal(t, `echo '{"MESSAGE":"boom","_SYSTEMD_INVOCATION_ID":"i"}'`)
	d, _ := ruled(t, "")
	err := describeError(d.explain(t.Context(), &systemd.FailedError{Unit: "app.service", Verb: "start", Text: "it failed", Of: "db.service", Invocation: "i"}))
	if len(err.Detail) != 1 || err.Log == nil || *err.Log != (ipc.Excerpt{Unit: "db.service", Lines: 1}) {
		t.Errorf("%+v", err)
	}
	// Of an instance it is the service.
	s := newInstanceStack(t, "notify")
	s.OnJob = func(verb, unit string) (map[string]any, string) {
		if verb == "start" && unit == "app@25000.service" {
			return map[string]any{"ActiveState": "failed", "SubState": "failed", "Result": "exit-code", "InvocationID": []byte{7}}, "failed"
		}
		return nil, "done"
	}
	fakeJournal(t, `echo '{"MESSAGE":"boom","_SYSTEMD_INVOCATION_ID":"07"}'`)
	o := s.run(t).do(t, "scale", webTo(1))
	if o.Error == nil || len(o.Error.Detail) != 1 || *o.Error.Log != (ipc.Excerpt{Service: "web", Lines: 1}) {
		t.Errorf("%+v", o.Error)
	}
}

// A unit's status has lines of its journal for who may read that. For others journalctl is
// not even started.
func TestStatusOfAUnitHasLinesForWhoMayReadThem(t *testing.T) {
	s := newInstanceStack(t, "notify")
	s.run(t)
	s.Set("db.service", map[string]any{"ActiveState": "active", "InvocationID": []byte{7}})
	s.Set("app@1.service", map[string]any{"ActiveState": "failed", "InvocationID": []byte{7}})
	s.d.rule(t, "[[rule]]\ngroups = [990, 991]\nrole = 'viewer'\nunits = ['*']\n[[rule]]\ngroups = [991]\neffect = 'deny'\nverbs = ['logs']\nunits = ['*']\n")
	arguments := fakeJournal(t, `echo '{"MESSAGE":"boom","_SYSTEMD_INVOCATION_ID":"07"}'`)
	for _, c := range []struct {
		unit, query string
		group       uint32
		code        ipc.Code
		lines       int
	}{
		{"db.service", "lines=5", 991, "", 0}, {"app@1.service", "", 991, "", 0}, {"db.service", "lines=5", 992, ipc.CodeForbidden, 0},
		{"db.service", "lines=5", 990, "", 1}, {"db.service", "", 990, "", 0}, {"app@1.service", "", 990, "", 1}, {"db.service", "lines=0", 990, "", 0},
	} {
		r := asking(t, stranger, c.group)
		r.SetPathValue("unit", c.unit)
		r.URL.RawQuery = c.query
		reply, err := getUnit(s.d, r)
		if err != nil && describeError(err).Code != c.code || err == nil && c.code != "" {
			t.Errorf("%+v: %v", c, err)
		}
		if unit, _ := reply.(ipc.Unit); len(unit.Journal) != c.lines || err == nil && unit.Name != c.unit {
			t.Errorf("%+v: %+v", c, unit)
		}
		if text, err := os.ReadFile(arguments); c.lines == 0 && err == nil {
			t.Errorf("%+v: journalctl is run with %s", c, text)
		}
		_ = os.Remove(arguments)
	}
}

// Who may audit but not read logs hears what failed, and no lines.
func TestAuditHasNoLinesOfLogs(t *testing.T) {
	e := describeAudit(journalEntry{"MESSAGE": "ana asks."}, journalEntry{"MESSAGE": "Failed to start a: it ended\nsecret", "MESSAGE_ID": string(eventFailed)})
	if e.Message != "Failed to start a: it ended" || e.Result != "failed" {
		t.Errorf("%+v", e)
	}
}
