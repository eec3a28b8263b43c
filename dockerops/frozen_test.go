package dockerops

import (
	"context"
	"errors"
	"testing"
	"time"

	"tvsctl/dockerops/enginetest"
)

// frozen makes the engine hang in a call, until the test ends or thaw is called.
func (r *rig) frozen(t *testing.T, call string) (begun <-chan struct{}, thaw func()) {
	t.Helper()
	in, out := make(chan struct{}, 1), make(chan struct{})
	r.Before(call, func() {
		select {
		case in <- struct{}{}:
		default:
		}
		<-out
	})
	ctx, thaw := context.WithCancel(context.Background())
	context.AfterFunc(ctx, func() { close(out) })
	t.Cleanup(thaw)
	return in, thaw
}

// An engine that hangs in a call that is not canceled holds its step no longer than a
// call may take.
func TestStepsOfAFrozenEngineEnd(t *testing.T) {
	r := newRig(t, "1.45", 1)
	p, err := r.client.Observe(t.Context(), "tvs", nil)
	if err != nil {
		t.Fatal(err)
	}
	web := p.Service("webapp")
	a := &applier{engine: r.client, runner: r.client, project: p, balancer: r.nginx, ids: map[string]string{}, slots: make(chan struct{}, 1),
		composer: composed{}, specs: map[string]*Spec{"webapp": web.Spec}, images: map[string]func() (string, error){"webapp": func() (string, error) { return "web", nil }}}
	for call, step := range map[string]Step{
		"create tvs-webapp-2": {Kind: StepCreate, Service: "webapp", Number: 2, Replica: "tvs-webapp-2"},
		"update tvs-webapp-1": {Kind: StepLimit, Service: "webapp", Container: web.Replicas[0].ID, Limits: Limits{Pids: 9}},
		"inspect list":        {Kind: StepCompose, Service: "webapp", Count: 2},
	} {
		r.frozen(t, call)
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		if err := a.do(ctx, step); !errors.Is(err, ErrUnavailable) {
			t.Errorf("%s: %v", call, err)
		}
		cancel()
	}
}

// composed is a composer that has nothing to do.
type composed struct{}

func (composed) Scale(context.Context, string, int) error  { return nil }
func (composed) Create(context.Context, string, int) error { return nil }

// What the engine does anyway is waited for also where nobody wants it any more.
func TestInsisting(t *testing.T) {
	soon, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	for name, c := range map[string]struct {
		ctx  context.Context
		most time.Duration
	}{"without a bound": {t.Context(), callDeadline}, "with one": {soon, time.Minute}, "canceled": {canceled, callDeadline}} {
		ctx, cancel := insisting(c.ctx)
		end, bounded := ctx.Deadline()
		if left := time.Until(end); ctx.Err() != nil || !bounded || left > c.most || left < c.most-10*time.Second {
			t.Errorf("%s: %v, %v left", name, ctx.Err(), left)
		}
		cancel()
	}
}

// An engine that hangs between an exec and its stream holds nobody beyond his time, and
// the connection does not stay either.
func TestAttachToAFrozenEngineEnds(t *testing.T) {
	for name, begin := range map[string]func(ctx context.Context, r *rig, id string) error{
		"exec": func(ctx context.Context, r *rig, id string) error {
			_, err := r.client.StartExec(ctx, id, []string{"sh"})
			return err
		},
		"session": func(ctx context.Context, r *rig, id string) error {
			_, err := r.client.OpenSession(ctx, id, SessionOptions{Command: []string{"sh"}, Stdin: true})
			return err
		},
	} {
		r := newRig(t, "1.45", 1)
		gone := make(chan struct{})
		r.OnExec = func(*enginetest.Container, []string, string) (string, int) { close(gone); return "", 0 }
		begun, thaw := r.frozen(t, "inspect attach")
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- begin(ctx, r, r.Container("tvs-webapp-1").ID) }()
		<-begun
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", name, err)
		}
		thaw()
		<-gone // the command's input has ended with the connection
		late, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		r.frozen(t, "inspect attach")
		if err := begin(late, r, r.Container("tvs-webapp-1").ID); !errors.Is(err, ErrUnavailable) {
			t.Errorf("%s, late: %v", name, err)
		}
		cancel()
	}
}

// What bounds the start of a command does not bound the command.
func TestAttachedOutlivesItsStart(t *testing.T) {
	r := newRig(t, "1.45", 1)
	r.OnExec = func(_ *enginetest.Container, _ []string, input string) (string, int) { return input, 3 }
	ctx, cancel := context.WithCancel(t.Context())
	x, err := r.client.StartExec(ctx, r.Container("tvs-webapp-1").ID, []string{"cat"})
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, err := x.Write([]byte("text")); err != nil {
		t.Fatal(err)
	}
	if output, status, err := x.Wait(t.Context()); output != "text" || status != 3 || err != nil {
		t.Errorf("%q, %d, %v", output, status, err)
	}
}
