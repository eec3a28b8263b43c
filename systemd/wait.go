package systemd

import (
	"context"
	"fmt"
	"time"
)

// lookAgain bounds how long Wait relies on being told of a change.
const lookAgain = 5 * time.Second

// Wait looks at a unit at once and whenever it changes, until is satisfied, and returns
// what satisfied it. It ends with ctx only, also where the bus is restarted meanwhile.
func (u *Units) Wait(ctx context.Context, unit string, is func(*Unit) bool) (now *Unit, err error) {
	err = u.persist(ctx, func(b *bus) error {
		if now, err = b.unit(ctx, unit); err != nil || is(now) {
			return err
		}
		w, stop, err := b.watch(ctx, now.path)
		if err != nil {
			return err
		}
		defer stop()
		ticker := time.NewTicker(lookAgain)
		defer ticker.Stop()
		for {
			// It may have changed before it was watched.
			if now, err = b.unit(ctx, unit); err != nil || is(now) {
				return err
			}
			select {
			case <-w.changed:
			case <-ticker.C:
			case <-b.conn.Context().Done():
				return fmt.Errorf("cannot wait for %s: %w", unit, errLost)
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	})
	return now, err
}
