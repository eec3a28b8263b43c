package daemon

import (
	"testing"

	"tvsctl/dockerops"
)

// A replica that was observed while it retired, and is gone by the time of the choice,
// with its operation over, is not served again.
func TestRetiredWhileChoosing(t *testing.T) {
	d := &Daemon{sites: map[string]*site{}, again: map[string]chan struct{}{}}
	s := d.site("tvs")
	p := &dockerops.Project{Name: "tvs", Backends: map[string]dockerops.Backend{"webapp": {Service: "webapp", Port: 8080}},
		Services: []dockerops.Service{{Name: "webapp", Replicas: []dockerops.Replica{replica("a", "running", "healthy"), replica("b", "running", "healthy")}}}}
	s.Hold("b")
	before := s.holding()
	s.releaseAll()
	if members := s.choose(t.Context(), p, before)["webapp"]; len(members) != 1 || members[0].ID != "a" {
		t.Errorf("served by %+v", members)
	}
	if members := s.choose(t.Context(), p, s.holding())["webapp"]; len(members) != 2 {
		t.Errorf("the next look: %+v", members)
	}
}
