package ipc

import "time"

// MaxAudit bounds how many entries of the audit may be asked for.
const MaxAudit = 10_000

// Decision is what became of a request before anything was done.
type Decision string

const (
	Allow Decision = "allow"
	Deny  Decision = "deny"
)

// AuditEntry is a request that was decided on, and its outcome, from the journal.
type AuditEntry struct {
	Time       time.Time `json:"time"`
	User       string    `json:"user"`
	UID        *uint32   `json:"uid,omitempty"`
	LoginUID   *uint32   `json:"login_uid,omitempty"` // who logged in, whoever it became
	GIDs       string    `json:"gids,omitempty"`
	PID        int       `json:"pid,omitempty"`
	Verb       string    `json:"verb"`
	Target     string    `json:"target"` // PROJECT, PROJECT/SERVICE or unit:NAME
	Decision   Decision  `json:"decision"`
	Rule       string    `json:"rule,omitempty"`   // that decided
	Policy     string    `json:"policy,omitempty"` // names the policy of that time
	Operation  string    `json:"operation,omitempty"`
	Before     string    `json:"before,omitempty"`
	After      string    `json:"after,omitempty"`
	Result     string    `json:"result,omitempty"` // succeeded, failed, refused; empty: not known, or not yet
	Error      Code      `json:"error,omitempty"`
	DurationMS *int64    `json:"duration_ms,omitempty"`
	Message    string    `json:"message"` // the outcome's sentence, else the request's
}
