package daemon

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"

	"tvsctl/nginx"
)

// examinedNginx is an nginx whose every examination takes until it is let go on.
type examinedNginx struct {
	control
	d     *Daemon
	begun int // written by who is alone
	on    chan struct{}
}

func (x *examinedNginx) examine(ctx context.Context) error {
	return x.d.examineAlone(ctx, func() error {
		x.begun++
		<-x.on
		return nil
	})
}

func (x *examinedNginx) Test(ctx context.Context) (bool, []string, error) {
	return true, []string{"fine"}, x.examine(ctx)
}

func (x *examinedNginx) Facts(ctx context.Context) (nginx.Facts, error) {
	return nginx.Facts{Version: "1"}, x.examine(ctx)
}

// However many look at nginx, a publication comes right after the examination that runs.
func TestPublicationWaitsForOneExamination(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &Daemon{examining: make(chan struct{}, 1)}
		x := &examinedNginx{d: d, on: make(chan struct{})}
		b := &balancer{name: "nginx.service", control: x}
		var looks sync.WaitGroup
		for range 64 {
			looks.Go(func() {
				if result, err := d.sharedTest(t.Context(), b); err != nil || !result.OK || result.Name != "nginx.service" || len(result.Output) != 1 {
					t.Errorf("%+v, %v", result, err)
				}
			})
		}
		synctest.Wait()
		place := 0
		go func() {
			err := d.examineAlone(t.Context(), func() error { // as Publish comes to do
				x.begun++
				place = x.begun
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		}()
		synctest.Wait()
		for range 64 {
			looks.Go(func() {
				if facts, err := d.sharedFacts(t.Context(), "shop", b); err != nil || facts.Version != "1" {
					t.Errorf("%+v, %v", facts, err)
				}
			})
		}
		synctest.Wait()
		x.on <- struct{}{}
		synctest.Wait()
		if place != 2 {
			t.Errorf("it came as number %d", place)
		}
		// Of each kind one more, for those who came while one ran.
		close(x.on)
		looks.Wait()
		synctest.Wait()
		if x.begun > 5 {
			t.Errorf("%d examinations for 128 looks", x.begun-1)
		}
	})
}

// Who does not wait for the examination of others is told so.
func TestSharedTestIsCanceled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := &examinedNginx{d: &Daemon{examining: make(chan struct{}, 1)}, on: make(chan struct{})}
		ctx, cancel := context.WithTimeout(t.Context(), requestDeadline/2)
		defer cancel()
		if _, err := x.d.sharedTest(ctx, &balancer{control: x}); err != context.DeadlineExceeded {
			t.Errorf("err %v", err)
		}
		close(x.on)
		synctest.Wait()
	})
}
