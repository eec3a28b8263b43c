package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"time"

	"tvsctl/dockerops"
	"tvsctl/ipc"
)

const (
	// lookPause is how long after the end of a replica's log somebody looks whether it
	// goes on, if no event has come.
	lookPause = time.Second
	// tailBytes bounds what is kept of one log until its last lines are known.
	tailBytes = 8 << 20
)

// logReader reads the logs of one request.
type logReader struct {
	d        *Daemon
	ctx      context.Context
	request  ipc.LogRequest
	began    time.Time
	merge    *merge
	look     chan struct{}          // has a value when the replicas are to be looked at; nil: never again
	replicas map[string]*replicaLog // by container
}

// replicaLog is how far a replica's log was read.
type replicaLog struct {
	started time.Time // the life that was read
	last    time.Time // of its lines
	open    bool
}

// tellLogs tells the lines that are asked for.
func (d *Daemon) tellLogs(ctx context.Context, request ipc.LogRequest, tell func(ipc.LogLine) error, flush func() error) error {
	l := &logReader{d: d, ctx: ctx, request: request, began: time.Now(), merge: newMerge(request.Follow), replicas: map[string]*replicaLog{}}
	for _, id := range request.Units {
		l.merge.add(ctx, true, func(f *feed) { l.readUnit(f, id) }, nil)
	}
	if request.Project != "" {
		if request.Follow {
			defer l.watch()()
		}
		l.openReplicas(true)
	}
	return l.merge.run(ctx, tell, flush, l.look, func() { l.openReplicas(false) })
}

// watch makes look have a value whenever something happens in the project.
func (l *logReader) watch() (stop func()) {
	l.look = make(chan struct{}, 1)
	changed, stop := l.d.engine.Subscribe(l.request.Project)
	go func() {
		for {
			select {
			case <-changed:
				l.lookAgain()
			case <-l.ctx.Done():
				return
			}
		}
	}()
	return stop
}

func (l *logReader) lookAgain() {
	select {
	case l.look <- struct{}{}:
	default: // it has not yet looked since the last time
	}
}

// openReplicas begins to read the logs of replicas that are new, or run again.
func (l *logReader) openReplicas(first bool) {
	ctx, cancel := context.WithTimeout(l.ctx, requestDeadline)
	defer cancel()
	p, _, err := l.d.observe(ctx, l.request.Project)
	if err != nil {
		return // with the engine away; when it is back, that is an event
	}
	// One that was named may be gone by now, and come back.
	list, _ := chooseReplicas(p, l.request.Services)
	for id, log := range l.replicas {
		if !log.open && !slices.ContainsFunc(list, func(r chosen) bool { return r.ID == id }) {
			delete(l.replicas, id)
		}
	}
	for _, r := range list {
		log, known := l.replicas[r.ID]
		if known && (log.open || !r.Running() && r.Started.Equal(log.started)) {
			continue
		}
		options := dockerops.LogOptions{Follow: l.request.Follow, Tail: l.request.Tail, Since: l.request.Since, Until: l.request.Until}
		switch {
		case !known:
			log = &replicaLog{}
			l.replicas[r.ID] = log
			if !first {
				options.Tail = -1 // it is new
			}
			if options.Tail == 0 {
				log.last = time.Now()
			}
		case !log.last.IsZero():
			options.Since, options.Tail = log.last.Add(time.Nanosecond), -1
		default:
			options.Tail = -1 // it had written nothing
		}
		log.open, log.started = true, r.Started
		l.merge.add(l.ctx, first, func(f *feed) { l.readReplica(f, r, log, options) }, func() {
			log.open = false
			if l.look != nil {
				time.AfterFunc(lookPause, l.lookAgain)
			}
		})
	}
}

// readReplica reads one life of a replica, or with nothing to follow its log.
func (l *logReader) readReplica(f *feed, r chosen, log *replicaLog, o dockerops.LogOptions) {
	line := ipc.LogLine{Name: r.Name, Service: r.service, Replica: r.Number}
	fail := func(err error) {
		if f.ctx.Err() == nil && !(o.Follow && errors.Is(err, dockerops.ErrUnavailable)) { // then it is read on when the engine is back
			known := describeError(err)
			line.Time, line.Error = time.Now(), &ipc.Error{Code: known.Code, Message: fmt.Sprintf("cannot read the log of %s: %s", r.Name, known.Message), Hint: known.Hint}
			f.put(line)
		}
	}
	var last *lastLines
	if !o.Until.IsZero() && o.Tail >= 0 {
		// The engine takes the last lines of all, and of them those until then.
		last, o.Tail = &lastLines{most: o.Tail}, -1
	}
	if o.Tail == 0 {
		f.caughtUp()
	}
	reader, err := l.d.engine.Log(f.ctx, r.ID, o)
	if errors.Is(err, dockerops.ErrGone) {
		return
	}
	if err != nil {
		fail(err)
		return
	}
	defer reader.Close()
	for n := 1; ; n++ {
		got, err := reader.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			fail(err)
			break
		}
		line.Time, line.Line, line.Stream = got.Time, got.Text, "stdout"
		if got.Stderr {
			line.Stream = "stderr"
		}
		if last != nil {
			last.add(line)
			continue
		}
		if !f.put(line) {
			return
		}
		log.last = got.Time
		if n == o.Tail || !got.Time.Before(l.began) {
			f.caughtUp()
		}
	}
	if last != nil {
		for _, line := range last.lines {
			if !f.put(line) {
				return
			}
		}
	}
}

// readUnit reads the journal of a unit.
func (l *logReader) readUnit(f *feed, id string) {
	q := journalQuery{matches: []string{"-u", id}, fields: []string{"MESSAGE", "PRIORITY"},
		since: l.request.Since, until: l.request.Until, lines: l.request.Tail}
	line := func(e journalEntry) ipc.LogLine {
		line := ipc.LogLine{Time: e.time(), Name: id, Line: e["MESSAGE"]}
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

// lastLines keeps the last lines of a log, as far as they fit into tailBytes.
type lastLines struct {
	most  int
	lines []ipc.LogLine
	bytes int
}

func (l *lastLines) add(line ipc.LogLine) {
	l.lines, l.bytes = append(l.lines, line), l.bytes+len(line.Line)
	for len(l.lines) > l.most || l.bytes > tailBytes {
		l.bytes -= len(l.lines[0].Line)
		l.lines = l.lines[1:]
	}
}
