package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"tvsctl/dockerops"
	"tvsctl/ipc"
	"tvsctl/policy"
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

	rules    *policy.Policy         // by which readable was decided
	readable map[policy.Target]bool // so far
}

// replicaLog is how far a replica's log was read.
type replicaLog struct {
	started time.Time // the life that was read
	last    time.Time // of its lines
	open    bool
	failed  bool // it cannot be read, which was said
}

// tellLogs tells the lines that are asked for.
func (d *Daemon) tellLogs(ctx context.Context, request ipc.LogRequest, tell func(ipc.LogLine) error, flush func() error) error {
	l := &logReader{d: d, ctx: ctx, request: request, began: time.Now(), merge: newMerge(request.Follow), replicas: map[string]*replicaLog{}}
	for _, id := range request.Units {
		l.merge.add(ctx, true, func(f *feed) { l.readUnit(f, ipc.LogLine{Name: id}, false) }, nil)
	}
	if request.Project != "" {
		if request.Follow {
			defer l.watch()()
		}
		if err := l.openReplicas(true); err != nil {
			return tell(ipc.LogLine{Time: time.Now(), Error: describeError(err)})
		}
	}
	permitted := func(line ipc.LogLine) error {
		if !l.mayRead(line) {
			return nil
		}
		return tell(line)
	}
	return l.merge.run(ctx, permitted, flush, l.look, func() {
		// With the engine away nothing is new; that it is back is an event.
		_ = l.openReplicas(false)
	})
}

// watch makes look have a value whenever something happens in the project.
func (l *logReader) watch() (stop func()) {
	l.look = make(chan struct{}, 1)
	changed, _, stop := l.d.site(l.request.Project).events(l.ctx)
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
func (l *logReader) openReplicas(first bool) error {
	ctx, cancel := context.WithTimeout(l.ctx, requestDeadline)
	defer cancel()
	p, _, err := l.d.observe(ctx, l.request.Project)
	if err != nil {
		return err
	}
	// One that was named may be gone by now, and come back.
	list, _ := chooseReplicas(p, l.request.Services)
	list = slices.DeleteFunc(list, func(r chosen) bool { return !l.mayRead(ipc.LogLine{Service: r.service}) })
	for id, log := range l.replicas {
		if !log.open && !slices.ContainsFunc(list, func(r chosen) bool { return r.ID == id }) {
			delete(l.replicas, id)
		}
	}
	for _, r := range list {
		log, known := l.replicas[r.ID]
		if known && (log.open || r.Started.Equal(log.started) && (log.failed || !r.Running())) {
			continue
		}
		if p.OfUnits() {
			log = &replicaLog{open: true}
			l.replicas[r.ID] = log
			of := ipc.LogLine{Name: r.Name, Service: r.service, Replica: r.Number}
			l.merge.add(l.ctx, first, func(f *feed) { l.readUnit(f, of, !first) }, func() { log.open = false })
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
		log.open, log.failed, log.started = true, false, r.Started
		l.merge.add(l.ctx, first, func(f *feed) { l.readReplica(f, r, log, options) }, func() {
			log.open = false
			if l.look != nil {
				time.AfterFunc(lookPause, l.lookAgain)
			}
		})
	}
	return nil
}

// readReplica reads one life of a replica, or with nothing to follow its log.
func (l *logReader) readReplica(f *feed, r chosen, log *replicaLog, o dockerops.LogOptions) {
	line := ipc.LogLine{Name: r.Name, Service: r.service, Replica: r.Number}
	fail := func(err error) {
		if f.ctx.Err() != nil || o.Follow && errors.Is(err, dockerops.ErrUnavailable) {
			return // it is read on when the engine is back
		}
		known := describeError(err)
		log.failed = true
		f.put(ipc.LogLine{Time: time.Now(), Name: r.Name, Service: r.service, Replica: r.Number,
			Error: &ipc.Error{Code: known.Code, Message: fmt.Sprintf("cannot read the log of %s: %s", r.Name, known.Message), Hint: known.Hint}})
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
