package daemon

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"tvsctl/ipc"
)

// The machine's clock can be set back, by hand or by NTP after a boot with a flat
// battery. The order of operations is that in which they came, whatever they say.

func ids(list []ipc.Operation) (ids []string) {
	for _, o := range list {
		ids = append(ids, o.ID)
	}
	return ids
}

func TestOrderSurvivesTheClock(t *testing.T) {
	dir := t.TempDir()
	s := reopenStore(t, nil, dir)
	now := time.Now()
	want := []string{"first", "second", "third"}
	list := []ipc.Operation{{ID: "first", Queued: now}, {ID: "second", Queued: now.Add(-time.Hour)}, {ID: "third", Queued: now.Add(-time.Minute)}}
	for _, o := range list {
		o.Project, o.State = "tvs", ipc.OperationQueued
		if err := s.record(o, &job{Kind: "scale"}); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		if got := ids(s.history()); !slices.Equal(got, want) {
			t.Errorf("the history is %q", got)
		}
		// What is recorded again, as when it ends, keeps its place.
		if err := s.record(ipc.Operation{ID: "first", Queued: now, Project: "tvs", State: ipc.OperationSucceeded}, nil); err != nil {
			t.Fatal(err)
		}
		var unfinished []string
		for _, o := range s.unfinished() {
			unfinished = append(unfinished, o.ID)
		}
		if !slices.Equal(unfinished, want[1:]) {
			t.Errorf("unfinished %q", unfinished)
		}
		s = reopenStore(t, s, dir)
	}
}

func TestForgetsWhatCameFirst(t *testing.T) {
	dir := t.TempDir()
	s := reopenStore(t, nil, dir)
	now := time.Now()
	come := 0
	record := func(n int, clock time.Time) {
		t.Helper()
		s.db.NoSync = true // two hundred syncs take seconds
		for i := range n {
			come++
			if err := s.record(ipc.Operation{ID: fmt.Sprint(come), State: ipc.OperationSucceeded, Queued: clock.Add(time.Duration(i) * time.Second)}, nil); err != nil {
				t.Fatal(err)
			}
		}
	}
	record(historyLength, now)
	s = reopenStore(t, s, dir)
	record(5, now.Add(-24*time.Hour))
	s = reopenStore(t, s, dir)
	record(5, now.Add(-48*time.Hour))
	for range 2 {
		got := ids(s.history())
		if len(got) != historyLength || got[0] != "11" || got[historyLength-1] != fmt.Sprint(come) {
			t.Errorf("%d operations, from %s to %s", len(got), got[0], got[len(got)-1])
		}
		s = reopenStore(t, s, dir)
	}
}

// Of two changes that an earlier life left, the later one has the last word.
func TestResumesInTheOrderOfComing(t *testing.T) {
	s := newStackWithout(t)
	dir := t.TempDir()
	store := openStore(dir)
	for i, count := range []int{3, 2} {
		request, err := json.Marshal(scaleRequest(count))
		if err != nil {
			t.Fatal(err)
		}
		record := ipc.Operation{ID: fmt.Sprint("op", i), Project: "tvs", Verb: "scale", Summary: fmt.Sprintf("scale webapp to %d", count),
			State: ipc.OperationQueued, Queued: time.Now().Add(-time.Duration(i) * time.Hour)}
		if err := store.record(record, &job{Kind: "scale", Request: request}); err != nil {
			t.Fatal(err)
		}
	}
	if err := store.close(); err != nil {
		t.Fatal(err)
	}
	reached, on := make(chan struct{}), make(chan struct{})
	s.Before("start tvs-webapp-2", func() {
		close(reached)
		<-on
	})
	s.Client, s.d = serve(t, Config{Version: "test", StateDir: dir, ProjectDir: t.TempDir(), Log: s.journal})
	<-reached
	if got := ids(s.d.runningIn("tvs")); !slices.Equal(got[:min(len(got), 2)], []string{"op0", "op1"}) { // and maybe the restore
		t.Errorf("in line are %q", got)
	}
	s.Before("start tvs-webapp-2", nil)
	close(on)
	for i := range 2 {
		if o, err := s.Follow(t.Context(), fmt.Sprint("op", i), func(ipc.Event) {}); err != nil || o.State != ipc.OperationSucceeded {
			t.Errorf("%+v, %v", o, err)
		}
	}
	if n := s.d.state.project("tvs").Desired["webapp"]; n != 2 || len(s.Names()) != 3 {
		t.Errorf("%d desired, and there are %q", n, s.Names())
	}
}
