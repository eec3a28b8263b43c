package daemon

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"tvsctl/dockerops"
)

// A replica that ends over and over, and is started again by Docker ever later, is
// nobody's doing, until somebody stops it.
func TestEndedByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		journal := &journalBuffer{}
		d := &Daemon{engine: dockerops.Open(), state: openStore(t.TempDir()), log: &logbook{out: journal},
			sites: map[string]*site{}, again: map[string]chan struct{}{}, born: time.Now()}
		defer d.state.close()
		s, w := d.site("tvs"), &watcher{}
		look := func(state string) []string {
			p := &dockerops.Project{Name: "tvs", Services: []dockerops.Service{{Name: "webapp", Replicas: []dockerops.Replica{replica("a", state, "")}}}}
			w.note(s, p)
			return d.state.project("tvs").Exited
		}
		look("running")
		for _, state := range []string{"restarting", "running", "restarting"} {
			look(state)
			time.Sleep(2 * intention)
			if exited := look(state); len(exited) > 0 || s.unsettled.Load() {
				t.Errorf("%s: it counts as ended by somebody\n%s", state, journal)
			}
		}
		look("exited")
		time.Sleep(2 * intention)
		if exited := look("exited"); !slices.Equal(exited, []string{"a"}) {
			t.Errorf("stopped by somebody: %q", exited)
		}
	})
}
