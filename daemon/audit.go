package daemon

import (
	"cmp"
	"net/http"
	"os/user"
	"slices"
	"strconv"
	"strings"
	"time"

	"tvsctl/ipc"
)

// ownUnit is the daemon's own.
const ownUnit = "tvsctld.service"

// auditUnit is whose entries are the audit. The journal itself notes of which unit an
// entry comes: what others write as tvsctld is none.
const auditUnit = "_SYSTEMD_UNIT=" + ownUnit

const (
	auditDefault = 100
	// auditOutcomes bounds how many outcomes wait for the request that they belong to.
	auditOutcomes = 4096
)

// getAudit reads back what was asked, decided and done, oldest first.
func getAudit(d *Daemon, r *http.Request) (any, error) {
	query, limit := r.URL.Query(), auditDefault
	if text := query.Get("limit"); text != "" {
		n, err := strconv.ParseUint(text, 10, 32)
		if err != nil || n < 1 || n > ipc.MaxAudit {
			return nil, badRequest("cannot read the audit: limit %q is not a number from 1 to %d", text, ipc.MaxAudit)
		}
		limit = int(n)
	}
	a := audit{user: query.Get("user"), limit: limit, entries: []ipc.AuditEntry{}, outcomes: map[string]journalEntry{}}
	if u, err := user.Lookup(a.user); err == nil {
		a.uid = u.Uid
	}
	q := journalQuery{lines: -1, reverse: true}
	if text := query.Get("since"); text != "" {
		var err error
		if q.since, err = time.Parse(time.RFC3339, text); err != nil {
			return nil, badRequest("cannot read the audit: since %q: %v", text, err)
		}
	}
	q.matches = []string{auditUnit, "TVS_DECISION=allow", "TVS_DECISION=deny", "+", auditUnit}
	for _, event := range []logEvent{eventRequested, eventRefused, eventRefusals, eventSucceeded, eventFailed, eventExecEnded} {
		q.matches = append(q.matches, "MESSAGE_ID="+string(event))
	}
	// Newest first: what was asked for comes after its outcome, and the last ones suffice.
	if err := d.readJournal(r.Context(), q, a.take); err != nil {
		return nil, err
	}
	if err := r.Context().Err(); err != nil {
		return nil, &ipc.Error{Code: ipc.CodeBusy, Message: "cannot read the audit: the journal is not read within " + requestDeadline.String(),
			Hint: "ask for less, with --since or -n"}
	}
	slices.Reverse(a.entries)
	return a.entries, nil
}

// audit collects entries, newest first.
type audit struct {
	user, uid string // "": of all
	limit     int
	entries   []ipc.AuditEntry
	outcomes  map[string]journalEntry // by what they are of
	order     []string                // of the keys of outcomes
}

// take takes up the next older entry. It returns false when there are enough.
func (a *audit) take(e journalEntry) bool {
	// Whoever cancels an operation did not ask for it: the outcome is not his.
	key := e["TVS_OPERATION"] + e["TVS_SESSION"] + " " + e["TVS_VERB"]
	if isOutcome(e) && e["TVS_DECISION"] == "" {
		if a.outcomes[key] == nil {
			a.outcomes[key] = e
			if a.order = append(a.order, key); len(a.order) > auditOutcomes {
				delete(a.outcomes, a.order[0])
				a.order = a.order[1:]
			}
		}
		return true
	}
	if a.user != "" && e["TVS_USER"] != a.user && e["TVS_UID"] != cmp.Or(a.uid, a.user) {
		return true
	}
	outcome := a.outcomes[key]
	if isOutcome(e) {
		outcome = e // done at once, with one entry for all
	}
	a.entries = append(a.entries, describeAudit(e, outcome))
	return len(a.entries) < a.limit
}

func isOutcome(e journalEntry) bool {
	return slices.Contains([]logEvent{eventSucceeded, eventFailed, eventExecEnded, eventDeclared}, logEvent(e["MESSAGE_ID"]))
}

// describeAudit makes one entry of a request and its outcome, which may be nil.
func describeAudit(e, outcome journalEntry) ipc.AuditEntry {
	entry := ipc.AuditEntry{Time: e.time(), User: cmp.Or(e["TVS_USER"], userName(e["TVS_UID"])), UID: auditID(e["TVS_UID"]), LoginUID: auditID(e["TVS_LOGINUID"]),
		GIDs: e["TVS_GIDS"], Verb: e["TVS_VERB"], Target: e["TVS_TARGET"], Decision: ipc.Decision(e["TVS_DECISION"]), Rule: e["TVS_RULE"],
		Policy: e["TVS_POLICY"], Operation: e["TVS_OPERATION"], Before: e["TVS_BEFORE"], After: e["TVS_AFTER"],
		Error: ipc.Code(e["TVS_ERROR"]), Message: e["MESSAGE"]}
	entry.PID, _ = strconv.Atoi(e["TVS_PID"])
	if entry.Target == "" {
		entry.Target = strings.TrimSuffix(e["TVS_PROJECT"]+"/"+e["TVS_SERVICE"], "/")
	}
	if event := logEvent(e["MESSAGE_ID"]); event == eventRefused || event == eventRefusals {
		entry.Result = "refused"
	}
	if entry.Decision == "" { // of a daemon without a policy
		if entry.Decision = ipc.Allow; entry.Error == ipc.CodeForbidden {
			entry.Decision = ipc.Deny
		}
	}
	if outcome != nil {
		entry.Message, entry.Error, entry.Result = outcome["MESSAGE"], ipc.Code(outcome["TVS_ERROR"]), "succeeded"
		entry.Before, entry.After = cmp.Or(outcome["TVS_BEFORE"], entry.Before), cmp.Or(outcome["TVS_AFTER"], entry.After)
		// What comes after the sentence may be of a log.
		entry.Message, _, _ = strings.Cut(entry.Message, "\n")
		if logEvent(outcome["MESSAGE_ID"]) == eventFailed || entry.Error != "" || cmp.Or(outcome["TVS_EXIT_STATUS"], "0") != "0" {
			entry.Result = "failed"
		}
	}
	if ms, err := strconv.ParseInt(cmp.Or(outcome["TVS_DURATION_MS"], e["TVS_DURATION_MS"]), 10, 64); err == nil {
		entry.DurationMS = &ms
	}
	return entry
}

func auditID(text string) *uint32 {
	n, err := strconv.ParseUint(text, 10, 32)
	if err != nil {
		return nil
	}
	small := uint32(n)
	return &small
}

func userName(uid string) string {
	if u, err := user.LookupId(uid); err == nil {
		return u.Username
	}
	return uid
}
