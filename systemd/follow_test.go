package systemd

import (
	"context"
	"testing"
	"time"
)

func TestFollow(t *testing.T) {
	f := newFakeBus(t)
	f.set("app@35000.service", nil)
	ctx, cancel := context.WithCancel(t.Context())
	told, ended := make(chan string, 10), make(chan error, 1)
	var units Units
	defer units.Close()
	go func() { ended <- units.Follow(ctx, func(unit, state string) { told <- unit + " " + state }) }()
	expect := func(want string) {
		t.Helper()
		select {
		case got := <-told:
			if got != want {
				t.Errorf("told %q, want %q", got, want)
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("not told %q", want)
		}
	}
	expect(" ") // it begins
	f.set("app@35000.service", map[string]any{"SubState": "running"})
	f.set("app@35000.service", map[string]any{"ActiveState": "active"})
	expect("app@35000.service active")
	f.drop()
	expect(" ") // what was missed meanwhile nobody knows
	f.set("web-app_1.service", map[string]any{"ActiveState": "failed"})
	expect("web-app_1.service failed")
	cancel()
	if err := <-ended; err != context.Canceled {
		t.Errorf("it ends with %v", err)
	}
}
