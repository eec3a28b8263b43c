package daemon

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"tvsctl/dockerops"
	"tvsctl/dockerops/enginetest"
	"tvsctl/ipc"
)

// interrupted is a stack whose daemon ended in the middle of scaling webapp to count,
// with the intent on disk.
func interrupted(t *testing.T, count int, made func(s *stack)) *stack {
	t.Helper()
	s := newStackWithout(t)
	p := &dockerops.Project{Name: "tvs"}
	for _, service := range []string{"entry", "webapp"} {
		p.Services = append(p.Services, dockerops.Service{Name: service,
			Replicas: []dockerops.Replica{{ID: s.Container("tvs-" + service + "-1").ID, Number: 1, State: "running"}}})
	}
	request, err := json.Marshal(scaleRequest(count))
	if err != nil {
		t.Fatal(err)
	}
	j := job{Kind: "scale", Request: request}
	j.settle(p, scaleTo(p, map[string]int{"webapp": count}))
	dir := t.TempDir()
	store := openStore(dir)
	record := ipc.Operation{ID: "abcd", Project: "tvs", Verb: "scale", Summary: "scale webapp", State: ipc.OperationRunning, Queued: time.Now(),
		Steps: []ipc.Step{{ID: 1, Text: "of the earlier life"}}}
	if err := store.record(record, &j); err != nil {
		t.Fatal(err)
	}
	if err := store.close(); err != nil {
		t.Fatal(err)
	}
	made(s)
	s.Client, s.d = serve(t, Config{Version: "test", StateDir: dir, ProjectDir: t.TempDir(), Log: s.journal})
	return s
}

func (s *stack) outcome(t *testing.T) *ipc.Operation {
	t.Helper()
	o, err := s.Follow(t.Context(), "abcd", func(ipc.Event) {})
	if err != nil {
		t.Fatal(err)
	}
	var whole ipc.Operation
	if err := s.Get(t.Context(), "/operations/abcd", &whole); err != nil {
		t.Fatal(err)
	}
	if slices.ContainsFunc(whole.Steps, func(step ipc.Step) bool { return step.Text == "of the earlier life" }) {
		t.Error("the record has the steps of two plans")
	}
	return o
}

func TestResume(t *testing.T) {
	for name, made := range map[string]func(s *stack){
		"before anything": func(*stack) {},
		"between create and start": func(s *stack) {
			s.Add("webapp", 2, func(c *enginetest.Container) { c.State, c.Address = "created", "172.20.0.2" })
		},
		"before they were ready": func(s *stack) {
			s.Add("webapp", 2, func(c *enginetest.Container) { c.Health, c.Address = "starting", "172.20.0.2" })
			time.AfterFunc(0, func() {
				s.Update("tvs-webapp-2", "health_status: healthy", func(c *enginetest.Container) { c.Health = "healthy" })
			})
		},
		"before the publication": func(s *stack) {
			for n, address := range []string{"172.20.0.2", "172.20.0.3"} {
				s.Add("webapp", n+2, func(c *enginetest.Container) { c.Health, c.Address = "healthy", address })
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := interrupted(t, 3, made)
			if o := s.outcome(t); o.State != ipc.OperationSucceeded || o.Result != "webapp has 3 ready replicas" {
				t.Errorf("%+v %+v", o, o.Error)
			}
			if names := strings.Join(s.Names(), " "); strings.Count(names, "webapp") != 3 || !strings.Contains(names, "tvs-webapp-3 running") {
				t.Errorf("containers %s", names)
			}
			if got := s.members(); strings.Count(got, ":8080") != 3 {
				t.Errorf("nginx has %s", got)
			}
			if n := s.d.state.project("tvs").Desired["webapp"]; n != 3 {
				t.Errorf("%d desired", n)
			}
		})
	}
}

// A resumed change that fails is taken back with what the earlier life made, which
// was never served.
func TestResumeTakesBack(t *testing.T) {
	s := interrupted(t, 3, func(s *stack) {
		s.Add("webapp", 2, func(c *enginetest.Container) { c.Health, c.Address = "healthy", "172.20.0.2" })
		s.OnStart = func(c *enginetest.Container) { c.State, c.ExitCode = "exited", 3 }
	})
	if o := s.outcome(t); o.State != ipc.OperationFailed || o.Error.Code != ipc.CodeNotReady {
		t.Errorf("%+v %+v", o, o.Error)
	}
	if names := s.Names(); !slices.Equal(names, []string{"tvs-entry-1 running", "tvs-webapp-1 running"}) {
		t.Errorf("containers %q", names)
	}
	if strings.Contains(s.journal.String(), "nginx serves webapp from tvs-webapp-1, tvs-webapp-2") {
		t.Error("a replica was served that the change had not published")
	}
}

func TestCancel(t *testing.T) {
	s := newStack(t)
	until(t, "the guard publishes", func() bool { return s.members() == "172.20.0.1:8080" })
	s.OnStart = func(c *enginetest.Container) { c.Health = "starting" } // for ever
	var running, queued, canceled ipc.Operation
	for _, o := range []*ipc.Operation{&running, &queued} {
		if err := s.Post(t.Context(), ipc.ProjectPath("", "scale"), scaleRequest(2), o); err != nil {
			t.Fatal(err)
		}
	}
	until(t, "it waits for a replica", func() bool { return slices.Contains(s.Names(), "tvs-webapp-2 running") })
	for _, o := range []ipc.Operation{queued, running} {
		if err := s.Post(t.Context(), "/operations/"+o.ID+"/cancel", struct{}{}, &canceled); err != nil {
			t.Fatal(err)
		}
		ended, err := s.Follow(t.Context(), o.ID, func(ipc.Event) {})
		if err != nil || ended.State != ipc.OperationFailed || ended.Error.Code != ipc.CodeCanceled {
			t.Errorf("%+v, %v", ended, err)
		}
	}
	if names := s.Names(); !slices.Equal(names, []string{"tvs-entry-1 running", "tvs-webapp-1 running"}) {
		t.Errorf("containers %q", names)
	}
	// Its summary counts what the running one had made by then.
	if !strings.Contains(s.journal.String(), "after 0.00 s: "+queued.Summary+": canceled by") {
		t.Errorf("the journal says %s", s.journal)
	}
	if err := s.Post(t.Context(), "/operations/"+running.ID+"/cancel", struct{}{}, &canceled); err == nil || describeError(err).Code != ipc.CodeConflict {
		t.Errorf("of an ended one: %v", err)
	}
	s.OnStart = func(c *enginetest.Container) { c.Health = "healthy" }
	if o := s.do(t, "scale", scaleRequest(2)); o.State != ipc.OperationSucceeded {
		t.Errorf("the next one: %+v %+v", o, o.Error)
	}
}
