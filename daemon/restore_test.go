package daemon

import (
	"errors"
	"net/http"
	"slices"
	"testing"

	"tvsctl/dockerops/enginetest"
)

// Right after a start of the machine a port may yet be taken.
func TestRestoreTriesAgain(t *testing.T) {
	s := newRollStack(t)
	s.run(t)
	s.status(t)
	s.end()
	s.Update("tvs-webapp-2", "die", func(c *enginetest.Container) { c.State, c.Health = "exited", "" })
	store := openStore(s.state)
	err := store.update("tvs", func(k *projectState) { k.Desired["webapp"], k.Exited = 3, nil })
	if err := errors.Join(err, store.keepEpoch("an earlier one"), store.close()); err != nil {
		t.Fatal(err)
	}
	s.Fail("start tvs-webapp-2", http.StatusInternalServerError, "port is already allocated")
	tried := 0
	s.Before("start tvs-webapp-2", func() {
		if tried++; tried == 2 {
			s.Fail("start tvs-webapp-2", 0, "")
		}
	})
	s.run(t)
	until(t, "it runs", func() bool { return slices.Contains(s.Names(), "tvs-webapp-2 running") })
	if tried < 2 {
		t.Errorf("tried %d times", tried)
	}
}
