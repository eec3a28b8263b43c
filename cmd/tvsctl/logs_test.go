package main

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"tvsctl/ipc"
)

func logLine(second float64, name, text string) ipc.LogLine {
	return ipc.LogLine{Time: at(second), Name: name, Service: "webapp", Stream: "stdout", Line: text}
}

func answerLines(lines ...ipc.LogLine) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, _ *http.Request) {
		for _, line := range lines {
			json.NewEncoder(w).Encode(line)
		}
	}
}

func TestLogs(t *testing.T) {
	lines := answerLines(logLine(1, "tvs-webapp-1", "one"), logLine(2, "tvs-webapp-10", "two\n  more"), logLine(3, "tvs-webapp-1", "\x1b[31mred"))
	daemon := newFake(t, map[string]any{"GET /projects/-/logs": lines})
	equal(t, "the output", daemon.tvsctl("logs").out, `tvs-webapp-1 | one
tvs-webapp-10 | two
tvs-webapp-10 |   more
tvs-webapp-1  | `+"\x1b[31mred\n")
	equal(t, "without names", daemon.tvsctl("logs", "--no-log-prefix").out, "one\ntwo\n  more\n\x1b[31mred\n")
	equal(t, "with --quiet", daemon.tvsctl("logs", "-q").out, "")
	stamp := at(1).Local().Format("2006-01-02T15:04:05.000000Z07:00")
	contains(t, "with times", daemon.tvsctl("logs", "-t").out, "tvs-webapp-1 | "+stamp+" one\n")
	got := daemon.tvsctl("logs", "--json")
	var first ipc.LogLine
	line, _, _ := strings.Cut(got.out, "\n")
	if err := json.Unmarshal([]byte(line), &first); err != nil || first.Line != "one" || strings.Count(got.out, "\n") != 3 {
		t.Errorf("%v: %s", err, got.out)
	}
}

// On a terminal each name has its colour, and what a line says cannot drive the terminal.
func TestLogsOnATerminal(t *testing.T) {
	daemon := newFake(t, map[string]any{"GET /projects/-/logs": answerLines(logLine(1, "a", "\x1b[2J\x1b]0;title\x07\x1b[31mred\x1b[0m\rx\x9b"), logLine(2, "b", "two"), logLine(3, "a", "three"))})
	for noColour, want := range map[string]string{
		"":  "\x1b[36ma | \x1b[0mred?x?\n\x1b[33mb | \x1b[0mtwo\n\x1b[36ma | \x1b[0mthree\n",
		"1": "a | red?x?\nb | two\na | three\n",
	} {
		var out, errs bytes.Buffer
		a := newApp(strings.NewReader(""), &out, &errs, func(name string) string {
			return map[string]string{"TVS_SOCKET": daemon.socket, "NO_COLOR": noColour}[name]
		})
		a.stdoutSize = func() (int, int, bool) { return 80, 24, true }
		if status := a.run(context.Background(), []string{"logs"}); status != 0 {
			t.Errorf("status %d: %s", status, errs.String())
		}
		got := strings.ReplaceAll(out.String(), "�", "?")
		equal(t, "the output with NO_COLOR="+noColour, got, want)
	}
}

