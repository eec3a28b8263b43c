package daemon

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"tvsctl/dockerops"
	"tvsctl/ipc"
)

var started = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func replica(id, state, health string) dockerops.Replica {
	return dockerops.Replica{ID: id, Name: "tvs-" + id, State: state, Health: health, Started: started}
}

func TestEligible(t *testing.T) {
	healthy, sick, starting := replica("h", "running", "healthy"), replica("u", "running", "unhealthy"), replica("s", "running", "starting")
	plain := replica("p", "running", "")
	open := map[string]time.Time{"p": started}
	for _, c := range []struct {
		name      string
		replicas  []dockerops.Replica
		held      []string
		listening map[string]time.Time
		want      string
	}{
		{"nobody", nil, nil, nil, ""},
		{"the healthy", []dockerops.Replica{healthy, sick, starting}, nil, nil, "h"},
		{"the unhealthy where nobody is healthy", []dockerops.Replica{sick, starting}, nil, nil, "u"},
		{"the healthy that is held where the other is unhealthy", []dockerops.Replica{healthy, sick}, []string{"h"}, nil, "h"},
		{"not one in its start", []dockerops.Replica{starting}, nil, nil, ""},
		{"one whose port is open", []dockerops.Replica{plain, sick}, nil, open, "p"},
		{"one whose port was not seen open where there is no other", []dockerops.Replica{plain}, nil, nil, "p"},
		{"not one whose port was not seen open where one is unhealthy", []dockerops.Replica{plain, sick}, nil, nil, "u"},
		{"not one whose port was open in an earlier life", []dockerops.Replica{plain, sick}, nil, map[string]time.Time{"p": started.Add(-time.Hour)}, "u"},
		{"not one that is held where there is no other", []dockerops.Replica{plain}, []string{"p"}, nil, ""},
		{"not one that is held", []dockerops.Replica{healthy, plain}, []string{"p"}, open, "h"},
		{"not one that retires where nobody else is ready", []dockerops.Replica{healthy, sick, starting}, []string{"h retires"}, nil, "u"},
		{"not one that is held where another is ready", []dockerops.Replica{healthy, plain}, []string{"h"}, open, "p"},
		{"not the dead", []dockerops.Replica{replica("x", "exited", "healthy"), replica("y", "exited", "unhealthy"), replica("p", "exited", ""),
			replica("z", "paused", "healthy"), replica("r", "restarting", "unhealthy")}, nil, open, ""},
	} {
		held := map[string]bool{}
		for _, text := range c.held {
			id, _, retires := strings.Cut(text, " retires")
			held[id] = retires
		}
		var got []string
		for _, r := range eligible(c.replicas, held, c.listening) {
			got = append(got, r.ID)
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%s: %q", c.name, got)
		}
	}
}

func TestRenderOverride(t *testing.T) {
	config := map[string]dockerops.ServiceConfig{"webapp": {}, "api": {Replicas: true}, "storage": {}}
	const head = "# What tvsctl keeps for project tvs. Made by: tvsctl -p tvs override\n"
	images := map[string]string{"storage": "disk:2", "gone": "x"}
	const storage = "  storage:\n    image: \"disk:2\"\n"
	for want, counts := range map[string]map[string]int{
		"services:\n  api:\n    deploy:\n      replicas: 2\n" + storage + "  webapp:\n    scale: 3\n": {"webapp": 3, "api": 2, "gone": 9},
		"services:\n" + storage + "  webapp:\n    scale: 0\n":                                         {"webapp": 0},
		"services:\n" + storage: {"gone": 1},
	} {
		if got := renderOverride("tvs", counts, images, config); got != head+want {
			t.Errorf("got\n%s", got)
		}
	}
}

