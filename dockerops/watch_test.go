package dockerops

import (
	"runtime"
	"strings"
	"testing"
	"time"

	"tvsctl/dockerops/enginetest"
)

func told(t *testing.T, what string, changed <-chan struct{}) {
	t.Helper()
	select {
	case <-changed:
	case <-time.After(patience):
		t.Errorf("%s was not told", what)
	}
}

// until waits for a condition that another goroutine brings about.
func until(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for start := time.Now(); !condition(); time.Sleep(time.Millisecond) { // to spin would starve the other
		if time.Since(start) > patience {
			t.Fatalf("in vain: %s", what)
		}
	}
}

func TestSubscribe(t *testing.T) {
	r := newRig(t, "1.45", 2)
	first, second := r.Container("tvs-webapp-1").ID, r.Container("tvs-webapp-2").ID
	channels := map[string]<-chan struct{}{}
	r.Down() // so that all of them subscribe before the connection
	for _, key := range []string{first, second, "tvs", "other", "", Worse("tvs")} {
		changed, cancel := r.client.Subscribe(key)
		defer cancel()
		channels[key] = changed
	}
	r.Up()
	for key, changed := range channels {
		told(t, "at the connection "+key, changed)
	}
	if n := r.client.Connections(); n != 1 {
		t.Errorf("%d connections", n)
	}
	r.Update("tvs-webapp-1", "exec_create: sh", func(*enginetest.Container) {})
	r.Update("tvs-webapp-1", "top", func(*enginetest.Container) {})
	for _, action := range []string{"die", "start"} {
		keys := []string{first, "tvs", ""}
		if action == "die" {
			keys = append(keys, Worse("tvs"))
		}
		r.Update("tvs-webapp-1", action, func(*enginetest.Container) {})
		for _, key := range keys {
			told(t, key, channels[key])
		}
	}
	for key, changed := range channels {
		select {
		case <-changed:
			t.Errorf("%s was told without cause", key)
		default:
		}
	}
}

func TestSubscribersAreToldOfAReconnect(t *testing.T) {
	r := newRig(t, "1.45", 1)
	changed, cancel := r.client.Subscribe("tvs")
	defer cancel()
	told(t, "at the connection", changed)
	r.Down()
	told(t, "at the loss", changed)
	r.Up()
	told(t, "at the return", changed)
	until(t, "the return is counted", func() bool { return r.client.Connections() == 2 })
	r.Update("tvs-webapp-1", "die", func(*enginetest.Container) {})
	told(t, "of an event after it", changed)
}

func TestUnsubscribeEndsTheStream(t *testing.T) {
	r := newRig(t, "1.45", 1)
	for range 3 {
		stays, cancelStays := r.client.Subscribe("tvs")
		told(t, "at the connection", stays)
		_, cancelGoes := r.client.Subscribe("tvs")
		cancelGoes()
		r.Update("tvs-webapp-1", "die", func(*enginetest.Container) {})
		told(t, "the one that is left", stays)
		cancelStays()
		cancelStays() // as with a deferred one
		until(t, "the stream ends", func() bool { return r.Followers() == 0 && !following() })
	}
}

// following reports whether a goroutine follows events.
func following() bool {
	stacks := make([]byte, 1<<20)
	return strings.Contains(string(stacks[:runtime.Stack(stacks, true)]), "(*Engine).follow(")
}

func TestUnsubscribeWhileTheEngineIsAway(t *testing.T) {
	r := newRig(t, "1.45", 1)
	r.Down()
	_, cancel := r.client.Subscribe("")
	until(t, "it follows", following)
	cancel()
	until(t, "it ends", func() bool { return !following() })
}
