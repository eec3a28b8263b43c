package dockerops

import (
	"context"
	"fmt"
	"time"
)

// Settle returns when the replica has gone on running for d. When it ends, is started
// again or turns unhealthy before, the answer is a NotReadyError.
func (e *Engine) Settle(ctx context.Context, id string, d time.Duration) error {
	changed, cancel := e.Subscribe(id)
	defer cancel()
	losses := e.losses()
	first, err := e.Look(ctx, id)
	if err != nil {
		return err
	}
	end := time.NewTimer(d)
	defer end.Stop()
	for r, over := first, false; ; {
		switch {
		case e.losses() != losses && !(r.Running() && r.Started.Equal(first.Started)):
			return fmt.Errorf("%w: %s ended with it", ErrUnavailable, r.Name)
		case !r.Running():
			return e.notReady(ctx, r, fmt.Sprintf("exited with code %d within %v of being ready", r.ExitCode, d))
		case !r.Started.Equal(first.Started):
			return e.notReady(ctx, r, fmt.Sprintf("ended and was started again within %v of being ready", d))
		case r.Health == "unhealthy":
			return e.notReady(ctx, r, fmt.Sprintf("turned unhealthy within %v of being ready", d))
		case over:
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-end.C:
			over = true // as a last look says
		case <-changed:
		}
		next, err := e.Look(ctx, id)
		switch {
		case err == ErrGone:
			return &NotReadyError{Replica: r.Name, Text: "was removed by somebody else"}
		case err == nil:
			r = next
		case over:
			return err
		} // with the engine away, the next event or the end decides
	}
}
