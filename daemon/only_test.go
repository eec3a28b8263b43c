package daemon

import (
	"context"
	"strings"
	"testing"
	"time"

	"tvsctl/dockerops"
	"tvsctl/dockerops/enginetest"
	"tvsctl/ipc"
)

// briefly shortens how long others are asked, until the test ends.
func briefly(t *testing.T) {
	t.Helper()
	before := askPatience
	askPatience = 50 * time.Millisecond
	t.Cleanup(func() { askPatience = before })
}

// newMixedStack is an instanceStack on a host whose Docker has project tvs.
func newMixedStack(t *testing.T) (*instanceStack, *enginetest.Engine) {
	t.Helper()
	briefly(t)
	s := newInstanceStack(t, "notify")
	s.File("docker.service", map[string]any{"ActiveState": "active"})
	engine := enginetest.Start(t, "1.45")
	engine.Add("webapp", 1, nil)
	return s.run(t), engine
}

// only asks for the status, and for a change, of the only project.
func (s *instanceStack) only(t *testing.T) (project string, looked, changed error) {
	t.Helper()
	var status ipc.Status
	looked = s.Get(t.Context(), ipc.ProjectPath(ipc.OnlyProject, ""), &status)
	changed = s.Post(t.Context(), ipc.ProjectPath(ipc.OnlyProject, "scale"), webTo(1), nil)
	return status.Project, looked, changed
}

// While Docker does not answer, nobody knows which projects it has: what seems to be the
// only one is looked at, and not changed unless it is named.
func TestOnlyProjectWithoutDocker(t *testing.T) {
	for name, lose := range map[string]func(t *testing.T, e *enginetest.Engine){
		"stopped": func(_ *testing.T, e *enginetest.Engine) { e.Down() },
		"frozen": func(t *testing.T, e *enginetest.Engine) {
			thaw, cancel := context.WithCancel(context.Background())
			t.Cleanup(cancel)
			e.Before("inspect list", func() { <-thaw.Done() })
		},
	} {
		t.Run(name, func(t *testing.T) {
			s, engine := newMixedStack(t)
			_, looked, changed := s.only(t)
			for _, err := range []error{looked, changed} {
				if e := describeError(err); e.Code != ipc.CodeProjectRequired || e.Message != "which project? there are shop, tvs" {
					t.Errorf("with Docker: %v", err)
				}
			}
			lose(t, engine)
			project, looked, changed := s.only(t)
			if project != "shop" || looked != nil {
				t.Errorf("looked at %q, %v", project, looked)
			}
			if changed == nil {
				t.Fatal("it is changed")
			}
			e := describeError(changed)
			if e.Code != ipc.CodeDocker || !strings.HasPrefix(e.Message, "cannot tell whether shop is the only project: ") || e.Hint != "name it with --project or TVS_PROJECT" {
				t.Errorf("changed: %+v", e)
			}
			var o ipc.Operation
			if err := s.Post(t.Context(), ipc.ProjectPath("shop", "scale"), webTo(1), &o); err != nil {
				t.Errorf("by its name: %v", err)
			}
			// Of a Docker that was stopped nothing runs.
			s.Set("docker.service", map[string]any{"ActiveState": "inactive"})
			if _, _, err := s.only(t); err != nil {
				t.Errorf("changed with Docker stopped: %v", err)
			}
			// One that is declared is known of without Docker.
			if err := s.d.state.update("tvs", func(k *projectState) { k.Files = &dockerops.Files{Directory: "/srv"} }); err != nil {
				t.Fatal(err)
			}
			_, looked, changed = s.only(t)
			for _, err := range []error{looked, changed} {
				if e := describeError(err); e.Code != ipc.CodeProjectRequired || e.Message != "which project? there are shop, tvs" {
					t.Errorf("with a declared one: %v", err)
				}
			}
		})
	}
}

// A bus that hangs, when it is asked whether there is Docker at all, holds up nobody for long.
func TestNeedsNoDockerOfAFrozenBus(t *testing.T) {
	briefly(t)
	s := newInstanceStack(t, "notify")
	d := New(s.config)
	defer d.state.close()
	defer d.units.Close()
	if !d.needsNoDocker(t.Context()) {
		t.Error("it needs Docker")
	}
	thaw := s.Freeze()
	defer thaw()
	if d.needsNoDocker(t.Context()) {
		t.Error("it knows without asking")
	}
}
