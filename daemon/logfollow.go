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

// lookPause is how long after the end of a replica's log somebody looks whether it
// goes on, if no event has come.
const lookPause = time.Second

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
	cursor  string    // of a unit: that of the last entry that was read
	open    bool
	failed  bool // it cannot be read, which was said
}

// tellLogs tells the lines that are asked for.
func (d *Daemon) tellLogs(ctx context.Context, request ipc.LogRequest, tell func(ipc.LogLine) error, flush func() error) error {
	l := &logReader{d: d, ctx: ctx, request: request, began: time.Now(), merge: newMerge(request.Follow), replicas: map[string]*replicaLog{}}
	for _, id := range request.Units {
		l.merge.add(ctx, true, func(f *feed) { l.readUnit(f, ipc.LogLine{Name: id}, &replicaLog{}, false) }, nil)
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
			if !known {
				log = &replicaLog{}
				l.replicas[r.ID] = log
			}
			log.open, log.failed, log.started = true, false, r.Started
			of := ipc.LogLine{Name: r.Name, Service: r.service, Replica: r.Number}
			l.merge.add(l.ctx, first, func(f *feed) { l.readUnit(f, of, log, !first) }, func() { log.open = false })
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
	of := ipc.LogLine{Name: r.Name, Service: r.service, Replica: r.Number}
	line := func(got dockerops.LogLine) ipc.LogLine {
		line := of
		line.Time, line.Line, line.Stream = got.Time, got.Text, "stdout"
		if got.Stderr {
			line.Stream = "stderr"
		}
		return line
	}
	var err error
	if !o.Until.IsZero() && o.Tail >= 0 {
		err = l.readLastOfReplica(f, r.ID, o, line)
	} else {
		if o.Tail == 0 {
			f.caughtUp()
		}
		n := 0
		err = l.eachLine(f.ctx, r.ID, o, func(got dockerops.LogLine) bool {
			if !f.put(line(got)) {
				return false
			}
			log.last = got.Time
			if n++; n == o.Tail || !got.Time.Before(l.began) {
				f.caughtUp()
			}
			return true
		})
	}
	if err == nil || f.ctx.Err() != nil || o.Follow && errors.Is(err, dockerops.ErrUnavailable) {
		return // it is read on when the engine is back
	}
	known := describeError(err)
	log.failed = true
	of.Time = time.Now()
	of.Error = &ipc.Error{Code: known.Code, Message: fmt.Sprintf("cannot read the log of %s: %s", r.Name, known.Message), Hint: known.Hint}
	f.put(of)
}

// eachLine calls each with the lines of a container's log until it returns false, or there
// is no more.
func (l *logReader) eachLine(ctx context.Context, id string, o dockerops.LogOptions, each func(dockerops.LogLine) bool) error {
	reader, err := l.d.engine.Log(ctx, id, o)
	if errors.Is(err, dockerops.ErrGone) {
		return nil
	}
	if err != nil {
		return err
	}
	defer reader.Close()
	for {
		got, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if !each(got) {
			return nil
		}
	}
}

// readLastOfReplica reads the last lines until a time: the engine takes the last of all, and
// of them those until then. Where they are too much to be kept, they are read again.
func (l *logReader) readLastOfReplica(f *feed, id string, o dockerops.LogOptions, line func(dockerops.LogLine) ipc.LogLine) error {
	last := lastLines{kept: &l.d.keptLines, most: o.Tail}
	defer last.drop()
	o.Tail = -1
	err := l.eachLine(f.ctx, id, o, func(got dockerops.LogLine) bool {
		last.add(line(got))
		return f.ctx.Err() == nil
	})
	for _, line := range last.lines {
		if !f.put(line) {
			return nil
		}
	}
	if err != nil || !last.over {
		return err
	}
	n := 0
	return l.eachLine(f.ctx, id, o, func(got dockerops.LogLine) bool {
		n++
		return n <= last.seen-last.most || f.put(line(got)) && n < last.seen
	})
}