func TestRestored(t *testing.T) {
	p := &dockerops.Project{Name: "tvs", Services: []dockerops.Service{
		{Name: "entry", Settings: dockerops.Settings{Balances: []dockerops.Backend{{Service: "webapp", Port: 80}}}, Replicas: []dockerops.Replica{replica("e", "exited", "")}},
		{Name: "ended", Replicas: []dockerops.Replica{replica("x", "exited", "")}},
		{Name: "gone"},
		{Name: "halted", Replicas: []dockerops.Replica{replica("h", "exited", "")}},
		{Name: "other", Replicas: []dockerops.Replica{replica("o", "exited", "")}},
		{Name: "webapp", Replicas: []dockerops.Replica{replica("a", "exited", ""), replica("b", "running", "")}},
	}}
	kept := projectState{Desired: map[string]int{"webapp": 5, "ended": 1, "gone": 2, "halted": 1}, Stopped: map[string]bool{"halted": true}, Exited: []string{"x"}}
	want, err := restored(p, kept)
	if err != nil {
		t.Fatal(err)
	}
	goals := want.request.Goals
	if len(goals) != 2 || goals["webapp"] != (dockerops.Goal{Count: 2, Running: true}) || goals["entry"] != (dockerops.Goal{Count: 1, Running: true}) {
		t.Errorf("goals %v", goals)
	}
}

func newTestSite(t *testing.T) *site {
	t.Helper()
	t.Setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
	d := New(Config{StateDir: t.TempDir(), ProjectDir: t.TempDir(), Log: &journalBuffer{}})
	d.log = &logbook{out: &journalBuffer{}}
	t.Cleanup(func() { d.state.close() })
	return d.site("tvs")
}

func TestKeepEnded(t *testing.T) {
	s := newTestSite(t)
	w := watcher{ended: map[string]time.Time{"long": time.Now().Add(-2 * intention), "now": time.Now(),
		"back": time.Now().Add(-2 * intention), "removed": time.Now().Add(-2 * intention)}}
	if err := s.d.state.update("tvs", func(k *projectState) { k.Exited = []string{"earlier", "restarted", "vanished"} }); err != nil {
		t.Fatal(err)
	}
	w.last = map[string]dockerops.Replica{"long": replica("long", "exited", ""), "now": replica("now", "exited", ""),
		"back": replica("back", "running", ""), "earlier": replica("earlier", "exited", ""), "restarted": replica("restarted", "running", "")}
	wait := w.keepEnded(s)
	if wait <= 0 || wait > intention {
		t.Errorf("again after %v", wait)
	}
	if got := s.d.state.project("tvs").Exited; !slices.Equal(got, []string{"earlier", "long"}) {
		t.Errorf("kept %q", got)
	}
	if _, there := w.ended["back"]; there || len(w.ended) != 2 {
		t.Errorf("watched %v", w.ended)
	}
	// The daemon ends: what is not decided yet is somebody's doing.
	w.settle(s)
	if got := s.d.state.project("tvs").Exited; !slices.Equal(got, []string{"earlier", "long", "now"}) {
		t.Errorf("kept at the end %q", got)
	}
}

func TestKeepForgetsOnlyWhatItChanged(t *testing.T) {
	s := newTestSite(t)
	p := &dockerops.Project{Name: "tvs", Services: []dockerops.Service{
		{Name: "storage", Replicas: []dockerops.Replica{replica("db", "exited", "")}},
		{Name: "webapp", Replicas: []dockerops.Replica{replica("web", "exited", "")}, Spec: &dockerops.Spec{Service: "webapp"}}}}
	if err := s.d.state.update("tvs", func(k *projectState) {
		k.Exited, k.Stopped, k.Desired = []string{"db", "web"}, map[string]bool{"storage": true, "webapp": true}, map[string]int{"storage": 1}
	}); err != nil {
		t.Fatal(err)
	}
	if err := s.keep(p, scaleTo(p, map[string]int{"webapp": 2})); err != nil {
		t.Fatal(err)
	}
	kept := s.d.state.project("tvs")
	if !slices.Equal(kept.Exited, []string{"db"}) || kept.Stopped["webapp"] || !kept.Stopped["storage"] || kept.Desired["webapp"] != 2 || kept.Desired["storage"] != 1 ||
		kept.Specs["webapp"] == nil || len(kept.Specs) != 1 {
		t.Errorf("kept %+v", kept)
	}
}

func TestHeldAgainWhenThePublicationFails(t *testing.T) {
	s := newTestSite(t) // no engine, so nothing can be published
	s.Hold("new")
	if err := s.Publish(t.Context(), []string{"new"}, []string{"old"}); err == nil {
		t.Error("published")
	}
	if retires, held := s.held["new"]; !held || retires || len(s.held) != 1 {
		t.Errorf("held %v", s.held)
	}
}

