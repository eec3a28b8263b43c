package daemon

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
)

// TestFlights: those who ask during an answer share the next one, and nobody gets one
// that was begun before he asked.
func TestFlights(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var f flights
		var begun atomic.Int64
		hold := make(chan struct{})
		answer := func(context.Context) (any, error) {
			n := begun.Add(1)
			<-hold
			return n, nil
		}
		var group sync.WaitGroup
		ask := func(want int64) {
			group.Go(func() {
				if got, err := f.ask(t.Context(), "q", answer); err != nil || got != want {
					t.Errorf("got %v, %v, want the answer %d", got, err, want)
				}
			})
		}
		ask(1)
		synctest.Wait()
		for range 100 {
			ask(2)
		}
		synctest.Wait()
		hold <- struct{}{}
		synctest.Wait()
		ask(3)
		synctest.Wait()
		close(hold)
		group.Wait()
		if n := begun.Load(); n != 3 {
			t.Errorf("%d answers were found", n)
		}
		synctest.Wait()
		if len(f.next) > 0 || len(f.running) > 0 {
			t.Errorf("left behind: %v, %v", f.next, f.running)
		}
	})
}

func TestFlightsCanceled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var f flights
		hold := make(chan struct{})
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			synctest.Wait()
			cancel()
		}()
		wrong := errors.New("wrong")
		answer := func(ctx context.Context) (any, error) {
			<-hold
			return nil, errors.Join(wrong, ctx.Err())
		}
		if _, err := f.ask(ctx, "q", answer); !errors.Is(err, context.Canceled) {
			t.Errorf("err %v", err)
		}
		close(hold)
		if _, err := f.ask(t.Context(), "q", answer); !errors.Is(err, wrong) || errors.Is(err, context.Canceled) {
			t.Errorf("err %v", err)
		}
	})
}
