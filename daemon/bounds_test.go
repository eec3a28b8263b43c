package daemon

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"tvsctl/dockerops/enginetest"
	"tvsctl/ipc"
)

// outOfBounds is a stack with more webapps than their label allows by now.
func outOfBounds(t *testing.T) *rollStack {
	t.Helper()
	s := newRollStack(t)
	for n := range 3 {
		s.Update(fmt.Sprintf("tvs-webapp-%d", n+1), "", func(c *enginetest.Container) { c.Labels["tvs.scale.max"] = "2" })
	}
	return s
}

// Services that are out of their bounds are restored as they are, and with them the rest
// of the project.
func TestRestoreOutOfBounds(t *testing.T) {
	s := outOfBounds(t)
	for _, name := range []string{"tvs-entry-1", "tvs-webapp-1", "tvs-webapp-2", "tvs-webapp-3"} {
		s.Update(name, "die", func(c *enginetest.Container) { c.State, c.Health = "exited", "" })
	}
	store := openStore(s.state)
	err := store.update("tvs", func(k *projectState) { k.Desired["webapp"] = 3 })
	if err := errors.Join(err, store.keepEpoch("an earlier one"), store.close()); err != nil {
		t.Fatal(err)
	}
	s.run(t)
	until(t, "all run", func() bool {
		return slices.Equal(s.Names(), []string{"tvs-entry-1 running", "tvs-webapp-1 running", "tvs-webapp-2 running", "tvs-webapp-3 running"})
	})
}

func TestStartOutOfBounds(t *testing.T) {
	s := outOfBounds(t).run(t)
	s.expect(t, s.do(t, "stop", ipc.StopRequest{}), "", "webapp has 3 stopped replicas", "(1 exited) (2 exited) (3 exited)")
	s.expect(t, s.do(t, "start", ipc.StartRequest{}), "", "webapp has 3 ready replicas", "1 2 3")
	if err := s.refused(t, "scale", scaleRequest(4)); err.Code != ipc.CodeOutOfRange {
		t.Errorf("%+v", err)
	}
}

// Of instances come back those for which there are ports, whatever is desired.
func TestRestoreInstancesOutOfBounds(t *testing.T) {
	s := newInstanceStack(t, "notify")
	writeProject(t, s.config.ProjectDir, "shop", shopFile[:len(shopFile)-len("[nginx]\n")]+"max = 2\n")
	store := openStore(s.config.StateDir)
	err := store.update("shop", func(k *projectState) { k.Desired["web"] = 3 })
	if err := errors.Join(err, store.keepBoot("an earlier one"), store.close()); err != nil {
		t.Fatal(err)
	}
	s.run(t)
	want := []string{"app@25000.service", "app@25001.service", "db.service"}
	until(t, "they run", func() bool { return slices.Equal(s.Active(), want) })
}
