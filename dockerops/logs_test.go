package dockerops

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"tvsctl/dockerops/enginetest"
)

var logClock = time.Date(2026, 11, 22, 2, 0, 0, 5, time.UTC)

// readLog reads a log to its end, as "SECOND STREAM TEXT".
func readLog(t *testing.T, e *Engine, id string, o LogOptions) (lines []string) {
	t.Helper()
	log, err := e.Log(t.Context(), id, o)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	for {
		line, err := log.Next()
		if errors.Is(err, io.EOF) {
			return lines
		}
		if err != nil {
			t.Fatal(err)
		}
		stream := "out"
		if line.Stderr {
			stream = "err"
		}
		lines = append(lines, fmt.Sprintf("%v %s %s", line.Time.Sub(logClock).Seconds(), stream, line.Text))
	}
}

func TestLogLines(t *testing.T) {
	long := strings.Repeat("x", 16<<10)
	for _, c := range []struct {
		name  string
		write func(write func(second int, stream byte, text string))
		want  []string
	}{
		{"nothing", func(func(int, byte, string)) {}, nil},
		{"both streams", func(w func(int, byte, string)) { w(1, 1, "one\n"); w(2, 2, "two\n"); w(3, 1, "\n") },
			[]string{"1 out one", "2 err two", "3 out "}},
		{"a line in pieces, with another between them", func(w func(int, byte, string)) {
			w(1, 1, long)
			w(2, 2, "between\n")
			w(3, 1, "end\n")
		}, []string{"2 err between", "1 out " + long + "end"}},
		{"a line without its end", func(w func(int, byte, string)) { w(1, 2, "no newline") }, []string{"1 err no newline"}},
		{"a terminal", func(w func(int, byte, string)) { w(1, 0, "one\r\n"); w(2, 0, "\x1b[1mtwo\r\n") }, []string{"1 out one", "2 out \x1b[1mtwo"}},
		{"text that looks like a time", func(w func(int, byte, string)) { w(1, 1, "2026-01-01T00:00:00Z x\n") }, []string{"1 out 2026-01-01T00:00:00Z x"}},
	} {
		fake := enginetest.Start(t, "1.45")
		fake.Add("webapp", 1, func(c *enginetest.Container) { c.State = "exited" })
		c.write(func(second int, stream byte, text string) {
			fake.Write("tvs-webapp-1", stream, logClock.Add(time.Duration(second)*time.Second), text)
		})
		got := readLog(t, Open(), "tvs-webapp-1", LogOptions{Tail: -1})
		if strings.Join(got, "|") != strings.Join(c.want, "|") {
			t.Errorf("%s: %.200q", c.name, got)
		}
	}
}

// A line that never ends comes in pieces, and is never held as a whole.
func TestLogLineIsBounded(t *testing.T) {
	fake := enginetest.Start(t, "1.45")
	fake.Add("webapp", 1, func(c *enginetest.Container) { c.State = "exited" })
	const piece, count = 16 << 10, 64
	for range count {
		fake.Write("tvs-webapp-1", 1, logClock, strings.Repeat("x", piece))
	}
	total := 0
	for _, line := range readLog(t, Open(), "tvs-webapp-1", LogOptions{Tail: -1}) {
		text := strings.TrimPrefix(line, "0 out ")
		if total += len(text); len(text) > MaxLogLine+piece {
			t.Errorf("a piece has %d bytes", len(text))
		}
	}
	if total != piece*count {
		t.Errorf("%d bytes of %d", total, piece*count)
	}
}

func TestLogRange(t *testing.T) {
	fake := enginetest.Start(t, "1.45")
	fake.Add("webapp", 1, func(c *enginetest.Container) { c.State = "exited" })
	at := func(second int) time.Time { return logClock.Add(time.Duration(second) * time.Second) }
	for n := range 5 {
		fake.Write("tvs-webapp-1", 1, at(n), fmt.Sprint(n)+"\n")
	}
	for _, c := range []struct {
		options LogOptions
		want    string
	}{
		{LogOptions{Tail: -1}, "01234"},
		{LogOptions{Tail: 2}, "34"},
		{LogOptions{Tail: 0}, ""},
		{LogOptions{Tail: -1, Since: at(3)}, "34"},
		{LogOptions{Tail: -1, Since: at(3).Add(1)}, "4"},
		{LogOptions{Tail: -1, Since: at(1), Until: at(2)}, "12"},
		{LogOptions{Tail: -1, Follow: true}, "01234"}, // it has ended
	} {
		got := ""
		for _, line := range readLog(t, Open(), "tvs-webapp-1", c.options) {
			got += line[len(line)-1:]
		}
		if got != c.want {
			t.Errorf("%+v gives %q, not %q", c.options, got, c.want)
		}
	}
	if _, err := Open().Log(t.Context(), "none", LogOptions{}); !errors.Is(err, ErrGone) {
		t.Errorf("err %v", err)
	}
	fake.Fail("inspect logs tvs-webapp-1", 501, "configured logging driver does not support reading")
	if _, err := Open().Log(t.Context(), "tvs-webapp-1", LogOptions{}); err == nil || !strings.Contains(err.Error(), "does not support reading") {
		t.Errorf("err %v", err)
	}
}

func TestUnknownLabels(t *testing.T) {
	fake := enginetest.Start(t, "1.45")
	fake.Add("webapp", 1, func(c *enginetest.Container) {
		c.Labels["tvs.scale.max"], c.Labels["tvs.drains"], c.Labels["com.example"] = "3", "9s", "x"
	})
	p, err := Open().Observe(t.Context(), "tvs", nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := p.Service("webapp").UnknownLabels(); len(got) != 1 || got[0] != "tvs.drains" {
		t.Errorf("%q", got)
	}
}
