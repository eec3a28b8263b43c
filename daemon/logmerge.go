package daemon

import (
	"context"
	"slices"
	"time"

	"tvsctl/ipc"
)

const (
	// feedLines bounds how many lines of one log wait in the daemon: a reader that is slow
	// makes those who write them wait, not the daemon grow.
	feedLines = 64
	// quietTime is how long a log that is followed says nothing until it is taken to have
	// told its past: the engine does not say where that ends.
	quietTime = 300 * time.Millisecond
	// reorderTime is how long a new line waits for an older one of another log.
	reorderTime = 100 * time.Millisecond
)

// feed is one log while it is merged with others. A goroutine of its own reads it.
type feed struct {
	m     *merge
	ctx   context.Context
	slots chan struct{} // a value for each of its lines in the daemon

	// What follows belongs to whoever merges.
	queue  []arrival
	behind bool      // what it tells may yet be older than what others have told
	heard  time.Time // of it, last
	over   bool
	ended  func() // called when it is over, in the goroutine that merges; may be nil
}

type arrival struct {
	feed *feed
	line ipc.LogLine
	at   time.Time
	kind arrivalKind
}

type arrivalKind int

const (
	arrivalLine arrivalKind = iota
	arrivalCaughtUp
	arrivalEnd
)

// put hands a line over, as soon as there is room for it. It returns false when nobody
// wants it any more.
func (f *feed) put(line ipc.LogLine) bool {
	select {
	case f.slots <- struct{}{}:
	case <-f.ctx.Done():
		return false
	}
	return f.tell(arrivalLine, line)
}

// caughtUp says that it has told all its past.
func (f *feed) caughtUp() { f.tell(arrivalCaughtUp, ipc.LogLine{}) }

func (f *feed) tell(kind arrivalKind, line ipc.LogLine) bool {
	select {
	case f.m.arrivals <- arrival{f, line, time.Now(), kind}:
		return true
	case <-f.ctx.Done():
		return false
	}
}

// merge brings the lines of several logs in the order of their times. The past is
// merged exactly; what comes while they are followed, as far as it arrives in reorderTime.
type merge struct {
	follow   bool
	arrivals chan arrival
	feeds    []*feed
}

func newMerge(follow bool) *merge { return &merge{follow: follow, arrivals: make(chan arrival)} }

// add begins to read a log; behind is whether it may tell what is older than what others
// have told.
func (m *merge) add(ctx context.Context, behind bool, read func(f *feed), ended func()) {
	f := &feed{m: m, ctx: ctx, slots: make(chan struct{}, feedLines), behind: behind, heard: time.Now(), ended: ended}
	m.feeds = append(m.feeds, f)
	go func() {
		read(f)
		f.tell(arrivalEnd, ipc.LogLine{})
	}()
}

// take notes what a feed said.
func (m *merge) take(a arrival) {
	f := a.feed
	f.heard = a.at
	switch a.kind {
	case arrivalLine:
		f.queue = append(f.queue, a)
	case arrivalCaughtUp:
		f.behind = false
	case arrivalEnd:
		f.behind, f.over = false, true
		if len(f.queue) == 0 {
			m.drop(f)
		}
		if f.ended != nil {
			f.ended()
		}
	}
}

func (m *merge) drop(f *feed) {
	m.feeds = slices.DeleteFunc(m.feeds, func(other *feed) bool { return other == f })
}

// next returns the line that is to be told now. Without one, wait is how long it may take
// until there is one although no feed says anything; 0: for ever.
func (m *merge) next(now time.Time) (line ipc.LogLine, ok bool, wait time.Duration) {
	var first *feed
	for _, f := range m.feeds {
		if f.behind && len(f.queue) == 0 {
			left := quietTime - now.Sub(f.heard)
			if !m.follow {
				return ipc.LogLine{}, false, 0
			}
			if left > 0 {
				wait = max(wait, left)
				continue
			}
			f.behind = false
		}
		if len(f.queue) > 0 && (first == nil || f.queue[0].line.Time.Before(first.queue[0].line.Time)) {
			first = f
		}
	}
	if wait > 0 || first == nil {
		return ipc.LogLine{}, false, wait
	}
	oldest := first.queue[0]
	if m.follow && !first.behind && len(m.feeds) > 1 && len(first.queue) < feedLines {
		if left := reorderTime - now.Sub(oldest.at); left > 0 {
			return ipc.LogLine{}, false, left
		}
	}
	<-first.slots
	if first.queue = first.queue[1:]; first.over && len(first.queue) == 0 {
		m.drop(first)
	}
	return oldest.line, true, 0
}

// run tells every line until all logs have ended, or ctx does. Before it waits it calls
// flush. When look has a value it calls again, which may add logs; with look it waits for
// more even when all logs have ended.
func (m *merge) run(ctx context.Context, tell func(ipc.LogLine) error, flush func() error, look <-chan struct{}, again func()) error {
	for {
		line, ok, wait := m.next(time.Now())
		if ok {
			if err := tell(line); err != nil {
				return err
			}
			// What has arrived meanwhile may be older than the next one.
			select {
			case a := <-m.arrivals:
				m.take(a)
			default:
			}
			continue
		}
		if len(m.feeds) == 0 && look == nil {
			return nil
		}
		if err := flush(); err != nil {
			return err
		}
		var late <-chan time.Time
		if wait > 0 {
			late = time.After(wait)
		}
		select {
		case a := <-m.arrivals:
			m.take(a)
		case <-late:
		case <-look:
			again()
		case <-ctx.Done():
			return nil
		}
	}
}
