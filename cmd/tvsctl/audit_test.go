package main

import (
	"net/url"
	"strings"
	"testing"

	"tvsctl/ipc"
)

func TestAuditCommand(t *testing.T) {
	list := []ipc.AuditEntry{
		{Time: clock, User: "ana", Verb: "scale", Target: "tvs/webapp", Decision: ipc.Allow, Result: "succeeded", Rule: "operators", Operation: "op1"},
		{Time: at(1), User: "bob", Verb: "rollout", Target: "unit:x\x1b", Decision: ipc.Deny, Result: "refused", Error: ipc.CodeForbidden, Rule: "default"},
	}
	daemon := newFake(t, map[string]any{"GET /audit?limit=100": list, "GET /audit?limit=1&user=eve": []ipc.AuditEntry{},
		"GET /audit?limit=100&since=" + url.QueryEscape("2026-11-20T00:00:00Z"): list[1:]})
	rows := strings.Split(daemon.tvsctl("audit").out, "\n")
	first, second := clock.Local().Format("2006-01-02 15:04:05"), at(1).Local().Format("2006-01-02 15:04:05")
	for i, want := range []string{
		"TIME USER VERB TARGET DECISION RESULT RULE OPERATION",
		first + " ana scale tvs/webapp allow succeeded operators op1",
		second + " bob rollout unit:x? deny refused (forbidden) default",
	} {
		if got := strings.Join(strings.Fields(rows[i]), " "); got != want {
			t.Errorf("row %d is %q, not %q", i, got, want)
		}
	}
	equal(t, "nothing", daemon.tvsctl("audit", "-n", "1", "--user", "eve").out, "nothing was asked for\n")
	contains(t, "as JSON", daemon.tvsctl("audit", "--json", "--since", "2026-11-20T00:00:00Z").out, `"user": "bob"`)
	for _, args := range [][]string{{"-n", "0"}, {"-n", "10001"}, {"--since", "never"}} {
		if got := daemon.tvsctl(append([]string{"audit"}, args...)...); got.status != ipc.ExitUsage {
			t.Errorf("%q: %+v", args, got)
		}
	}
}
