package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"tvsctl/ipc"
)

// fake is a daemon that answers from a table: "METHOD /path below /v1" to a
// value, an *ipc.Error, events, or a handler.
type fake struct {
	socket string
	routes map[string]any
	any    func(http.ResponseWriter, *http.Request) // answers what is not in routes; may be nil

	mu       sync.Mutex
	requests []string // METHOD path body
}

type events []ipc.Event

func newFake(t *testing.T, routes map[string]any) *fake {
	t.Helper()
	// Not t.TempDir(): with the test's name a socket's path gets too long.
	directory, err := os.MkdirTemp("", "tvsctl")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(directory) })
	f := &fake{socket: filepath.Join(directory, "s"), routes: routes}
	listener, err := net.Listen("unix", f.socket)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: f}
	go server.Serve(listener)
	t.Cleanup(func() { server.Close() })
	return f
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	key := r.Method + " " + strings.TrimPrefix(r.URL.RequestURI(), "/v1")
	f.mu.Lock()
	f.requests = append(f.requests, strings.TrimSpace(key+" "+string(body)))
	answer, ok := f.routes[key]
	f.mu.Unlock()
	// What a handler has written, the next request's sees.
	defer func() {
		f.mu.Lock()
		defer f.mu.Unlock()
	}()
	if !ok && f.any != nil {
		f.any(w, r)
		return
	}
	if !ok {
		answer = &ipc.Error{Code: ipc.CodeUnknownRoute, Message: "no route " + key}
	}
	switch answer := answer.(type) {
	case func(http.ResponseWriter, *http.Request):
		answer(w, r)
	case *ipc.Error:
		w.WriteHeader(answer.Code.HTTPStatus())
		json.NewEncoder(w).Encode(ipc.ErrorReply{Error: answer})
	case events:
		for _, event := range answer {
			json.NewEncoder(w).Encode(event)
		}
	default:
		if r.Method == http.MethodPost {
			w.WriteHeader(http.StatusAccepted)
		}
		json.NewEncoder(w).Encode(answer)
	}
}

func (f *fake) asked() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]string(nil), f.requests...)
}

type result struct {
	status   int
	out, err string
}

// tvsctl runs one command line against the fake.
func (f *fake) tvsctl(args ...string) result {
	return f.tvsctlContext(context.Background(), nil, args...)
}

func (f *fake) tvsctlContext(ctx context.Context, env map[string]string, args ...string) result {
	var out, err bytes.Buffer
	status := run(ctx, args, strings.NewReader(""), &out, &err, func(name string) string {
		if name == "TVS_SOCKET" && env[name] == "" {
			return f.socket
		}
		return env[name]
	})
	return result{status, out.String(), err.String()}
}

var clock = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// at returns a time some seconds after clock.
func at(seconds float64) time.Time {
	return clock.Add(time.Duration(seconds * float64(time.Second)))
}

func stepEvent(id int, target, text string, state ipc.StepState, from, to float64) ipc.Event {
	step := &ipc.Step{ID: id, Service: "webapp", Target: target, Text: text, State: state}
	if state != ipc.StepPending {
		step.Started = at(from)
	}
	if state == ipc.StepDone || state == ipc.StepFailed {
		step.Ended = at(to)
	}
	return ipc.Event{Kind: ipc.EventStep, Step: step}
}

func operationEvent(o ipc.Operation) ipc.Event {
	return ipc.Event{Kind: ipc.EventOperation, Operation: &o}
}

var (
	accepted = ipc.Operation{ID: "op1", Project: "tvs", Verb: "scale", Summary: "scale webapp from 1 to 3",
		User: "ann", UID: 1000, State: ipc.OperationRunning, Queued: clock, Started: clock}
	succeeded = ipc.Operation{ID: "op1", Project: "tvs", Verb: "scale", Summary: "scale webapp from 1 to 3",
		User: "ann", UID: 1000, State: ipc.OperationSucceeded, Queued: clock, Started: clock, Ended: at(1.9),
		Result: "webapp has 3 ready replicas"}
)

// changed are the routes of a change that goes well, posted to path.
func changed(path string) map[string]any {
	full := succeeded
	full.Steps = []ipc.Step{{ID: 1, Kind: "create", Text: "create tvs-webapp-2", State: ipc.StepDone}}
	return map[string]any{
		"POST " + path:        accepted,
		"GET /operations/op1": full,
		"GET /operations/op1/events": events{
			operationEvent(accepted),
			stepEvent(1, "tvs-webapp-2", "create tvs-webapp-2", ipc.StepPending, 0, 0),
			stepEvent(1, "tvs-webapp-2", "create tvs-webapp-2", ipc.StepRunning, 0, 0),
			{Kind: ipc.EventLog, Line: "a line of compose"},
			stepEvent(1, "tvs-webapp-2", "create tvs-webapp-2", ipc.StepDone, 0, 0.21),
			stepEvent(2, "webapp", "publish webapp", ipc.StepDone, 1, 1.1),
			operationEvent(succeeded),
		},
	}
}

func equal(t *testing.T, what, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s is\n%s\nnot\n%s", what, got, want)
	}
}

func contains(t *testing.T, what, got, want string) {
	t.Helper()
	if !strings.Contains(got, want) {
		t.Errorf("%s is\n%s\nwithout\n%s", what, got, want)
	}
}
