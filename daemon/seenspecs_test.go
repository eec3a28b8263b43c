package daemon

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	bolt "go.etcd.io/bbolt"

	"tvsctl/dockerops"
	"tvsctl/ipc"
)

// What grows from none is made as it was last seen, whoever made that.
func TestGrowsFromNoneAsLastSeen(t *testing.T) {
	s := newRollStack(t).run(t)
	if o := s.do(t, "scale", scaleRequest(3)); o.Error != nil || imageOf(s.kept().Specs["webapp"]) != "app:1 sha256:1 hash-app:1" {
		t.Fatalf("%+v, kept %+v", o, s.kept())
	}
	s.removeWebapps(3)
	for n := range 2 { // by docker compose up -d
		s.Add("webapp", n+1, s.is("app:2", nil))
	}
	s.Update("tvs-webapp-2", "start", s.is("app:2", nil))
	until(t, "the guard keeps it", func() bool { return imageOf(s.kept().Specs["webapp"]) == "app:2 sha256:2 hash-app:2" })
	s.removeWebapps(2)
	s.expect(t, s.do(t, "scale", scaleRequest(1)), "", "webapp has 1 ready replica", "1")
	if c := s.Container("tvs-webapp-1"); c.ImageID != "sha256:2" || c.Labels["com.docker.compose.config-hash"] != "hash-app:2" {
		t.Errorf("it is made from %s, %v", c.ImageID, c.Labels)
	}
}

// newTestSpec is a create spec of an image, as it is kept.
func newTestSpec(t *testing.T, service, imageID string) *dockerops.Spec {
	t.Helper()
	spec, text := new(dockerops.Spec), fmt.Sprintf(`{"project": "tvs", "service": %q, "separator": "-", "config": {}, "host_config": {}, "image_id": %q}`, service, imageID)
	if err := json.Unmarshal([]byte(text), spec); err != nil {
		t.Fatal(err)
	}
	return spec
}

func TestKeepSpecs(t *testing.T) {
	for name, c := range map[string]struct {
		change func(s *site, k *projectState, service *dockerops.Service)
		kept   string
	}{
		"another is seen": {func(*site, *projectState, *dockerops.Service) {}, "new"},
		"none is kept":    {func(_ *site, k *projectState, _ *dockerops.Service) { delete(k.Specs, "webapp") }, "new"},
		"nobody scaled":   {func(_ *site, k *projectState, _ *dockerops.Service) { delete(k.Desired, "webapp") }, "old"},
		"a rollout holds": {func(_ *site, k *projectState, _ *dockerops.Service) { k.Rollouts["webapp"] = &rollout{} }, "old"},
		"it is changed":   {func(s *site, _ *projectState, _ *dockerops.Service) { s.active.Store(true) }, "old"},
		"none is there":   {func(_ *site, _ *projectState, service *dockerops.Service) { service.Replicas = nil }, "old"},
		"it is yet made": {func(_ *site, _ *projectState, service *dockerops.Service) {
			service.Replicas = append(service.Replicas, replica("b", "created", ""))
		}, "old"},
		"it has another name": {func(_ *site, _ *projectState, service *dockerops.Service) { service.Spec.Separator = "" }, "old"},
		"an nginx": {func(_ *site, _ *projectState, service *dockerops.Service) {
			service.Settings.Balances = []dockerops.Backend{{Service: "api"}}
		}, "old"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newTestSite(t)
			p := &dockerops.Project{Name: "tvs", Services: []dockerops.Service{{Name: "webapp", Spec: newTestSpec(t, "webapp", "new"), Replicas: []dockerops.Replica{replica("a", "running", "")}}}}
			if err := s.d.state.update("tvs", func(k *projectState) {
				k.Desired["webapp"], k.Specs["webapp"] = 1, newTestSpec(t, "webapp", "old")
				c.change(s, k, &p.Services[0])
			}); err != nil {
				t.Fatal(err)
			}
			w := watcher{}
			s.keepSpecs(&w, s.d.state.project("tvs"), p)
			if got := s.d.state.project("tvs").Specs["webapp"].ImageID; got != c.kept {
				t.Errorf("kept %s", got)
			}
			before := writes(t, s.d.state)
			if s.keepSpecs(&w, s.d.state.project("tvs"), p); writes(t, s.d.state) != before {
				t.Error("it is written again")
			}
		})
	}
}

// writes counts what was written to a state.
func writes(t *testing.T, s *store) (n int) {
	t.Helper()
	if err := s.db.View(func(tx *bolt.Tx) error { n = tx.ID(); return nil }); err != nil {
		t.Fatal(err)
	}
	return n
}

// A rollout that has begun since the guard looked has the last word, and a state that
// cannot be written is told once.
func TestKeepSpecsLater(t *testing.T) {
	s := newTestSite(t)
	w := watcher{}
	p := &dockerops.Project{Name: "tvs", Services: []dockerops.Service{{Name: "webapp", Replicas: []dockerops.Replica{replica("a", "running", "")},
		Spec: newTestSpec(t, "webapp", "new")}}}
	seen := projectState{Desired: map[string]int{"webapp": 1}}
	if err := s.d.state.update("tvs", func(k *projectState) { k.Rollouts["webapp"] = &rollout{Operation: "abcd", Failure: &ipc.Error{}} }); err != nil {
		t.Fatal(err)
	}
	if s.keepSpecs(&w, seen, p); s.d.state.project("tvs").Specs["webapp"] != nil || w.unkept {
		t.Errorf("kept %+v", s.d.state.project("tvs"))
	}
	if err := s.d.state.db.Close(); err != nil {
		t.Fatal(err)
	}
	journal := &journalBuffer{}
	s.d.log = &logbook{out: journal}
	for range 3 {
		s.keepSpecs(&w, seen, p)
	}
	if n := strings.Count(journal.String(), "Cannot keep from what the replicas of tvs are made: "); n != 1 {
		t.Errorf("%d times in %s", n, journal)
	}
}
