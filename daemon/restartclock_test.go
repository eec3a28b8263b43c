package daemon

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"tvsctl/dockerops"
	"tvsctl/ipc"
)

// Instances that were started before the clock was set back are restarted too.
func TestRestartAfterTheClockWasSetBack(t *testing.T) {
	s := newInstanceStack(t, "notify").run(t)
	s.do(t, "scale", webTo(1))
	s.Set("app@25000.service", map[string]any{"ActiveEnterTimestamp": uint64(time.Now().Add(time.Hour).UnixMicro())})
	if o := s.do(t, "restart", ipc.RestartRequest{Service: "web"}); o.Error != nil || !strings.Contains(fmt.Sprint(steps(o)), "stop app@25000.service start app@25000.service") {
		t.Errorf("%q %+v", steps(o), o.Error)
	}
}

// What is old is kept with the job, also as earlier versions did it.
func TestRestartingIsKept(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 678000, time.UTC)
	instance := func(id string, started time.Time) dockerops.Replica {
		return dockerops.Replica{ID: id, State: "running", Started: started}
	}
	service := &dockerops.Service{Replicas: []dockerops.Replica{instance("a", at.In(time.Local)), {ID: "b", State: "exited", Started: at}}}
	text, err := json.Marshal(restarting{Service: "web", Started: startsOf(service)})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		text string
		r    dockerops.Replica
		old  bool
	}{
		{string(text), instance("a", at), true},
		{string(text), instance("a", at.Add(-time.Hour)), false},
		{string(text), instance("a", at.Add(time.Second)), false},
		{string(text), instance("b", at), false},
		{string(text), instance("c", at), false},
		{`{"service": "web", "started": {}}`, instance("a", at), false},
		{`{"service": "web", "before": "2026-01-02T03:04:06Z"}`, instance("a", at), true},
		{`{"service": "web", "before": "2026-01-02T03:04:05Z"}`, instance("a", at), false},
	} {
		var kept restarting
		if err := json.Unmarshal([]byte(c.text), &kept); err != nil {
			t.Fatal(err)
		}
		if kept.old(c.r) != c.old {
			t.Errorf("%s: %+v is old: %v", c.text, c.r, !c.old)
		}
	}
}
