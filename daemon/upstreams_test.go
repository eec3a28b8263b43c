package daemon

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"tvsctl/dockerops"
)

// A replica that was observed while it retired, and is gone by the time of the choice,
// with its operation over, is not served again.
func TestRetiredWhileChoosing(t *testing.T) {
	d := &Daemon{sites: map[string]*site{}, again: map[string]chan struct{}{}}
	s := d.site("tvs")
	p := &dockerops.Project{Name: "tvs", Backends: map[string]dockerops.Backend{"webapp": {Service: "webapp", Port: 8080}},
		Services: []dockerops.Service{{Name: "webapp", Replicas: []dockerops.Replica{replica("a", "running", "healthy"), replica("b", "running", "healthy")}}}}
	s.held["b"] = true
	before := s.holding()
	s.releaseAll()
	if members := s.choose(t.Context(), p, before)["webapp"]; len(members) != 1 || members[0].ID != "a" {
		t.Errorf("served by %+v", members)
	}
	if members := s.choose(t.Context(), p, s.holding())["webapp"]; len(members) != 2 {
		t.Errorf("the next look: %+v", members)
	}
}

// What joins and what retires are exchanged at once for who looks: one who saw the first
// as it was and the second as it is would find nobody to serve.
func TestExchangeWhileChoosing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &Daemon{sites: map[string]*site{}, again: map[string]chan struct{}{}}
		s := d.site("tvs")
		p := &dockerops.Project{Name: "tvs", Backends: map[string]dockerops.Backend{"webapp": {Service: "webapp", Port: 8080}},
			Services: []dockerops.Service{{Name: "webapp", Replicas: []dockerops.Replica{replica("old", "running", "healthy"), replica("new", "running", "healthy")}}}}
		ctx, cancel := context.WithCancel(t.Context())
		s.Hold("new")
		if err := s.lock(ctx); err != nil { // as the guard does
			t.Fatal(err)
		}
		before := s.holding()
		published := make(chan error, 1)
		go func() { published <- s.Publish(ctx, []string{"new"}, []string{"old"}) }()
		synctest.Wait()
		if members := s.choose(ctx, p, before)["webapp"]; len(members) != 1 || members[0].ID != "old" {
			t.Errorf("served by %+v", members)
		}
		cancel()
		if err := <-published; !errors.Is(err, context.Canceled) {
			t.Errorf("err %v", err)
		}
		if now := s.holding(); len(now.ids) != 1 || now.ids["new"] {
			t.Errorf("held %+v", now)
		}
	})
}
