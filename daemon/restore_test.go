package daemon

import (
	"errors"
	"net/http"
	"reflect"
	"slices"
	"sync"
	"testing"

	"tvsctl/dockerops/enginetest"
	"tvsctl/ipc"
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

// A life of the daemon that has just begun tells what the one before it knew of nginx,
// and asks nginx meanwhile.
func TestStatusAfterARestart(t *testing.T) {
	s := newRollStack(t).run(t)
	var before []ipc.Nginx
	until(t, "nginx serves", func() bool {
		before = s.status(t).Nginx
		return len(before) == 1 && len(before[0].Upstreams) == 1 && len(before[0].Upstreams[0].Servers) > 0
	})
	s.end()
	answer, on, asked := s.OnExec, make(chan struct{}), make(chan struct{})
	var once sync.Once
	s.OnExec = func(c *enginetest.Container, argv []string, input string) (string, int) {
		once.Do(func() { close(asked) })
		<-on
		return answer(c, argv, input)
	}
	s.run(t)
	<-asked // by the guard, which holds the publication: a reader does not wait for it
	if now := s.status(t).Nginx; !reflect.DeepEqual(now[0].Upstreams, before[0].Upstreams) || now[0].Version != before[0].Version {
		t.Errorf("%+v, before it was %+v", now, before)
	}
	close(on)
}
