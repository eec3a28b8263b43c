package daemon

import (
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tvsctl/ipc"
	"tvsctl/policy"
)

// deny lets a user ask for what no rule allows.
func deny(t *testing.T, d *Daemon, uid uint32, verb policy.Verb, times int) {
	t.Helper()
	for range times {
		if err := d.permit(asking(t, uid).Context(), policy.Request{Verb: verb}); err == nil {
			t.Fatal("allowed")
		}
	}
}

// However often one user is refused, the journal gets few entries of it, all refusals are
// counted, and what others ask for is on record as ever.
func TestRefusalsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, _ := ruled(t, "[[rule]]\ngroups = [990]\nrole = 'admin'\n")
		journal := &journalBuffer{}
		d.log = &logbook{out: journal}
		deny(t, d, stranger, policy.Audit, 5000)
		deny(t, d, stranger, policy.Scale, 2)
		deny(t, d, stranger+1, policy.Up, 3)
		if err := d.permit(asking(t, stranger+2, 990).Context(), policy.Request{Verb: policy.Audit}); err != nil {
			t.Fatal(err)
		}
		expect := func(when string, uid, denials int, sums ...string) {
			t.Helper()
			if n := strings.Count(journal.String(), fmt.Sprintf("Denied %d:", uid)); n != denials {
				t.Errorf("%s: %d entries of denials of %d, want %d", when, n, uid, denials)
			}
			if n := strings.Count(journal.String(), fmt.Sprintf("Refused %d", uid)); n != len(sums) {
				t.Errorf("%s: %d sums of %d, want %d", when, n, uid, len(sums))
			}
			for _, sum := range sums {
				if !strings.Contains(journal.String(), sum) {
					t.Errorf("%s: no %q", when, sum)
				}
			}
		}
		expect("at once", stranger, refusalsSingly)
		expect("at once", stranger+1, 3)
		if n := strings.Count(journal.String(), "Allowed 4000000002 to audit"); n != 1 {
			t.Errorf("what is allowed has %d entries", n)
		}
		time.Sleep(refusalsSummed + time.Second)
		const first = "Refused 4000000000 4752 more within 10s: audit 4750 times, scale 2 times. TVS_COUNT=4752 TVS_DECISION=deny"
		expect("later", stranger, refusalsSingly, first)
		// Who goes on gets an entry now and then, and sums.
		deny(t, d, stranger, policy.Audit, 7)
		time.Sleep(refusalsSummed + time.Second)
		expect("going on", stranger, refusalsSingly+1, first, "Refused 4000000000 6 more within 10s: audit 6 times. TVS_COUNT=6")
		time.Sleep(time.Minute)
		expect("nothing more", stranger, refusalsSingly+1, first, "TVS_COUNT=6")
		expect("the other", stranger+1, 3)
		time.Sleep(refusalsSingly * refusalEvery)
		deny(t, d, stranger, policy.Audit, refusalsSingly)
		expect("after a rest", stranger, 2*refusalsSingly+1, first, "TVS_COUNT=6")
	})
}

// Requests that are wrong are bounded like those that are denied; a sum of them says nothing
// of a decision. A daemon that ends sums up what waits for that.
func TestWrongRequestsAreBounded(t *testing.T) {
	d, _ := ruled(t, "")
	journal := &journalBuffer{}
	d.log = &logbook{out: journal}
	for range refusalsSingly + 9 {
		d.fail(httptest.NewRecorder(), asking(t, stranger), &ipc.Error{Code: ipc.CodeUnknownRoute, Message: "no"})
	}
	deny(t, d, stranger, policy.Up, 1)
	d.refusals.sum(d.log)
	d.refusals.sum(d.log)
	text := journal.String()
	if n := strings.Count(text, `Refused POST "/v1/x"`); n != refusalsSingly {
		t.Errorf("%d entries", n)
	}
	if n := strings.Count(text, "more within 10s: unknown-route 9 times. TVS_COUNT=9 TVS_UID=4000000000"); n != 1 || strings.Count(text, "TVS_DECISION=deny") != 1 {
		t.Errorf("%d sums: %s", n, text[max(0, len(text)-600):])
	}
}

// Of however many users, the refusals that are counted apart are bounded, and none is lost.
func TestRefusalsOfManyUsers(t *testing.T) {
	d, _ := ruled(t, "")
	journal := &journalBuffer{}
	d.log = &logbook{out: journal}
	for uid := range uint32(maxRefused + refusalsSingly + 5) {
		d.refusals.note(d.log, eventRefused, peer{UID: uid + stranger}, "connect", "No.", nil)
	}
	d.refusals.sum(d.log)
	if n := strings.Count(journal.String(), "No."); n != maxRefused+refusalsSingly || !strings.Contains(journal.String(), "TVS_COUNT=5") || len(d.refusals.spent) != maxRefused+1 {
		t.Errorf("%d entries, %d users, %s", n, len(d.refusals.spent), journal.String()[max(0, len(journal.String())-200):])
	}
}
