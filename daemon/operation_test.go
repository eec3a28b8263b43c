package daemon

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"tvsctl/dockerops"
	"tvsctl/ipc"
)

func newTestOperation() (*operation, *journalBuffer) {
	journal := &journalBuffer{}
	record := newRecord("tvs", "scale", "scale webapp from 1 to 2", peer{UID: 4000000000})
	return newOperation(&logbook{out: journal}, record, job{Kind: "scale"}), journal
}

func TestOperationEvents(t *testing.T) {
	o, journal := newTestOperation()
	create := dockerops.Step{ID: 1, Kind: dockerops.StepCreate, Service: "webapp", Replica: "tvs-webapp-2"}
	start := dockerops.Step{ID: 2, Kind: dockerops.StepStart, Replica: "tvs-webapp-2", Needs: []int{1}}
	_, more := o.eventsFrom(0)
	o.update(func(r *ipc.Operation) { r.State = ipc.OperationRunning })
	select {
	case <-more:
	default:
		t.Error("a follower is not woken")
	}
	o.planned(describeSteps(&dockerops.Plan{Steps: []dockerops.Step{create, start}}))
	o.progress(create, false, nil)
	o.line("pulling")
	o.progress(create, true, errors.New("no room"))
	o.progress(start, true, dockerops.ErrSkipped)
	o.progress(dockerops.Step{ID: 3, Kind: dockerops.StepRemove, Replica: "tvs-webapp-2"}, false, nil)
	o.progress(dockerops.Step{ID: 3, Kind: dockerops.StepRemove, Replica: "tvs-webapp-2"}, true, nil)
	var got []string
	events, _ := o.eventsFrom(0)
	for _, e := range events {
		switch e.Kind {
		case ipc.EventOperation:
			got = append(got, string(e.Operation.State))
		case ipc.EventLog:
			got = append(got, e.Line)
		case ipc.EventStep:
			got = append(got, fmt.Sprint(e.Step.ID, " ", e.Step.State, e.Step.Error))
		}
	}
	want := []string{"running", "1 pending", "2 pending", "1 running", "pulling", "1 failedno room", "2 skipped", "3 running", "3 done"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
	if late, _ := o.eventsFrom(7); len(late) != 2 {
		t.Errorf("from the seventh on %d", len(late))
	}
	if beyond, _ := o.eventsFrom(99); len(beyond) != 0 {
		t.Errorf("beyond the end %d", len(beyond))
	}
	r := o.snapshot()
	if len(r.ID) != 8 || r.User != "4000000000" || len(r.Steps) != 3 || r.Steps[0].Started.IsZero() || r.Steps[2].Text != "remove tvs-webapp-2" {
		t.Errorf("record %+v", r)
	}
	r.Steps[0].Error = "changed"
	if o.snapshot().Steps[0].Error != "no room" {
		t.Error("a snapshot is no copy")
	}
	text := journal.String()
	for _, part := range []string{"Failed to create tvs-webapp-2 after 0.00 s: no room.", "TVS_OPERATION=" + r.ID, "TVS_UID=4000000000", "Done in 0.00 s: remove tvs-webapp-2."} {
		if !strings.Contains(text, part) {
			t.Errorf("the journal lacks %q:\n%s", part, text)
		}
	}
}

func TestOperationBoundsItsLog(t *testing.T) {
	o, _ := newTestOperation()
	for range maxEvents + 10 {
		o.line("talk")
	}
	o.update(func(r *ipc.Operation) { r.State = ipc.OperationSucceeded })
	events, _ := o.eventsFrom(0)
	if len(events) != maxEvents+1 || !events[maxEvents].Operation.State.Finished() {
		t.Errorf("%d events", len(events))
	}
}

func TestReplay(t *testing.T) {
	ended := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	events := replay(ipc.Operation{ID: "a", State: ipc.OperationFailed, Ended: ended, Steps: []ipc.Step{{ID: 1}, {ID: 2, State: ipc.StepFailed}}})
	if len(events) != 3 || events[1].Step.ID != 2 || events[2].Kind != ipc.EventOperation || !events[2].Time.Equal(ended) || events[2].Operation.Steps != nil {
		t.Errorf("%+v", events)
	}
}

func TestFindOperation(t *testing.T) {
	d := &Daemon{state: openStore(t.TempDir()), running: map[string]*operation{}}
	t.Cleanup(func() { d.state.close() })
	for _, id := range []string{"aa11", "aa22", "bb33"} {
		if err := d.state.record(ipc.Operation{ID: id, Result: "kept", Queued: time.Now()}, nil); err != nil {
			t.Fatal(err)
		}
	}
	live, _ := newTestOperation()
	live.record.ID = "bb33"
	d.running["bb33"] = live
	for id, want := range map[string]string{"aa11": "aa11", "aa1": "aa11", "b": "bb33", "aa": "", "": "", "zz": "", "aa111": ""} {
		o, record, err := d.findOperation(withPeer(t.Context(), peer{itself: true}), id)
		if (err == nil) != (want != "") || record.ID != want || (o != nil) != (want == "bb33") {
			t.Errorf("%q: %+v, %v", id, record, err)
		}
		if err != nil && describeError(err).Code != ipc.CodeUnknownOperation {
			t.Errorf("%q: %v", id, err)
		}
	}
}

// What no life of the daemon can go on with gets an outcome all the same, in the journal too.
func TestAbandoned(t *testing.T) {
	t.Setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
	dir := t.TempDir()
	s := openStore(dir)
	for id, state := range map[string]ipc.OperationState{"a": ipc.OperationRunning, "b": ipc.OperationQueued, "c": ipc.OperationSucceeded} {
		if err := s.record(ipc.Operation{ID: id, State: state, Queued: time.Now()}, &job{Kind: "of a later version"}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.close(); err != nil {
		t.Fatal(err)
	}
	journal := &journalBuffer{}
	d := New(Config{StateDir: dir})
	d.log = &logbook{out: journal}
	d.resume(d.state.unfinished())
	t.Cleanup(func() { d.state.close() })
	if n := strings.Count(journal.String(), "tvsctld ended in the middle of it"); n != 2 {
		t.Errorf("the journal tells of %d outcomes: %s", n, journal)
	}
	for _, o := range d.state.history() {
		failed := o.State == ipc.OperationFailed && o.Error != nil && !o.Ended.IsZero()
		if !o.State.Finished() || failed == (o.ID == "c") {
			t.Errorf("%+v", o)
		}
	}
}
