package daemon

import (
	"sync/atomic"

	"tvsctl/ipc"
)

const (
	// keptBytes bounds what is kept of one log until its last lines are known, and
	// keptInAll of all logs that are read. What does not fit is read again instead.
	keptBytes = 1 << 20
	keptInAll = 16 << 20
	// lineBytes is what a line takes beside its text.
	lineBytes = 200
)

// lastLines keeps the last lines of a log, as far as there is room for them.
type lastLines struct {
	kept  *atomic.Int64 // of all logs
	most  int
	seen  int // lines so far
	lines []ipc.LogLine
	bytes int64
	over  bool // they do not fit; none is kept
}

func (l *lastLines) add(line ipc.LogLine) {
	if l.seen++; l.over {
		return
	}
	l.lines = append(l.lines, line)
	l.count(line, 1)
	if len(l.lines) > l.most {
		l.count(l.lines[0], -1)
		l.lines[0] = ipc.LogLine{} // else its text stays as long as the array
		l.lines = l.lines[1:]
	}
	if l.bytes > keptBytes || l.kept.Load() > keptInAll {
		l.over = true
		l.drop()
	}
}

func (l *lastLines) count(line ipc.LogLine, times int64) {
	n := times * int64(lineBytes+len(line.Line))
	l.bytes += n
	l.kept.Add(n)
}

// drop makes room for those of other logs.
func (l *lastLines) drop() {
	l.kept.Add(-l.bytes)
	l.lines, l.bytes = nil, 0
}
