package daemon

import (
	"context"
	"strings"
	"testing"

	"tvsctl/ipc"
)

func TestHostEvents(t *testing.T) {
	s := newStack(t)
	until(t, "the guard publishes", func() bool { return s.members() == "172.20.0.1:8080" })
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	heard, other := make(chan ipc.HostEvent, followerPatience), make(chan ipc.HostEvent, followerPatience)
	ended := make(chan error, 2)
	for project, events := range map[string]chan ipc.HostEvent{"tvs": heard, "other": other} {
		go func() { ended <- s.Events(ctx, project, func(e ipc.HostEvent) { events <- e }) }()
	}
	until(t, "both follow", func() bool {
		s.d.log.mu.Lock()
		defer s.d.log.mu.Unlock()
		return len(s.d.log.followers) == 2
	})
	s.do(t, "scale", scaleRequest(2))
	kinds := ""
	for !strings.Contains(kinds, "Succeeded") {
		e := <-heard
		kinds += e.Kind + " "
		if e.Time.IsZero() || e.Fields["TVS_PROJECT"] != "tvs" {
			t.Errorf("%+v", e)
		}
		if strings.HasPrefix(e.Message, "Succeeded to scale") {
			kinds += "Succeeded"
		}
	}
	for _, kind := range []string{"operation ", "step ", "upstream "} {
		if !strings.Contains(kinds, kind) {
			t.Errorf("heard %q", kinds)
		}
	}
	if len(other) > 0 {
		t.Errorf("who follows another project hears %+v", <-other)
	}
	cancel()
	for range 2 {
		if err := <-ended; err != context.Canceled {
			t.Errorf("err %v", err)
		}
	}
	until(t, "nobody follows", func() bool {
		s.d.log.mu.Lock()
		defer s.d.log.mu.Unlock()
		return len(s.d.log.followers) == 0
	})
}

// Who does not read is let go, and holds up nobody.
func TestSlowFollowerIsLetGo(t *testing.T) {
	log := &logbook{out: &journalBuffer{}}
	entries, stop := log.follow()
	defer stop()
	for range followerPatience + 1 {
		log.info(eventStep, "Done.", nil)
	}
	n := 0
	for range entries {
		n++
	}
	if n != followerPatience {
		t.Errorf("%d entries", n)
	}
}
