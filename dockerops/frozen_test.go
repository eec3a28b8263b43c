package dockerops

import (
	"context"
	"errors"
	"testing"
	"time"
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
