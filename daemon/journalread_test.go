package daemon

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// fakeJournal puts a journalctl first in PATH, which keeps its arguments in the returned
// file and then runs the script.
func fakeJournal(t *testing.T, script string) (arguments string) {
	t.Helper()
	dir := t.TempDir()
	arguments = filepath.Join(dir, "arguments")
	text := "#!/bin/sh\nprintf '%s\\n' \"$@\" >>" + arguments + "\necho . >>" + arguments + "\n" + script
	if err := os.WriteFile(filepath.Join(dir, "journalctl"), []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	return arguments
}

func TestJournalEntries(t *testing.T) {
	fakeJournal(t, `cat <<'END'
{"__REALTIME_TIMESTAMP":"1700000000000001","MESSAGE":"plain","TVS_UID":"1000"}
{"MESSAGE":[104,195,188,27]}
{"MESSAGE":["one","two"]}
{"MESSAGE":[[104,105],"two"]}
{"MESSAGE":null}
no JSON
END
head -c 5000000 /dev/zero | tr '\0' x
echo
echo '{"MESSAGE":"after one that is too long"}'`)
	var got []string
	err := readJournal(t.Context(), journalQuery{lines: -1}, func(e journalEntry) bool {
		got = append(got, e["MESSAGE"])
		if e["TVS_UID"] == "1000" && !e.time().Equal(time.UnixMicro(1700000000000001)) {
			t.Errorf("time %v", e.time())
		}
		return true
	})
	if want := "plain|hü\x1b|one|hi||after one that is too long"; err != nil || strings.Join(got, "|") != want {
		t.Errorf("%q, %v", got, err)
	}
}

func TestJournalArguments(t *testing.T) {
	at := time.Date(2026, 11, 22, 3, 0, 0, 4000, time.FixedZone("", 3600))
	for _, c := range []struct {
		query journalQuery
		want  string
	}{
		{journalQuery{lines: -1, matches: []string{"-u", "x.service"}}, "-u x.service"},
		{journalQuery{lines: 0, follow: true}, "--follow --lines=0"},
		{journalQuery{lines: -1, follow: true, after: "s=1"}, "--after-cursor=s=1 --follow --lines=all"},
		{journalQuery{lines: 3, reverse: true, since: at, until: at}, "--since=2026-11-22 02:00:00.000004 UTC --until=2026-11-22 02:00:00.000004 UTC --reverse --lines=3"},
		{journalQuery{lines: -1, from: "s=1"}, "--cursor=s=1"},
		{journalQuery{lines: -1, fields: []string{"A", "B"}}, "--output-fields=A,B"},
	} {
		got := strings.TrimSpace(strings.TrimPrefix(strings.Join(c.query.arguments(), " "), "--output=json --quiet --no-pager --all"))
		if got != c.want {
			t.Errorf("%+v: %s", c.query, got)
		}
	}
}

func TestJournalEnds(t *testing.T) {
	fakeJournal(t, "echo 'no such\nthing' >&2; exit 3")
	err := readJournal(t.Context(), journalQuery{}, func(journalEntry) bool { return true })
	if err == nil || err.Error() != "cannot read the journal: no such thing" {
		t.Errorf("err %v", err)
	}
	// Enough is no failure, however much there is.
	fakeJournal(t, `while echo '{"MESSAGE":"x"}'; do :; done`)
	n := 0
	if err := readJournal(t.Context(), journalQuery{}, func(journalEntry) bool { n++; return n < 3 }); err != nil || n != 3 {
		t.Errorf("%d, %v", n, err)
	}
	// Nor is it that nobody wants it any more.
	fakeJournal(t, `echo '{"MESSAGE":"x"}'; exec sleep 60`)
	ctx, cancel := context.WithCancel(t.Context())
	if err := readJournal(ctx, journalQuery{}, func(journalEntry) bool { cancel(); return true }); err != nil {
		t.Errorf("err %v", err)
	}
	t.Setenv("PATH", t.TempDir())
	if err := readJournal(t.Context(), journalQuery{}, nil); err == nil || !strings.Contains(err.Error(), "cannot read the journal") {
		t.Errorf("err %v", err)
	}
}
