package daemon

import (
	"context"
	"errors"
	"sync"

	"tvsctl/dockerops"
)

// flights answers a question that many ask at once: while one answer is being found, all
// who ask meanwhile wait for the next, which none of them is too early for.
type flights struct {
	mu      sync.Mutex
	next    map[string]*flight // by question
	running map[string]bool
}

type flight struct {
	done  chan struct{} // closed when there is an answer
	reply any
	err   error
}

// ask returns an answer to the question that answer began to find after ask was called.
func (f *flights) ask(ctx context.Context, question string, answer func(ctx context.Context) (any, error)) (any, error) {
	f.mu.Lock()
	if f.next == nil {
		f.next, f.running = map[string]*flight{}, map[string]bool{}
	}
	own := f.next[question]
	if own == nil {
		own = &flight{done: make(chan struct{})}
		f.next[question] = own
	}
	if !f.running[question] {
		f.running[question] = true
		go f.fly(question, answer)
	}
	f.mu.Unlock()
	select {
	case <-own.done:
		return own.reply, own.err
	case <-ctx.Done():
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			// Nothing else can take that long.
			return nil, dockerops.ErrNoAnswer
		}
		return nil, ctx.Err()
	}
}

// fly answers until nobody asks any more.
func (f *flights) fly(question string, answer func(ctx context.Context) (any, error)) {
	for {
		f.mu.Lock()
		own := f.next[question]
		delete(f.next, question)
		if own == nil {
			delete(f.running, question)
			f.mu.Unlock()
			return
		}
		f.mu.Unlock()
		// Whoever asked first may go away; the others still wait.
		ctx, cancel := context.WithTimeout(context.Background(), requestDeadline)
		own.reply, own.err = answer(ctx)
		cancel()
		close(own.done)
	}
}
