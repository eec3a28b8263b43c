package main

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"tvsctl/ipc"
)

func TestEvents(t *testing.T) {
	happens := func(w http.ResponseWriter, r *http.Request) {
		for _, e := range []ipc.HostEvent{
			{Time: clock, Kind: "upstream", Message: "nginx serves webapp from a, b.", Fields: map[string]string{"TVS_PROJECT": "shop"}},
			{Time: clock, Kind: "daemon", Message: "tvsctld\x1b serves."},
		} {
			json.NewEncoder(w).Encode(e)
		}
	}
	daemon := newFake(t, map[string]any{"GET /events?project=shop": happens, "GET /events": happens})
	got := daemon.tvsctl("events", "-p", "shop")
	lines := strings.Split(strings.TrimSpace(got.out), "\n")
	if len(lines) != 2 || !strings.HasSuffix(lines[0], " shop upstream: nginx serves webapp from a, b.") || !strings.HasSuffix(lines[1], " - daemon: tvsctld? serves.") {
		t.Errorf("%q", got.out)
	}
	if got.status != ipc.ExitUnreachable || !strings.Contains(got.err, "lost the daemon while following events") {
		t.Errorf("at the end of the stream: %+v", got)
	}
	got = daemon.tvsctl("events", "--json")
	var first ipc.HostEvent
	line, _, _ := strings.Cut(got.out, "\n")
	if err := json.Unmarshal([]byte(line), &first); err != nil || first.Kind != "upstream" || strings.Count(got.out, "\n") != 2 {
		t.Errorf("%v: %q", err, got.out)
	}
}

// The daemon is lost in the middle of an operation, and its next life ends it.
func TestFollowGoesOnInTheNextLife(t *testing.T) {
	lives := 0
	daemon := newFake(t, map[string]any{
		"POST /projects/tvs/scale": accepted,
		"GET /operations/op1/events": func(w http.ResponseWriter, r *http.Request) {
			if lives++; lives == 1 {
				json.NewEncoder(w).Encode(operationEvent(accepted))
				return // cut
			}
			json.NewEncoder(w).Encode(operationEvent(succeeded))
		}})
	got := daemon.tvsctlContext(context.Background(), nil, "scale", "-p", "tvs", "webapp", "3")
	if got.status != ipc.ExitOK || !strings.Contains(got.out, "lost tvsctld; following again") || !strings.Contains(got.out, "webapp has 3 ready replicas") {
		t.Errorf("%+v", got)
	}
}
