package daemon

import (
	"context"
	"io"
	"net"
	"runtime"
	"sync"
	"testing"
	"time"

	"tvsctl/ipc"
)

// Whatever clients do, when they have gone there are as many goroutines as before.
func TestNothingStaysBehind(t *testing.T) {
	s := newStackWithout(t)
	s.d = New(Config{Version: "test", StateDir: t.TempDir(), ProjectDir: t.TempDir(), Log: s.journal})
	s.d.log = &logbook{out: s.journal}
	s.d.state.db.NoSync = true // every change waits for the disk several times
	listener := listenUnix(t)
	s.Client = ipc.NewClient(listener.Addr().String())
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 1)
	beforeRun := runtime.NumGoroutine()
	go func() { ended <- s.d.Run(ctx, listener) }()

	round := func() {
		var group sync.WaitGroup
		for range 10 {
			group.Go(func() {
				var status ipc.Status
				if err := s.Get(t.Context(), ipc.ProjectPath("tvs", ""), &status); err != nil {
					t.Error(err)
				}
			})
			group.Go(func() { // goes in the middle of its request
				if c, err := net.Dial("unix", listener.Addr().String()); err == nil {
					_, _ = io.WriteString(c, "GET /v1/ver")
					c.Close()
				}
			})
			group.Go(func() { // hangs up on an answer without end
				brief, stop := context.WithTimeout(t.Context(), 5*time.Millisecond)
				defer stop()
				_ = s.Events(brief, "", func(ipc.HostEvent) {})
			})
		}
		group.Wait()
		for _, count := range []int{3, 1} {
			if o := s.do(t, "scale", scaleRequest(count)); o.State != ipc.OperationSucceeded {
				t.Fatalf("%+v", o)
			}
		}
	}
	// The first rounds open what stays open: connections to the engine.
	for range 3 {
		round()
	}
	before := settledGoroutines()
	for range 20 {
		round()
	}
	// Connections to the engine come and go; one left over for each of 20 rounds is more.
	const some = 15
	until(t, "the goroutines end", func() bool { return runtime.NumGoroutine() <= before+some })
	t.Logf("%d goroutines before 20 rounds, %d after", before, runtime.NumGoroutine())
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	until(t, "all of the daemon's end with it", func() bool { return runtime.NumGoroutine() <= beforeRun+some })
}

// settledGoroutines counts them when their number has not changed for a while.
func settledGoroutines() int {
	n, since := runtime.NumGoroutine(), time.Now()
	for time.Since(since) < 100*time.Millisecond {
		if now := runtime.NumGoroutine(); now != n {
			n, since = now, time.Now()
		}
		time.Sleep(time.Millisecond)
	}
	return n
}
