package daemon

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"time"

	"tvsctl/ipc"
	"tvsctl/policy"
)

// getOperations lists the kept operations, newest first and without their steps.
func getOperations(d *Daemon, r *http.Request) (any, error) {
	project := r.URL.Query().Get("project")
	list := []ipc.Operation{}
	for _, record := range slices.Backward(d.state.history()) {
		if project != "" && record.Project != project || !d.showsOperation(r.Context(), record) {
			continue
		}
		if record.Unit != "" && !d.seesUnit(r.Context(), record.Unit) {
			continue
		}
		d.mu.Lock()
		running := d.running[record.ID]
		d.mu.Unlock()
		if running != nil {
			record = running.snapshot()
		}
		record.Steps = nil
		list = append(list, d.toldOperation(r.Context(), record))
	}
	return list, nil
}

// found is an operation that was asked for: a read, not a change, so no 202.
func getOperation(d *Daemon, r *http.Request) (any, error) {
	_, record, err := d.findOperation(r.Context(), r.PathValue("id"))
	return d.toldOperation(r.Context(), record), err
}

// postCancel cancels an operation: one that waits does not begin, one that runs is
// taken back, or completes when nginx has been given its outcome already.
func postCancel(d *Daemon, r *http.Request) (any, error) {
	o, record, err := d.findOperation(r.Context(), r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	if err := d.permit(r.Context(), aboutOperation(policy.Cancel, record)...); err != nil {
		return nil, err
	}
	if o == nil || record.State.Finished() {
		return nil, &ipc.Error{Code: ipc.CodeConflict, Message: fmt.Sprintf("cannot cancel operation %s: it has ended", record.ID)}
	}
	who, _ := peerOf(r.Context())
	f, _, _ := asked(r.Context())
	f["TVS_OPERATION"] = record.ID
	d.log.notice(eventRequested, fmt.Sprintf("%s cancels: %s%s.", who.name(), record.Summary, where(record)), f)
	o.cancel(fmt.Errorf("canceled by %s", who.name()))
	return d.toldOperation(r.Context(), o.snapshot()), nil
}

// aboutOperation are the requests of a verb for what an operation changes.
func aboutOperation(verb policy.Verb, o ipc.Operation) (requests []policy.Request) {
	if o.Unit != "" {
		return []policy.Request{{Verb: verb, Target: policy.Target{Unit: o.Unit}}}
	}
	for _, service := range o.Services {
		requests = append(requests, policy.Request{Verb: verb, Target: policy.Target{Project: o.Project, Service: service}})
	}
	if len(requests) == 0 {
		requests = []policy.Request{{Verb: verb, Target: policy.Target{Project: o.Project}}}
	}
	return requests
}

// getEvents streams an operation's events from the first on, and follows it to its end.
func getEvents(d *Daemon, r *http.Request) (any, error) {
	o, record, err := d.findOperation(r.Context(), r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	return stream(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/x-ndjson")
		encoder := json.NewEncoder(w)
		if o == nil {
			for _, event := range replay(record) {
				if encoder.Encode(d.toldProgress(r.Context(), event)) != nil {
					return
				}
			}
			return
		}
		control := http.NewResponseController(w)
		for next := 0; ; {
			events, more := o.eventsFrom(next)
			for _, event := range events {
				_ = control.SetWriteDeadline(time.Now().Add(writeTimeout))
				if encoder.Encode(d.toldProgress(r.Context(), event)) != nil {
					return // the client has gone
				}
				if event.Kind == ipc.EventOperation && event.Operation.State.Finished() {
					return
				}
			}
			next += len(events)
			if control.Flush() != nil {
				return
			}
			select {
			case <-more:
			case <-o.done:
				if events, _ := o.eventsFrom(next); len(events) == 0 {
					return // left to the next life of the daemon
				}
			case <-r.Context().Done():
				return
			}
		}
	}), nil
}

// getHostEvents streams what happens, in one project or in all, from now on.
func getHostEvents(d *Daemon, r *http.Request) (any, error) {
	project := r.URL.Query().Get("project")
	return stream(func(w http.ResponseWriter, r *http.Request) {
		defer d.hold()()
		entries, stop := d.log.follow()
		defer stop()
		w.Header().Set("Content-Type", "application/x-ndjson")
		encoder, control := json.NewEncoder(w), http.NewResponseController(w)
		for {
			// The first flush tells the client that nothing is missed from here on.
			if control.Flush() != nil {
				return
			}
			select {
			case entry, open := <-entries:
				if !open {
					return
				}
				if of := entry.Fields["TVS_PROJECT"]; project != "" && of != "" && of != project {
					continue
				}
				entry, shown := d.told(r.Context(), entry)
				if !shown {
					continue
				}
				_ = control.SetWriteDeadline(time.Now().Add(writeTimeout))
				if encoder.Encode(entry) != nil {
					return // the client has gone
				}
			case <-r.Context().Done():
				return
			case <-d.stopping:
				return
			}
		}
	}), nil
}

// replay tells a finished operation again from its record.
func replay(record ipc.Operation) []ipc.Event {
	var events []ipc.Event
	for _, step := range record.Steps {
		events = append(events, ipc.Event{Time: step.Ended, Kind: ipc.EventStep, Step: &step})
	}
	record.Steps = nil
	return append(events, ipc.Event{Time: record.Ended, Kind: ipc.EventOperation, Operation: &record})
}
