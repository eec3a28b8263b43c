package daemon

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"tvsctl/ipc"
)

// watched is a daemon of which nothing but health runs, asked every 30 s.
type watched struct {
	*Daemon
	fed     atomic.Int64
	journal journalBuffer
}

func watch(t *testing.T) *watched {
	t.Helper()
	w := &watched{}
	w.Daemon = &Daemon{activity: newActivity(0), log: &logbook{out: &w.journal}, health: newHealth(), state: &store{}, sites: map[string]*site{}, running: map[string]*operation{}}
	w.site("tvs")
	w.running["a"] = newOperation(nil, ipc.Operation{ID: "a"}, job{Kind: "scale"})
	w.health.feed = func() { w.fed.Add(1) }
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	go w.health.answer(ctx, w.passLocks)
	return w
}

// pings returns how often the watchdog is fed in five intervals.
func (w *watched) pings() int {
	synctest.Wait()
	before := w.fed.Load()
	for range 5 {
		synctest.Wait()
		w.askHealth()
		time.Sleep(30 * time.Second)
	}
	synctest.Wait()
	return int(w.fed.Load() - before)
}

// A lock that is never given back ends the pings, and the journal names it. It is not
// waited for in the bubble: a mutex would stop its clock.
func TestHealthLocks(t *testing.T) {
	for part, lock := range map[string]func(w *watched) sync.Locker{
		"the daemon":                  func(w *watched) sync.Locker { return &w.mu },
		"the state":                   func(w *watched) sync.Locker { return &w.state.mu },
		"project tvs":                 func(w *watched) sync.Locker { return &w.sites["tvs"].mu },
		"operation scale":             func(w *watched) sync.Locker { return &w.running["a"].mu },
		"the count of what is active": func(w *watched) sync.Locker { return &w.activity.mu },
	} {
		t.Run(part, func(t *testing.T) {
			w := watch(t)
			fed := make(chan struct{}, 1)
			w.health.feed = func() { fed <- struct{}{} }
			until(t, "it answers", w.health.ask)
			<-fed
			held := lock(w)
			held.Lock()
			until(t, "it is asked again", w.health.ask)
			until(t, "it looks", func() bool { return w.health.looking.Load() == part })
			w.askHealth()
			if want := "tvsctld makes no progress: " + part + " is stuck."; !strings.Contains(w.journal.String(), want) {
				t.Errorf("the journal says %q", w.journal.String())
			}
			select {
			case <-fed:
				t.Error("fed although it is stuck")
			case <-time.After(20 * time.Millisecond): // errs on the side of a pass
			}
			held.Unlock()
			<-fed // as soon as it goes on
		})
	}
}

func TestHealthTasks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := watch(t)
		if n := w.pings(); n != 5 {
			t.Errorf("%d of 5 pings of a daemon without anything to do", n)
		}
		end := w.health.begin("the guard", guardDeadline+slack)
		time.Sleep(guardDeadline)
		end()
		end = w.health.begin("the guard", time.Minute)
		if n := w.pings(); n > 3 || n == 0 {
			t.Errorf("%d of 5 pings of a guard that is stuck after two", n)
		}
		if text := w.journal.String(); !strings.Contains(text, "the guard is stuck. systemd will start it again.") {
			t.Errorf("the journal says %q", text)
		}
		if n := w.pings(); n != 0 {
			t.Errorf("%d pings of a guard that is stuck", n)
		}
		end()
		if n := w.pings(); n < 5 {
			t.Errorf("%d of 5 pings when it goes on", n)
		}
	})
}

// A gate that waits for clients is well, and so is a closed one; one that does not come
// back for the next client is not.
func TestHealthGate(t *testing.T) {
	w := watch(t)
	w.settings.Store(&settings{MaxConnections: 9, MaxConnectionsPerUser: 9})
	listener := listenUnix(t)
	g := newGate(listener, w.Daemon)
	late := func() bool {
		w.health.mu.Lock()
		defer w.health.mu.Unlock()
		return len(w.health.tasks) > 0
	}
	if late() {
		t.Error("something is due before the first client")
	}
	dial(t, listener)
	c, err := g.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if !late() {
		t.Error("nothing is due of what was accepted")
	}
	listener.Close()
	if _, err := g.Accept(); err == nil || late() {
		t.Errorf("something is due of a closed one: %v", err)
	}
	c.Close()
}

// A frozen engine is no reason for the watchdog: the guards give up in time.
func TestHealthOfAFrozenEngine(t *testing.T) {
	s := newStack(t)
	until(t, "the guard publishes", func() bool { return s.members() == "172.20.0.1:8080" })
	on := make(chan struct{})
	s.Before("inspect list", func() { <-on })
	s.d.lookAgain("")
	s.d.lookAgain("tvs")
	for part, least := range map[string]time.Duration{"the guard": guardDeadline + restoreDeadline, "the guard of project tvs": guardDeadline} {
		until(t, part+" is watched", func() bool {
			s.d.health.mu.Lock()
			defer s.d.health.mu.Unlock()
			for task := range s.d.health.tasks {
				if task.part == part && time.Until(task.due) > least {
					return true
				}
			}
			return false
		})
	}
	close(on)
	until(t, "none is watched any more", func() bool {
		s.d.health.mu.Lock()
		defer s.d.health.mu.Unlock()
		return len(s.d.health.tasks) == 0
	})
}

// The whole daemon feeds the watchdog, but not while a part of it is stuck.
func TestWatchdogOfADaemon(t *testing.T) {
	notes := notifications(t)
	t.Setenv("WATCHDOG_USEC", "20000")
	s := newStack(t)
	pings := func() (n int) {
		for _, said := range notes() {
			if said == "WATCHDOG=1" {
				n++
			}
		}
		return n
	}
	until(t, "it pings", func() bool { return pings() > 3 })
	s.d.state.mu.Lock()
	until(t, "it is stuck", func() bool { return s.d.health.looking.Load() == "the state" })
	before := pings()
	until(t, "the journal says so", func() bool { return strings.Contains(s.journal.String(), "the state is stuck") })
	if n := pings() - before; n > 1 { // one may not have been read yet
		t.Errorf("%d pings of a daemon that is stuck", n)
	}
	s.d.state.mu.Unlock()
	before = pings()
	until(t, "it pings again", func() bool { return pings() > before+3 })
}
