package main

import (
	"encoding/json"
	"testing"

	"tvsctl/ipc"
)

// With --json there is one value, the operation as it ended, and no sentence after it.
func TestCancelAsJSON(t *testing.T) {
	ended := ipc.Operation{ID: "op1", State: ipc.OperationFailed, Error: &ipc.Error{Code: ipc.CodeCanceled, Message: "canceled by ana"}}
	daemon := newFake(t, map[string]any{"POST /operations/op1/cancel": ipc.Operation{ID: "op1"},
		"GET /operations/op1/events": events{operationEvent(ended)}, "GET /operations/op1": ended})
	var got ipc.Operation
	if r := daemon.tvsctl("ops", "cancel", "op1", "--json"); r.status != ipc.ExitOK || json.Unmarshal([]byte(r.out), &got) != nil || got.Error == nil {
		t.Errorf("%+v", r)
	}
	if r := daemon.tvsctl("ops", "cancel", "op1"); r != (result{ipc.ExitOK, "canceled by ana\n", ""}) {
		t.Errorf("%+v", r)
	}
}
