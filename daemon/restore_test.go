package daemon

import (
	"errors"
	"net/http"
	"reflect"
	"slices"
	"strings"
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

// What somebody ended or stopped stays so, also where something else depends on it; that
// is no reason to leave out what nobody ended.
func TestRestoreLeavesWhatSomebodyEnded(t *testing.T) {
	ended := func(c *enginetest.Container) { c.State, c.Health = "exited", "" }
	for name, c := range map[string]struct {
		keep func(s *rollStack, k *projectState)
		want []string
	}{
		"one replica": {func(s *rollStack, k *projectState) { k.Exited = []string{s.Container("tvs-webapp-2").ID} },
			[]string{"tvs-entry-1 running", "tvs-storage-1 running", "tvs-webapp-1 running", "tvs-webapp-2 exited", "tvs-webapp-3 running"}},
		"a service, and nothing else needs what it depends on": {func(_ *rollStack, k *projectState) { k.Stopped["webapp"] = true },
			[]string{"tvs-entry-1 running", "tvs-storage-1 exited", "tvs-webapp-1 exited", "tvs-webapp-2 exited", "tvs-webapp-3 exited"}},
		"what others depend on": {func(s *rollStack, k *projectState) { k.Exited = []string{s.Container("tvs-storage-1").ID} },
			[]string{"tvs-entry-1 running", "tvs-storage-1 exited", "tvs-webapp-1 running", "tvs-webapp-2 running", "tvs-webapp-3 running"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newRollStack(t)
			s.Add("storage", 1, ended)
			for _, name := range s.Names() {
				s.Update(strings.Fields(name)[0], "die", func(c *enginetest.Container) {
					ended(c)
					c.Labels["com.docker.compose.depends_on"] = map[string]string{"entry": "webapp:service_started:false", "webapp": "storage:service_started:false"}[c.Labels["com.docker.compose.service"]]
				})
			}
			s.restores(t, func(k *projectState) { k.Desired["webapp"] = 3; c.keep(s, k) })
			if got := s.Names(); !slices.Equal(got, c.want) {
				t.Errorf("containers %q, want %q", got, c.want)
			}
		})
	}
}

// Where all that does not run stays so, there is nothing to do, and no operation.
func TestRestoreOfNothing(t *testing.T) {
	s := newRollStack(t)
	s.Update("tvs-webapp-2", "die", func(c *enginetest.Container) { c.State, c.Health = "exited", "" })
	s.restores(t, func(k *projectState) {
		k.Desired["webapp"], k.Exited = 3, []string{s.Container("tvs-webapp-2").ID}
	})
	if list := s.d.state.history(); len(list) > 0 || s.webapps() != "1 (2 exited) 3" {
		t.Errorf("webapps %q, operations %+v", s.webapps(), list)
	}
}

// restores is the first life of the daemon after a start of the machine, up to the end of
// its restore, with what was kept before.
func (s *rollStack) restores(t *testing.T, keep func(k *projectState)) {
	t.Helper()
	store := openStore(s.state)
	if err := errors.Join(store.update("tvs", keep), store.keepEpoch("an earlier one"), store.close()); err != nil {
		t.Fatal(err)
	}
	s.run(t)
	until(t, "it is restored", func() bool {
		return s.d.state.lastEpoch() != "an earlier one" && len(s.d.runningIn("tvs")) == 0
	})
}
