package daemon

import (
	"fmt"
	"strings"
	"testing"

	"tvsctl/ipc"
)

// audited are entries as journalctl --reverse prints them.
const audited = `{"__REALTIME_TIMESTAMP":"9000000","MESSAGE_ID":"` + string(eventSucceeded) + `","TVS_OPERATION":"op2","TVS_VERB":"scale","TVS_DURATION_MS":"12","TVS_AFTER":"3","MESSAGE":"Succeeded."}
{"__REALTIME_TIMESTAMP":"8000000","TVS_DECISION":"deny","TVS_USER":"bob","TVS_UID":"1001","TVS_LOGINUID":"1000","TVS_GIDS":"1001,990","TVS_PID":"77","TVS_VERB":"rollout","TVS_TARGET":"shop/webapp","TVS_RULE":"default","TVS_POLICY":"abcd","TVS_ERROR":"forbidden","MESSAGE":"Denied."}
{"__REALTIME_TIMESTAMP":"7000000","MESSAGE_ID":"` + string(eventFailed) + `","TVS_OPERATION":"op1","TVS_VERB":"start","TVS_ERROR":"not-ready","MESSAGE":"Failed."}
{"__REALTIME_TIMESTAMP":"6000000","MESSAGE_ID":"` + string(eventRequested) + `","TVS_OPERATION":"op2","TVS_USER":"ana","TVS_UID":"1000","TVS_VERB":"scale","TVS_PROJECT":"tvs","TVS_BEFORE":"1","MESSAGE":"ana asks."}
{"__REALTIME_TIMESTAMP":"5000000","MESSAGE_ID":"` + string(eventRefused) + `","TVS_UID":"4294000000","TVS_ERROR":"unknown-service","MESSAGE":"Refused."}
{"__REALTIME_TIMESTAMP":"4000000","TVS_DECISION":"allow","TVS_OPERATION":"op1","TVS_USER":"ana","TVS_UID":"1000","TVS_VERB":"start","TVS_PROJECT":"tvs","TVS_SERVICE":"webapp","MESSAGE":"Allowed."}`

// atOnce are entries of what is no operation: a session, a cancel, what is done at once,
// and a denial of before that has nothing to do with any of them.
const atOnce = `{"__REALTIME_TIMESTAMP":"9000000","MESSAGE_ID":"` + string(eventExecEnded) + `","TVS_SESSION":"s1","TVS_VERB":"exec","TVS_EXIT_STATUS":"3","TVS_DURATION_MS":"12","MESSAGE":"Ended."}
{"__REALTIME_TIMESTAMP":"8000000","MESSAGE_ID":"` + string(eventSucceeded) + `","TVS_DECISION":"allow","TVS_USER":"root","TVS_UID":"0","TVS_VERB":"reset-failed","TVS_TARGET":"a.service","MESSAGE":"Reset."}
{"__REALTIME_TIMESTAMP":"7000000","MESSAGE_ID":"` + string(eventDeclared) + `","TVS_DECISION":"allow","TVS_USER":"root","TVS_UID":"0","TVS_VERB":"declare","TVS_TARGET":"shop","TVS_AFTER":"/srv/compose.yaml","MESSAGE":"Declared."}
{"__REALTIME_TIMESTAMP":"6000000","MESSAGE_ID":"` + string(eventFailed) + `","TVS_OPERATION":"op1","TVS_VERB":"scale","TVS_ERROR":"canceled","MESSAGE":"Canceled."}
{"__REALTIME_TIMESTAMP":"5000000","MESSAGE_ID":"` + string(eventRequested) + `","TVS_DECISION":"allow","TVS_OPERATION":"op1","TVS_USER":"bob","TVS_UID":"1001","TVS_VERB":"cancel","TVS_TARGET":"shop/webapp","MESSAGE":"bob cancels."}
{"__REALTIME_TIMESTAMP":"4000000","MESSAGE_ID":"` + string(eventRequested) + `","TVS_DECISION":"allow","TVS_OPERATION":"op1","TVS_USER":"ana","TVS_UID":"1000","TVS_VERB":"scale","TVS_TARGET":"shop/webapp","MESSAGE":"ana asks."}
{"__REALTIME_TIMESTAMP":"3000000","MESSAGE_ID":"` + string(eventExecBegun) + `","TVS_DECISION":"allow","TVS_SESSION":"s1","TVS_USER":"root","TVS_UID":"0","TVS_VERB":"exec","TVS_TARGET":"shop/webapp","MESSAGE":"root runs."}
{"__REALTIME_TIMESTAMP":"2000000","TVS_DECISION":"deny","TVS_USER":"bob","TVS_UID":"1001","TVS_VERB":"stop","TVS_TARGET":"a.service","TVS_ERROR":"forbidden","MESSAGE":"Denied."}`