func TestLogsAsks(t *testing.T) {
	since := url.QueryEscape("2026-11-20T15:04:05Z")
	for line, want := range map[string]string{
		"logs":                      "/projects/-/logs",
		"logs -p shop webapp api.2": "/projects/shop/logs?service=webapp&service=api.2",
		"logs -n 5 -f webapp":       "/projects/-/logs?follow=true&service=webapp&tail=5",
		"logs -n 0":                 "/projects/-/logs?tail=0",
		"logs -n all":               "/projects/-/logs",
		"logs unit:a unit:b.timer":  "/units/a/logs?unit=b.timer",
		"logs webapp unit:a":        "/projects/-/logs?service=webapp&unit=a",
		"logs --since 2026-11-20T15:04:05Z --until 2026-11-20T15:04:05Z": "/projects/-/logs?since=" + since + "&until=" + since,
	} {
		daemon := newFake(t, map[string]any{})
		daemon.tvsctl(strings.Fields(line)...)
		if got := daemon.asked(); len(got) != 1 || got[0] != "GET "+want {
			t.Errorf("%s asks %q, not %s", line, got, want)
		}
	}
	for _, line := range []string{"logs -n x", "logs -n -1", "logs -n 100001", "logs --since never", "logs --until never", "logs -f --until 10m", "logs unit:", "logs .", "logs unit:.."} {
		daemon := newFake(t, map[string]any{})
		if got := daemon.tvsctl(strings.Fields(line)...); got.status != ipc.ExitUsage || len(daemon.asked()) > 0 || !strings.HasPrefix(got.err, "tvsctl: cannot ") {
			t.Errorf("%s: %+v", line, got)
		}
	}
}

// A log that cannot be read does not hide the others, and is not passed over.
func TestLogsThatCannotBeRead(t *testing.T) {
	broken := ipc.LogLine{Name: "b", Error: &ipc.Error{Code: ipc.CodeInternal, Message: "cannot read the log of b: no driver", Hint: "use another"}}
	daemon := newFake(t, map[string]any{"GET /projects/-/logs": answerLines(broken, logLine(1, "a", "one"))})
	got := daemon.tvsctl("logs")
	if got.status != ipc.ExitFailure || got.out != "a | one\n" || got.err != "tvsctl: cannot read the log of b: no driver\n  → use another\n" {
		t.Errorf("%+v", got)
	}
}

// What is followed goes on in the next life of the daemon, with no line lost or twice.
func TestLogsGoOn(t *testing.T) {
	var queries []url.Values
	lives := [][]ipc.LogLine{
		{logLine(1, "a", "1"), logLine(3, "b", "3"), logLine(2.5, "a", "2.5")},
		{logLine(2.5, "a", "2.5"), logLine(2.7, "a", "late"), logLine(3, "b", "3"), logLine(4, "b", "4"), logLine(4, "new", "4")},
		{}, {}, {},
	}
	daemon := newFake(t, nil)
	daemon.routes = map[string]any{}
	handler := func(w http.ResponseWriter, r *http.Request) {
		answerLines(lives[len(queries)]...)(w, r)
		queries = append(queries, r.URL.Query())
	}
	daemon.any = handler
	got := daemon.tvsctl("logs", "-f", "-n", "7")
	if want := "a | 1\nb | 3\na | 2.5\na | late\nb | 4\nnew | 4\n"; got.out != want {
		t.Errorf("%q", got.out)
	}
	if got.status != ipc.ExitUnreachable || strings.Count(got.err, "lost tvsctld; following again") != reconnects || !strings.Contains(got.err, "lost the daemon while reading logs") {
		t.Errorf("%+v", got)
	}
	since, err := time.Parse(time.RFC3339Nano, queries[1].Get("since"))
	if err != nil || !since.Equal(at(2)) || queries[1].Has("tail") || queries[0].Get("tail") != "7" {
		t.Errorf("asks %v", queries)
	}
}

// A daemon that is lost before it has told anything is asked the same again.
func TestLogsGoOnFromTheBeginning(t *testing.T) {
	for _, c := range []struct{ line, want string }{
		{"logs -f -n 7 --since 2026-11-20T15:04:05Z", "follow=true&since=2026-11-20T15%3A04%3A05Z&tail=7"},
		{"logs -f -n 0", "follow=true&since="}, // of the command's own start: what came meanwhile is not lost
	} {
		daemon := newFake(t, map[string]any{})
		daemon.any = func(http.ResponseWriter, *http.Request) {}
		daemon.tvsctl(strings.Fields(c.line)...)
		asked := daemon.asked()
		if len(asked) != 1+reconnects || !strings.HasPrefix(asked[1], "GET /projects/-/logs?"+c.want) {
			t.Errorf("%s asks %q", c.line, asked)
		}
	}
}
