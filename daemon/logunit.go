package daemon

import (
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"tvsctl/dockerops"
	"tvsctl/ipc"
	"tvsctl/systemd"
)

// coredump is the MESSAGE_ID of systemd-coredump(8).
const coredump = "fc2e22bc6ee647b6b90729ab34a250b1"

// ofUnit matches the log of a unit: beside what systemd.OfUnit does, that it dumped core,
// and what other daemons say of it. They run as root: anybody may write such a field.
func ofUnit(id string) []string {
	return append(systemd.OfUnit(id), "+", "MESSAGE_ID="+coredump, "_UID=0", "COREDUMP_UNIT="+id, "+", "_UID=0", "OBJECT_SYSTEMD_UNIT="+id)
}

// journalAgain is how long after the end of a journalctl that follows the next one begins.
const journalAgain = 200 * time.Millisecond

// readUnit reads the journal of a unit, which goes on over its lives. of says whose lines
// they are; where late, the unit was not there when the reading began. What log says was
// read already is not read again.
func (l *logReader) readUnit(f *feed, of ipc.LogLine, log *replicaLog, late bool) {
	id := of.Name
	q := journalQuery{matches: ofUnit(id), fields: []string{"MESSAGE", "PRIORITY"},
		since: l.request.Since, until: l.request.Until, lines: l.request.Tail}
	if late {
		q.since, q.lines = l.began, -1
	}
	if log.cursor != "" {
		q.since, q.lines, q.after = time.Time{}, -1, log.cursor
	}
	defer func() { log.cursor = q.after }()
	line := func(e journalEntry) ipc.LogLine {
		line := of
		line.Time, line.Line = e.time(), e["MESSAGE"]
		if len(line.Line) > dockerops.MaxLogLine {
			// The head of an entry that is longer than any line, such as a stack dump: a copy,
			// which does not hold the rest.
			line.Line = strings.Clone(line.Line[:dockerops.MaxLogLine])
		}
		if n, err := strconv.Atoi(e["PRIORITY"]); err == nil {
			line.Priority = &n
		}
		return line
	}
	err := l.readPast(f, &q, line)
	if l.request.Follow && err == nil {
		f.caughtUp()
		err = l.followUnit(f, &q, line)
	}
	if err != nil && f.ctx.Err() == nil {
		log.failed = true
		of.Time, of.Error = time.Now(), describeError(err)
		f.put(of)
	}
}

// followUnit reads what comes to the journal. It does not end with journalctl, which
// somebody may kill: the next one goes on after the last entry.
func (l *logReader) followUnit(f *feed, q *journalQuery, line func(journalEntry) ipc.LogLine) error {
	q.follow, q.reverse = true, false
	began := time.Now()
	for again := false; ; again = true {
		switch {
		case q.after != "":
			q.since, q.lines = time.Time{}, -1
		case q.lines != 0:
			q.lines = -1
		case again:
			q.since, q.lines = began, -1
		}
		err := l.d.readJournal(f.ctx, *q, func(e journalEntry) bool {
			q.after = e["__CURSOR"]
			return f.put(line(e))
		})
		if err != nil && !errors.Is(err, errCut) || !pause(f.ctx, journalAgain) {
			return err
		}
	}
}

// readPast reads what is in the journal, and notes in q after which entry to go on.
func (l *logReader) readPast(f *feed, q *journalQuery, line func(journalEntry) ipc.LogLine) error {
	switch {
	case q.lines == 0:
		return nil
	case q.lines < 0:
		return l.d.readJournal(f.ctx, *q, func(e journalEntry) bool {
			q.after = e["__CURSOR"]
			return f.put(line(e))
		})
	}
	return l.readLastOfUnit(f, q, line)
}

// readLastOfUnit reads the last entries from the newest on: what --lines means beside
// --since depends on the version of journalctl. Where they are too much to be kept they are
// read again in their order, from the oldest of them to the newest.
func (l *logReader) readLastOfUnit(f *feed, q *journalQuery, line func(journalEntry) ipc.LogLine) error {
	last := lastLines{kept: &l.d.keptLines, most: q.lines}
	defer last.drop()
	oldest := ""
	q.reverse = true
	err := l.d.readJournal(f.ctx, *q, func(e journalEntry) bool {
		if oldest = e["__CURSOR"]; q.after == "" {
			q.after = oldest
		}
		last.add(line(e))
		return true
	})
	for _, line := range slices.Backward(last.lines) {
		if !f.put(line) {
			break
		}
	}
	if err != nil || !last.over {
		return err
	}
	again, newest := *q, q.after
	again.reverse, again.lines, again.since, again.after, again.from = false, -1, time.Time{}, "", oldest
	return l.d.readJournal(f.ctx, again, func(e journalEntry) bool {
		q.after = e["__CURSOR"] // the newest may be gone by now
		return f.put(line(e)) && q.after != newest
	})
}
