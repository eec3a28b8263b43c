package daemon

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"tvsctl/ipc"
	"tvsctl/systemd/managertest"
)

// A client that follows something keeps nobody else from being served.
func TestFollowersHold(t *testing.T) {
	manager := managertest.Start(t)
	manager.Set("a.service", map[string]any{"ActiveState": "active"})
	s := newStack(t)
	for name, follow := range map[string]func(ctx context.Context) error{
		"events": func(ctx context.Context) error { return s.Events(ctx, "", func(ipc.HostEvent) {}) },
		"logs": func(ctx context.Context) error {
			return s.Logs(ctx, ipc.LogRequest{Project: "tvs", Follow: true}, func(ipc.LogLine) {})
		},
		"unit wait": func(ctx context.Context) error { return s.Get(ctx, "/units/a.service/wait?for=failed", nil) },
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan error, 1)
			go func() { ended <- follow(ctx) }()
			until(t, "it holds the daemon", s.d.operating)
			cancel()
			if err := <-ended; err == nil {
				t.Error("there is nothing more to follow")
			}
			until(t, "it holds the daemon no more", func() bool { return !s.d.operating() })
		})
	}
}

// A daemon that would end for want of work lets others wait for what it has accepted, but
// not for long, and not when it is told to end.
func TestDrained(t *testing.T) {
	for _, c := range []struct {
		name             string
		open, held, stop time.Duration // until a connection ends, holds the daemon, the daemon is told to end
		drained          bool
		took             time.Duration
	}{
		{"one that ends", shutFor / 2, 0, 0, true, shutFor / 2},
		{"one that stays", time.Hour, 0, 0, false, shutFor},
		{"one that follows something", time.Hour, shutFor / 4, 0, false, shutFor / 4},
		{"one that stays, and an end", time.Hour, 0, shutFor / 4, false, shutFor / 4},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := &Daemon{running: map[string]*operation{}, began: make(chan struct{}, 1)}
				g := newTestGate(nil)
				g.open.Add(1)
				time.AfterFunc(c.open, g.open.Done)
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				if c.held > 0 {
					time.AfterFunc(c.held, func() { d.hold() })
				}
				if c.stop > 0 {
					time.AfterFunc(c.stop, cancel)
				}
				start := time.Now()
				if drained := d.drained(ctx, g); drained != c.drained || time.Since(start) != c.took {
					t.Errorf("drained %v after %v", drained, time.Since(start))
				}
				g.open.Wait()
			})
		})
	}
}

// What was accepted before the daemon stayed after all is waited for too when it is told to end.
func TestFinishWaitsForEarlierConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &Daemon{running: map[string]*operation{}}
		g := newTestGate(nil)
		g.earlier = newTestGate(nil)
		g.earlier.open.Add(1)
		time.AfterFunc(time.Second, g.earlier.open.Done)
		start := time.Now()
		if d.finish(g); time.Since(start) != time.Second {
			t.Errorf("it took %v", time.Since(start))
		}
	})
}

// A client that says nothing, and is there when the idle time has passed, shuts out nobody.
func TestSilentClientShutsOutNobody(t *testing.T) {
	t.Setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
	d := New(Config{Version: "test", StateDir: t.TempDir(), ProjectDir: t.TempDir(), Idle: time.Hour, Log: &journalBuffer{}})
	d.log = &logbook{out: io.Discard}
	listener := listenUnix(t)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx, listener) }()
	<-d.guarding
	until(t, "it has nothing to do", d.activity.quiet)
	silent := dial(t, listener)
	until(t, "it is accepted", func() bool { return !d.activity.quiet() })
	d.activity.end() // as if it had not been when the idle time passed
	d.activity.expired <- struct{}{}
	until(t, "it would end", func() bool { return errors.Is(listener.SetDeadline(time.Time{}), net.ErrClosed) })
	soon, stop := context.WithTimeout(t.Context(), headerTimeout/2) // the silent one has as long as that
	defer stop()
	if err := ipc.NewClient(listener.Addr().String()).Get(soon, "/version", &ipc.Version{}); err != nil {
		t.Error(err)
	}
	d.activity.begin()
	silent.Close()
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