func TestAuditOfWhatIsDoneAtOnce(t *testing.T) {
	fakeJournal(t, "cat <<'END'\n"+atOnce+"\nEND")
	s := newStack(t)
	var list []ipc.AuditEntry
	if err := s.Get(t.Context(), "/audit", &list); err != nil {
		t.Fatal(err)
	}
	want := []string{"2 bob stop deny  forbidden Denied.", "3 root exec allow failed  Ended.", "4 ana scale allow failed canceled Canceled.",
		"5 bob cancel allow   bob cancels.", "7 root declare allow succeeded  Declared.", "8 root reset-failed allow succeeded  Reset."}
	for i, e := range list {
		got := fmt.Sprint(e.Time.Unix(), " ", e.User, " ", e.Verb, " ", e.Decision, " ", e.Result, " ", e.Error, " ", e.Message)
		if i >= len(want) || got != want[i] {
			t.Errorf("%d: %q", i, got)
		}
	}
	if len(list) != len(want) || *list[1].DurationMS != 12 || list[4].After != "/srv/compose.yaml" {
		t.Errorf("%+v", list)
	}
}

func TestAudit(t *testing.T) {
	arguments := fakeJournal(t, "cat <<'END'\n"+audited+"\nEND")
	s := newStack(t)
	for _, c := range []struct{ query, want string }{
		{"", "4 ana start tvs/webapp allow failed not-ready op1|5 4294000000   allow refused unknown-service |6 ana scale tvs allow succeeded  op2|8 bob rollout shop/webapp deny  forbidden "},
		{"?user=ana", "4 ana start tvs/webapp allow failed not-ready op1|6 ana scale tvs allow succeeded  op2"},
		{"?user=1001", "8 bob rollout shop/webapp deny  forbidden "},
		{"?user=nobody-of-that-name", ""},
		{"?limit=1", "8 bob rollout shop/webapp deny  forbidden "},
		{"?limit=2&since=2026-01-01T00:00:00Z", "6 ana scale tvs allow succeeded  op2|8 bob rollout shop/webapp deny  forbidden "},
	} {
		var list []ipc.AuditEntry
		if err := s.Get(t.Context(), "/audit"+c.query, &list); err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, e := range list {
			got = append(got, fmt.Sprint(e.Time.Unix(), " ", e.User, " ", e.Verb, " ", e.Target, " ", e.Decision, " ", e.Result, " ", e.Error, " ", e.Operation))
		}
		if strings.Join(got, "|") != c.want {
			t.Errorf("%s: %q", c.query, got)
		}
		if c.query == "" {
			if e := list[3]; *e.UID != 1001 || *e.LoginUID != 1000 || e.GIDs != "1001,990" || e.PID != 77 || e.Rule != "default" || e.Policy != "abcd" {
				t.Errorf("%+v", e)
			}
			if e := list[2]; e.Before != "1" || e.After != "3" || *e.DurationMS != 12 || e.Message != "Succeeded." {
				t.Errorf("%+v", e)
			}
		}
	}
	// Entries that others write with our name are none: the unit is what the journal notes.
	first, _, _ := strings.Cut(readFile(t, arguments), "\n.\n")
	groups := strings.Split(first, "\n+\n")
	if len(groups) != 2 || !strings.Contains(groups[0], "\n_SYSTEMD_UNIT=tvsctld.service\n") || !strings.HasPrefix(groups[1], "_SYSTEMD_UNIT=tvsctld.service\n") {
		t.Errorf("journalctl gets %q", groups)
	}
	for _, query := range []string{"?limit=0", "?limit=10001", "?limit=x", "?since=yesterday"} {
		if err := s.Get(t.Context(), "/audit"+query, nil); describeError(err).Code != ipc.CodeBadRequest {
			t.Errorf("%s: %v", query, err)
		}
	}
}
