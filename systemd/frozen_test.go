package systemd

import (
	"context"
	"errors"
	"testing"
	"time"
)

// A bus that hangs holds nobody beyond his time who waits for a signal.
func TestFrozenBus(t *testing.T) {
	for name, wait := range map[string]func(ctx context.Context, u *Units) error{
		"Follow": func(ctx context.Context, u *Units) error { return u.Follow(ctx, func(string, string) {}) },
		"Wait": func(ctx context.Context, u *Units) error {
			_, err := u.Wait(ctx, "app.service", func(*Unit) bool { return false })
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFakeBus(t)
			f.set("app.service", nil)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			var units Units
			defer units.Close()
			b, err := units.connect(ctx)
			if err != nil {
				t.Fatal(err)
			}
			ended := make(chan error, 1)
			go func() { ended <- wait(ctx, &units) }()
			for told := 0; told == 0; time.Sleep(time.Millisecond) { // to spin would starve the other
				b.mu.Lock()
				told = len(b.followers) + len(b.watchers)
				b.mu.Unlock()
			}
			f.Lock() // it answers nothing
			defer f.Unlock()
			cancel()
			if err := <-ended; !errors.Is(err, context.Canceled) {
				t.Errorf("it ends with %v", err)
			}
		})
	}
}
