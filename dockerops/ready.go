package dockerops

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/pkg/stdcopy"
)

// NotReadyError says why a replica did not become ready.
type NotReadyError struct {
	Replica string
	Service string   // of which it is a replica; empty where that is not known
	Text    string   // "exited with code 3", "not healthy within 1m0s"
	Logs    []string // its last lines
	Hint    string   // what to do, if not what is usual
}

func (e *NotReadyError) Error() string { return fmt.Sprintf("%s %s", e.Replica, e.Text) }

const (
	dialTimeout = 200 * time.Millisecond
	dialFirst   = 5 * time.Millisecond
	dialMost    = 250 * time.Millisecond
	lastLines   = 10
)

// Probe is how a replica shows that it is ready: its health check where it has
// one, else a TCP connect to Port on an address that the Peers can reach, else
// (Port 0) that it runs.
type Probe struct {
	Port  int
	Peers []Replica // the nginx in front of it
}

// Listens reports whether a connect to the replica's port succeeds now.
func (p Probe) Listens(ctx context.Context, r Replica) bool {
	endpoint := r.Endpoint(p.Peers, p.Port)
	if endpoint == "" {
		return false
	}
	dialer := net.Dialer{Timeout: dialTimeout}
	conn, err := dialer.DialContext(ctx, "tcp", endpoint)
	if err == nil {
		conn.Close()
	}
	return err == nil
}

// WaitReady returns when the replica is ready. A replica that ends is waited for
// only as long as its restart policy starts it again; after timeout, or its own
// ReadyTimeout when that is 0, the answer is a NotReadyError, or ErrUnavailable when it
// ended with the engine.
func (e *Engine) WaitReady(ctx context.Context, id string, probe Probe, timeout time.Duration) error {
	changed, cancel := e.Subscribe(id)
	defer cancel()
	losses := e.losses()
	r, err := e.Look(ctx, id)
	if err != nil {
		return err
	}
	if timeout == 0 {
		timeout = r.ReadyTimeout
	}
	deadline, stop := context.WithTimeout(ctx, timeout)
	defer stop()
	retry := dialFirst
	for {
		var again <-chan time.Time
		switch {
		case ended(r):
			return e.notReady(ctx, r, fmt.Sprintf("exited with code %d", r.ExitCode))
		case !r.Running():
		case r.Health == "healthy":
			return nil
		case r.Health != "":
		case probe.Port == 0 || probe.Listens(deadline, r):
			return nil
		default:
			again = time.After(retry)
			retry = min(2*retry, dialMost)
		}
		select {
		case <-deadline.Done():
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return e.notReady(ctx, r, notReadyText(r, probe, timeout))
		case <-again:
			continue // the address is that of the last look; events tell when it changes
		case <-changed:
		}
		if next, err := e.Look(ctx, id); errors.Is(err, ErrGone) {
			return &NotReadyError{Replica: r.Name, Text: "was removed by somebody else"}
		} else if err == nil {
			if r = next; !r.Running() && e.losses() != losses {
				return fmt.Errorf("%w: %s ended with it", ErrUnavailable, r.Name)
			}
		} // with the engine away, the next event or the deadline decides
	}
}

// ended tells a replica that has run and will not be started again by Docker.
func ended(r Replica) bool {
	return (r.State == "exited" || r.State == "dead") && !r.Started.IsZero() && !r.Restarts
}

func notReadyText(r Replica, probe Probe, timeout time.Duration) string {
	switch {
	case !r.Running():
		return fmt.Sprintf("is %s after %v, last exit code %d", r.State, timeout, r.ExitCode)
	case r.Health != "":
		return fmt.Sprintf("is %s, not healthy, after %v", r.Health, timeout)
	case r.Endpoint(probe.Peers, probe.Port) == "":
		return "is on no network on which its nginx reaches it"
	}
	return fmt.Sprintf("does not accept connections on port %d after %v", probe.Port, timeout)
}

func (e *Engine) notReady(ctx context.Context, r Replica, text string) error {
	return &NotReadyError{Replica: r.Name, Text: text, Logs: e.lastLogs(ctx, r.ID)}
}

// lastLogs returns the last lines that a container wrote, as far as they can be had.
func (e *Engine) lastLogs(ctx context.Context, id string) []string {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	reader, err := e.api.ContainerLogs(ctx, id, container.LogsOptions{ShowStdout: true, ShowStderr: true, Tail: strconv.Itoa(lastLines)})
	if err != nil {
		return nil
	}
	defer reader.Close()
	var text bytes.Buffer
	// A container with a terminal has no frames; what it wrote is then left out.
	if _, err := stdcopy.StdCopy(&text, &text, reader); err != nil || text.Len() == 0 {
		return nil
	}
	return strings.Split(strings.TrimRight(text.String(), "\n"), "\n")
}
