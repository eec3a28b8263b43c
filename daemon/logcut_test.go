package daemon

import (
	"context"
	"path/filepath"
	"strings"
	"testing"

	"tvsctl/ipc"
)

// cutJournal is a journalctl that has two entries and is killed as it follows, the first
// time; then it has a third one.
func cutJournal(t *testing.T) (arguments string) {
	t.Helper()
	once := filepath.Join(t.TempDir(), "once")
	return fakeJournal(t, `case "$*" in
*--follow*--lines=0*) [ -e `+once+` ] || { : >`+once+`; kill -9 $$; }; exec sleep 60 ;;
*--after-cursor=c2*) printf '{"__CURSOR":"c3","__REALTIME_TIMESTAMP":"3000000","MESSAGE":"three"}\n'; exec sleep 60 ;;
*--follow*) printf '{"__CURSOR":"c1","__REALTIME_TIMESTAMP":"1000000","MESSAGE":"one"}\n{"__CURSOR":"c2","__REALTIME_TIMESTAMP":"2000000","MESSAGE":"two"}\n'; kill -9 $$ ;;
esac
`)
}

// A journalctl that is killed does not end what is followed, and no entry comes twice.
func TestLogsOfAUnitOutliveJournalctl(t *testing.T) {
	cutJournal(t)
	d, _ := ruled(t, "")
	ctx, cancel := context.WithCancel(asking(t, 0).Context())
	defer cancel()
	var got logLines
	err := d.tellLogs(ctx, ipc.LogRequest{Units: []string{"x.service"}, Follow: true, Tail: -1}, func(line ipc.LogLine) error {
		if got.add(line); strings.HasSuffix(got.String(), "three") {
			cancel()
		}
		return nil
	}, func() error { return nil })
	if want := "x.service:one x.service:two x.service:three"; err != nil || got.String() != want {
		t.Errorf("%q, %v", got.String(), err)
	}
}

// Where only new entries are wanted, those are read that came since it began to follow.
func TestLogsOfAUnitWithoutPastOutliveJournalctl(t *testing.T) {
	arguments := cutJournal(t)
	d, _ := ruled(t, "")
	ctx, cancel := context.WithCancel(asking(t, 0).Context())
	ended := make(chan error)
	go func() {
		ended <- d.tellLogs(ctx, ipc.LogRequest{Units: []string{"x.service"}, Follow: true, Tail: 0}, func(ipc.LogLine) error {
			cancel()
			return nil
		}, func() error { return nil })
	}()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	calls := strings.Split(readFile(t, arguments), "\n.\n")
	if len(calls) < 2 || strings.Contains(calls[0], "--since") || !strings.Contains(calls[1], "--since=") || !strings.Contains(calls[1], "--lines=all") {
		t.Errorf("journalctl gets %q", calls)
	}
}

// What is read of the past is not taken for all of it where journalctl was killed.
func TestLogsOfAUnitSayThatTheyAreCut(t *testing.T) {
	fakeJournal(t, `echo '{"__CURSOR":"c1","MESSAGE":"one"}'; kill -9 $$`)
	d, _ := ruled(t, "")
	for _, tail := range []int{-1, 5} {
		var got logLines
		tell := func(line ipc.LogLine) error { got.add(line); return nil }
		err := d.tellLogs(asking(t, 0).Context(), ipc.LogRequest{Units: []string{"x.service"}, Tail: tail}, tell, func() error { return nil })
		if want := "x.service:one x.service!cannot read the journal: journalctl: signal: killed"; err != nil || got.String() != want {
			t.Errorf("%q, %v", got.String(), err)
		}
	}
}

// In a project of units one whose journal cannot be read any more is that once, until it
// is started again; then it goes on after what was told.
func TestLogsOfInstancesTellNothingTwice(t *testing.T) {
	s := newInstanceStack(t, "notify").run(t)
	s.do(t, "scale", webTo(1))
	fakeJournal(t, `case "$*" in
*app@25001*--follow*|*--follow*app@25001*) printf '{"__CURSOR":"d1","__REALTIME_TIMESTAMP":"5000000","MESSAGE":"other"}\n'; exec sleep 60 ;;
*app@25001*) ;;
*--after-cursor=c3*) exec sleep 60 ;;
*--after-cursor=c2*--follow*) echo 'it is broken' >&2; exit 1 ;;
*--after-cursor=c2*) printf '{"__CURSOR":"c3","__REALTIME_TIMESTAMP":"6000000","MESSAGE":"three"}\n' ;;
*--follow*) printf '{"__CURSOR":"c1","__REALTIME_TIMESTAMP":"1000000","MESSAGE":"one"}\n{"__CURSOR":"c2","__REALTIME_TIMESTAMP":"2000000","MESSAGE":"two"}\n'; kill -9 $$ ;;
esac
`)
	ctx, cancel := context.WithCancel(asking(t, 0).Context())
	ended := make(chan error, 1)
	var got logLines
	go func() {
		tell := func(line ipc.LogLine) error { got.add(line); return nil }
		ended <- s.d.tellLogs(ctx, ipc.LogRequest{Project: "shop", Services: []string{"web"}, Follow: true, Tail: -1}, tell, func() error { return nil })
	}()
	const first, second = "app@25000.service", "app@25001.service"
	want := first + ":one " + first + ":two " + first + "!cannot read the journal: it is broken"
	until(t, "it is broken", func() bool { return got.String() == want })
	// A look, which finds another one.
	s.do(t, "scale", webTo(2))
	want += " " + second + ":other"
	until(t, "the other one is read", func() bool { return strings.Contains(got.String(), "other") })
	s.Set(first, map[string]any{"ActiveState": "active", "ActiveEnterTimestamp": uint64(9_000_000_000)})
	want += " " + first + ":three"
	until(t, "it is read on", func() bool { return strings.Contains(got.String(), "three") })
	if got.String() != want {
		t.Errorf("%q, not %q", got.String(), want)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
