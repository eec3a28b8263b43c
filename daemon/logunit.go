package daemon

import (
	"slices"
	"strconv"
	"time"

	"tvsctl/dockerops"
	"tvsctl/ipc"
)

// readUnit reads the journal of a unit.
func (l *logReader) readUnit(f *feed, id string) {
	q := journalQuery{matches: []string{"-u", id}, fields: []string{"MESSAGE", "PRIORITY"},
		since: l.request.Since, until: l.request.Until, lines: l.request.Tail}
	line := func(e journalEntry) ipc.LogLine {
		text := e["MESSAGE"]
		// The head of an entry that is longer than any line, such as a stack dump.
		line := ipc.LogLine{Time: e.time(), Name: id, Line: text[:min(len(text), dockerops.MaxLogLine)]}
		if n, err := strconv.Atoi(e["PRIORITY"]); err == nil {
			line.Priority = &n
		}
		return line
	}
	err := l.readPast(f, &q, line)
	if l.request.Follow && err == nil {
		f.caughtUp()
		q.follow, q.reverse = true, false
		if q.after != "" {
			q.since = time.Time{}
		}
		if q.lines != 0 {
			q.lines = -1
		}
		err = readJournal(f.ctx, q, func(e journalEntry) bool { return f.put(line(e)) })
	}
	if err != nil && f.ctx.Err() == nil {
		f.put(ipc.LogLine{Time: time.Now(), Name: id, Error: describeError(err)})
	}
}

// readPast reads what is in the journal, and notes in q after which entry to go on.
func (l *logReader) readPast(f *feed, q *journalQuery, line func(journalEntry) ipc.LogLine) error {
	switch {
	case q.lines == 0:
		return nil
	case q.lines < 0:
		return readJournal(f.ctx, *q, func(e journalEntry) bool {
			q.after = e["__CURSOR"]
			return f.put(line(e))
		})
	}
	// The last ones from the newest on: what --lines means beside --since depends on the
	// version of journalctl.
	backwards, bytes := []ipc.LogLine(nil), 0
	q.reverse = true
	err := readJournal(f.ctx, *q, func(e journalEntry) bool {
		if q.after == "" {
			q.after = e["__CURSOR"]
		}
		backwards, bytes = append(backwards, line(e)), bytes+len(e["MESSAGE"])
		return bytes < tailBytes
	})
	for _, line := range slices.Backward(backwards) {
		if !f.put(line) {
			break
		}
	}
	return err
}