func TestOverall(t *testing.T) {
	service := func(balanced bool, desired, running, ready int) ipc.Service {
		return ipc.Service{Balanced: balanced, Desired: desired, Running: running, Ready: ready}
	}
	up := []ipc.Nginx{{State: "running"}}
	for _, c := range []struct {
		name   string
		status ipc.Status
		want   ipc.State
	}{
		{"all", ipc.Status{Nginx: up, Services: []ipc.Service{service(true, 2, 2, 2)}}, ipc.StateUp},
		{"one lacks", ipc.Status{Nginx: up, Services: []ipc.Service{service(true, 2, 2, 1)}}, ipc.StateDegraded},
		{"an unbalanced one lacks", ipc.Status{Nginx: up, Services: []ipc.Service{service(true, 1, 1, 1), service(false, 1, 0, 0)}}, ipc.StateUp},
		{"nginx is down", ipc.Status{Nginx: []ipc.Nginx{{State: "exited"}}, Services: []ipc.Service{service(true, 1, 1, 1)}}, ipc.StateDegraded},
		{"none runs", ipc.Status{Nginx: up, Services: []ipc.Service{service(true, 1, 0, 0), service(false, 1, 1, 1)}}, ipc.StateStopped},
		{"without an nginx", ipc.Status{Services: []ipc.Service{service(false, 1, 1, 1)}}, ipc.StateUp},
		{"nginx of the host", ipc.Status{Nginx: []ipc.Nginx{{State: "active"}}, Services: []ipc.Service{service(true, 1, 1, 1)}}, ipc.StateUp},
	} {
		if got := overall(c.status); got != c.want {
			t.Errorf("%s: %s", c.name, got)
		}
	}
}

func TestReadProjectConfig(t *testing.T) {
	dir := t.TempDir()
	read := func(text string) (projectConfig, error) {
		if err := os.WriteFile(filepath.Join(dir, "tvs.toml"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return readProjectConfig(dir, "tvs")
	}
	if c, err := readProjectConfig(dir, "tvs"); err != nil || c.Nginx != nil || c.Compose != nil {
		t.Errorf("without a file %+v, %v", c, err)
	}
	c, err := read("directory = '/srv/tvs'\nfiles = ['/srv/tvs/a.yaml']\nenv_files = ['/srv/e']\nprofiles = ['p']\n[nginx]\nbalances = 'webapp:8080'\n")
	if err != nil || c.Directory != "/srv/tvs" || c.Compose[0] != "/srv/tvs/a.yaml" || c.Env[0] != "/srv/e" || c.Profiles[0] != "p" ||
		c.Nginx.Unit != "nginx.service" || c.Nginx.Upstreams != hostUpstreamDir || c.Nginx.backends[0].Port != 8080 {
		t.Errorf("%+v, %+v, %v", c, c.Nginx, err)
	}
	for text, says := range map[string]string{
		"directory = ":                     "tvs.toml",
		"directory = 3":                    "directory",
		"folder = '/srv'":                  "tvs.toml: line 1: unknown key folder",
		"[nginx]\nbalance = 'webapp:8080'": "tvs.toml: line 2: unknown key nginx.balance",
		"[services.a]\nunit = 'a@.service'\n\n[services.b] # b = c\nunit = 'b@.service'\nimage = 'c'\n[nginx]\nimage = 'd'": "tvs.toml: line 6: unknown key services.b.image",
		"[nginx]":                      "nginx.balances",
		"[nginx]\nbalances = 'webapp'": "is not SERVICE:PORT",
		"[nginx]\nbalances='a:1'\nupstreams='run'": "is not an absolute path",
	} {
		if c, err := read(text); err == nil || !strings.Contains(err.Error(), says) || c.Nginx != nil {
			t.Errorf("%q: %+v, %v", text, c, err)
		}
	}
	for _, name := range []string{"b.toml", "Bad.toml", "c.txt"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if got := configuredProjects(dir); !slices.Equal(got, []string{"b", "tvs"}) {
		t.Errorf("projects %q", got)
	}
}
