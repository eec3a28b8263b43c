package daemon

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"tvsctl/ipc"
)

func TestBrokenStateServesReads(t *testing.T) {
	s := newStack(t)
	client, _ := serve(t, Config{StateDir: "/dev/null/state", ProjectDir: t.TempDir(), Log: s.journal})
	var status ipc.Status
	if err := client.Get(t.Context(), ipc.ProjectPath("tvs", ""), &status); err != nil || len(status.Problems) == 0 {
		t.Errorf("%+v, %v", status, err)
	}
	err := client.Post(t.Context(), ipc.ProjectPath("tvs", "scale"), scaleRequest(2), nil)
	if describeError(err).Code != ipc.CodeState || len(s.Names()) != 2 {
		t.Errorf("%v, %q", err, s.Names())
	}
}

func TestWithoutDocker(t *testing.T) {
	t.Setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
	client, _ := serve(t, Config{Version: "test", StateDir: t.TempDir(), ProjectDir: t.TempDir(), Log: &journalBuffer{}})
	var v ipc.Version
	if err := client.Get(t.Context(), "/version", &v); err != nil || v.Version != "test" || v.Engine != "" {
		t.Errorf("%+v, %v", v, err)
	}
	for _, err := range []error{client.Get(t.Context(), "/projects", nil), client.Get(t.Context(), ipc.ProjectPath("tvs", ""), nil),
		client.Post(t.Context(), ipc.ProjectPath("tvs", "scale"), scaleRequest(2), nil)} {
		if describeError(err).Code != ipc.CodeDocker {
			t.Errorf("err %v", err)
		}
	}
}

// Clients go on while the daemon ends for idleness and is started again, as
// systemd does, on the same socket.
func TestIdleExitLosesNoConnection(t *testing.T) {
	t.Setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
	socket := listenUnix(t)
	ctx, cancel := context.WithCancel(t.Context())
	config := Config{Version: "test", StateDir: t.TempDir(), ProjectDir: t.TempDir(), Idle: time.Millisecond, Log: &journalBuffer{}}
	lives := make(chan int, 1)
	go func() {
		n := 0
		defer func() { lives <- n }()
		for ; ctx.Err() == nil; n++ {
			file, err := socket.File()
			if err != nil {
				t.Error(err)
				return
			}
			listener, err := net.FileListener(file)
			file.Close()
			if err != nil {
				t.Error(err)
				return
			}
			own := listener.(*net.UnixListener)
			own.SetUnlinkOnClose(false)
			d := New(config)
			d.log = &logbook{out: config.Log}
			if err := d.Run(ctx, own); err != nil {
				t.Error(err)
				return
			}
		}
	}()
	client := ipc.NewClient(socket.Addr().String())
	var group sync.WaitGroup
	failed := make(chan error, 400)
	for seed := range uint64(2) {
		random := rand.New(rand.NewPCG(seed, 1))
		group.Go(func() {
			for range 150 {
				var v ipc.Version
				if err := client.Get(t.Context(), "/version", &v); err != nil || v.Version != "test" {
					failed <- fmt.Errorf("%+v, %w", v, err)
				}
				// In real time: the next one is to come at every moment of an end.
				time.Sleep(time.Duration(random.IntN(5000)) * time.Microsecond)
			}
		})
	}
	group.Wait()
	cancel()
	close(failed)
	for err := range failed {
		t.Error(err)
	}
	if n := <-lives; n < 10 {
		t.Errorf("it ended only %d times", n)
	}
}

// What an earlier life published is in force, and is no cause for a reload.
func TestSecondLifeReloadsNothing(t *testing.T) {
	s := newStack(t)
	until(t, "the guard publishes", func() bool { return s.members() == "172.20.0.1:8080" })
	later := &journalBuffer{}
	serve(t, Config{StateDir: t.TempDir(), ProjectDir: t.TempDir(), Log: later})
	until(t, "the second looks", func() bool { return strings.Contains(later.String(), "nginx serves webapp from tvs-webapp-1.") })
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.published != 1 {
		t.Errorf("%d publications", s.published)
	}
}

// Told to end in the middle of a request, the daemon answers it first.
func TestEndAnswersFirst(t *testing.T) {
	s := newStack(t)
	until(t, "the guard has looked", func() bool { return s.members() != "" })
	d := New(Config{StateDir: t.TempDir(), ProjectDir: t.TempDir(), Log: s.journal})
	d.log = &logbook{out: s.journal}
	listener := listenUnix(t)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx, listener) }()
	asked, on := make(chan struct{}, 1), make(chan struct{})
	s.Before("inspect version", func() {
		asked <- struct{}{}
		<-on
	})
	answered := make(chan error, 1)
	go func() {
		answered <- ipc.NewClient(listener.Addr().String()).Get(t.Context(), "/version", &ipc.Version{})
	}()
	<-asked
	cancel()
	select {
	case err := <-ended:
		t.Errorf("it ended before: %v", err)
	case <-time.After(50 * time.Millisecond): // errs on the side of a pass
	}
	close(on)
	if err := <-answered; err != nil {
		t.Error(err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
