package daemon

import (
	"fmt"
	"strings"
	"testing"

	"tvsctl/ipc"
)

// audited are entries as journalctl --reverse prints them.
const audited = `{"__REALTIME_TIMESTAMP":"9000000","MESSAGE_ID":"` + string(eventSucceeded) + `","TVS_OPERATION":"op2","TVS_DURATION_MS":"12","TVS_AFTER":"3","MESSAGE":"Succeeded."}
{"__REALTIME_TIMESTAMP":"8000000","TVS_DECISION":"deny","TVS_USER":"bob","TVS_UID":"1001","TVS_LOGINUID":"1000","TVS_GIDS":"1001,990","TVS_PID":"77","TVS_VERB":"rollout","TVS_TARGET":"shop/webapp","TVS_RULE":"default","TVS_POLICY":"abcd","TVS_ERROR":"forbidden","MESSAGE":"Denied."}
{"__REALTIME_TIMESTAMP":"7000000","MESSAGE_ID":"` + string(eventFailed) + `","TVS_OPERATION":"op1","TVS_ERROR":"not-ready","MESSAGE":"Failed."}
{"__REALTIME_TIMESTAMP":"6000000","MESSAGE_ID":"` + string(eventRequested) + `","TVS_OPERATION":"op2","TVS_USER":"ana","TVS_UID":"1000","TVS_VERB":"scale","TVS_PROJECT":"tvs","TVS_BEFORE":"1","MESSAGE":"ana asks."}
{"__REALTIME_TIMESTAMP":"5000000","MESSAGE_ID":"` + string(eventRefused) + `","TVS_UID":"4294000000","TVS_ERROR":"unknown-service","MESSAGE":"Refused."}
{"__REALTIME_TIMESTAMP":"4000000","TVS_DECISION":"allow","TVS_OPERATION":"op1","TVS_USER":"ana","TVS_UID":"1000","TVS_VERB":"start","TVS_PROJECT":"tvs","TVS_SERVICE":"webapp","MESSAGE":"Allowed."}`

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
