package daemon

import (
	"context"
	"fmt"
	"sync"
	"time"

	"tvsctl/ipc"
)

const (
	// How many journalctl run at a time for one user, and in all. Those that follow run as
	// long as somebody listens: a user can follow the largest request twice.
	journalsPerUser = 2 * ipc.MaxLogUnits
	journalsInAll   = 4 * ipc.MaxLogUnits
	// journalWait is how long a reading waits for others to end: most take less than that.
	journalWait = 5 * time.Second
)

// journalTurns bounds how many processes read the journal at a time. The zero value is
// ready for use.
type journalTurns struct {
	mu     sync.Mutex
	total  int
	byUser map[uint32]int
	ended  chan struct{} // closed when one ends; nil while nobody waits
}

// begin waits until a further one may run, at most journalWait. The caller calls end when it
// has ended.
func (t *journalTurns) begin(ctx context.Context, uid uint32) (end func(), err error) {
	late := time.NewTimer(journalWait)
	defer late.Stop()
	for {
		ended := t.enter(uid)
		if ended == nil {
			return func() { t.leave(uid) }, nil
		}
		select {
		case <-ended:
		case <-late.C:
			return nil, t.refusal(uid)
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// enter counts one more, or returns what is closed when it may be tried again.
func (t *journalTurns) enter(uid uint32) (ended <-chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.total >= journalsInAll || t.byUser[uid] >= journalsPerUser {
		if t.ended == nil {
			t.ended = make(chan struct{})
		}
		return t.ended
	}
	if t.byUser == nil {
		t.byUser = map[uint32]int{}
	}
	t.total++
	t.byUser[uid]++
	return nil
}

func (t *journalTurns) leave(uid uint32) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.total--
	if t.byUser[uid]--; t.byUser[uid] == 0 {
		delete(t.byUser, uid)
	}
	if t.ended != nil {
		close(t.ended)
		t.ended = nil
	}
}

func (t *journalTurns) refusal(uid uint32) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if own := t.byUser[uid]; own >= journalsPerUser {
		return &ipc.Error{Code: ipc.CodeBusy, Message: fmt.Sprintf("cannot read the journal: %d of your readings of it run already", own),
			Hint: "end some that follow (tvsctl logs -f), or name fewer units"}
	}
	return &ipc.Error{Code: ipc.CodeBusy, Message: fmt.Sprintf("cannot read the journal: %d readings of it run already", t.total), Hint: "try again"}
}

// readJournal is readJournal when it is the turn of whoever asks.
func (d *Daemon) readJournal(ctx context.Context, q journalQuery, each func(journalEntry) bool) error {
	who, _ := peerOf(ctx)
	end, err := d.journals.begin(ctx, who.UID)
	if err != nil {
		return err
	}
	defer end()
	return readJournal(ctx, q, each)
}
