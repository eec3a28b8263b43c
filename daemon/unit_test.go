package daemon

import (
	"context"
	"encoding/json"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"tvsctl/ipc"
	"tvsctl/systemd"
)

func TestUnitsWithoutABus(t *testing.T) {
	t.Setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nowhere/bus")
	t.Setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
	client, _ := serve(t, Config{Version: "test", StateDir: t.TempDir(), ProjectDir: t.TempDir(), Log: &journalBuffer{}})
	for path, code := range map[string]ipc.Code{
		"/units": ipc.CodeSystemd, "/units?pattern=a*": ipc.CodeSystemd, "/units?pattern=a%3B*": ipc.CodeBadRequest,
		"/units/nginx": ipc.CodeSystemd, "/units/nginx?lines=x": ipc.CodeBadRequest, "/units/nginx?lines=1001": ipc.CodeBadRequest,
		"/units/a%20b": ipc.CodeBadRequest, "/units/a@": ipc.CodeBadRequest, "/units/nginx/files": ipc.CodeSystemd,
		"/units/nginx/dependencies": ipc.CodeSystemd, "/units/nginx/wait?for=up": ipc.CodeBadRequest, "/units/nginx/nothing": ipc.CodeUnknownRoute,
	} {
		if err := client.Get(t.Context(), path, nil); describeError(err).Code != code {
			t.Errorf("GET %s: %v", path, err)
		}
	}
	for _, verb := range []string{"start", "stop", "restart", "reload", "isolate", "reset-failed", "enable", "disable", "mask", "unmask"} {
		for unit, code := range map[string]ipc.Code{"nginx": ipc.CodeSystemd, "a;b": ipc.CodeBadRequest, "a@": ipc.CodeBadRequest, strings.Repeat("a", 256): ipc.CodeBadRequest} {
			if err := client.Post(t.Context(), ipc.UnitPath(unit, verb), ipc.UnitRequest{}, nil); describeError(err).Code != code {
				t.Errorf("POST %s %s: %v", verb, unit, err)
			}
		}
		if err := client.Post(t.Context(), ipc.UnitPath("nginx", verb), map[string]bool{"force": true}, nil); describeError(err).Code != ipc.CodeBadRequest {
			t.Errorf("POST %s with an unknown field: %v", verb, err)
		}
		queues := slices.Contains([]string{"start", "stop", "restart", "reload", "isolate"}, verb)
		for option, has := range map[string]bool{"dry_run": verb == "isolate", "no_block": queues} {
			err := client.Post(t.Context(), ipc.UnitPath("nginx", verb), map[string]bool{option: true}, nil)
			if refused := describeError(err).Code == ipc.CodeBadRequest; refused == has {
				t.Errorf("POST %s with %s: %v", verb, option, err)
			}
		}
	}
	var list []ipc.Operation
	if err := client.Get(t.Context(), "/operations", &list); err != nil || len(list) != 0 {
		t.Errorf("left behind: %+v, %v", list, err)
	}
}

func TestAllowUnit(t *testing.T) {
	d, _ := ruled(t, "[[rule]]\ngroups = [990]\nrole = \"operator\"\nunits = [\"a.*\"]\n[[rule]]\ngroups = [991]\nrole = \"operator\"\n")
	for _, c := range []struct {
		name    string
		ctx     context.Context
		allowed bool
	}{
		{"root", withPeer(t.Context(), peer{UID: 0}), true},
		{"another", withPeer(t.Context(), peer{UID: 12345}), false},
		{"an operator of it", withPeer(t.Context(), peer{UID: 12345, GID: 990}), true},
		{"an operator of projects", withPeer(t.Context(), peer{UID: 12345, GID: 991}), false},
		{"tvsctld itself", withPeer(t.Context(), peer{UID: 12345, itself: true}), true},
		{"nobody knows who", t.Context(), false},
	} {
		err := d.allowUnit(c.ctx, "start", "a.service")
		if (err == nil) != c.allowed || d.seesUnit(c.ctx, "a.service") != c.allowed || err != nil && describeError(err).Code != ipc.CodeForbidden {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// Operations on units are for those who may see the unit.
func TestOperationsOfUnits(t *testing.T) {
	d := New(Config{StateDir: t.TempDir(), Log: &journalBuffer{}})
	defer d.state.close()
	record := newRecord("", "start", "start a.service", peer{})
	record.Unit, record.State = "a.service", ipc.OperationSucceeded
	if err := d.state.record(record, nil); err != nil {
		t.Fatal(err)
	}
	for uid, want := range map[uint32]int{0: 1, 12345: 0} {
		r := httptest.NewRequest("GET", "/v1/operations", nil)
		reply, err := getOperations(d, r.WithContext(withPeer(t.Context(), peer{UID: uid})))
		if list, ok := reply.([]ipc.Operation); err != nil || !ok || len(list) != want {
			t.Errorf("uid %d: %v, %v", uid, reply, err)
		}
	}
}

// What a life of the daemon did not end of a unit is taken up by the next, and needs
// neither a project nor Docker. One of an earlier boot is not asked for again.
func TestUnitIsTakenUp(t *testing.T) {
	t.Setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nowhere/bus")
	t.Setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
	for boot, want := range map[string]ipc.Code{"": ipc.CodeSystemd, bootID(): ipc.CodeSystemd, "an earlier one": ipc.CodeUnitFailed} {
		config := Config{Version: "test", StateDir: t.TempDir(), ProjectDir: t.TempDir(), Log: &journalBuffer{}}
		before := New(config)
		text, err := json.Marshal(unitJob{Boot: boot, Job: systemd.Job{Verb: "start", Before: systemd.Mark{Unit: "a.service", At: time.Now()}}})
		if err != nil {
			t.Fatal(err)
		}
		record := newRecord("", "start", "start a.service", peer{})
		record.Unit, record.State = "a.service", ipc.OperationRunning
		if err := before.state.record(record, &job{Kind: unitKind, Request: text}); err != nil {
			t.Fatal(err)
		}
		if err := before.state.close(); err != nil {
			t.Fatal(err)
		}
		client, _ := serve(t, config)
		done, err := client.Follow(t.Context(), record.ID, func(ipc.Event) {})
		if err != nil || done.State != ipc.OperationFailed || done.Error.Code != want || done.Unit != "a.service" {
			t.Errorf("boot %q: %+v, %v", boot, done, err)
		}
	}
}

func TestRefusalsOfSystemd(t *testing.T) {
	for problem, want := range map[systemd.Problem]struct {
		code ipc.Code
		hint string
	}{
		systemd.Denied:     {ipc.CodeForbidden, "units in /etc/tvsctld/tvsctld.toml, then systemctl reload tvsctld;"},
		systemd.NoSuchUnit: {ipc.CodeUnknownUnit, "tvsctl unit list"},
		systemd.Other:      {ipc.CodeUnitRefused, ""},
	} {
		got := describeError(&systemd.RefusedError{Doing: "start a.service", Problem: problem, Text: "No."})
		if got.Code != want.code || !strings.Contains(got.Hint, want.hint) || got.Message != "cannot start a.service: No" {
			t.Errorf("%v: %+v", problem, got)
		}
	}
}
