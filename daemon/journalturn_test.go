package daemon

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tvsctl/ipc"
)

// One user's readings keep no other from reading, and all of them have a bound.
func TestJournalTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var turns journalTurns
		var ends []func()
		fill := func(uid uint32, n int) {
			t.Helper()
			for range n {
				end, err := turns.begin(t.Context(), uid)
				if err != nil {
					t.Fatal(err)
				}
				ends = append(ends, end)
			}
		}
		busy := func(uid uint32, says string) {
			t.Helper()
			start := time.Now()
			_, err := turns.begin(t.Context(), uid)
			if err == nil || describeError(err).Code != ipc.CodeBusy || !strings.Contains(err.Error(), says) || time.Since(start) != journalWait {
				t.Errorf("after %v: %v", time.Since(start), err)
			}
		}
		fill(1, journalsPerUser)
		busy(1, fmt.Sprintf("%d of your readings", journalsPerUser))
		fill(2, journalsInAll-journalsPerUser)
		busy(3, fmt.Sprintf("%d readings", journalsInAll))
		// Whoever waits goes on when another ends.
		waited := make(chan error)
		go func() {
			end, err := turns.begin(t.Context(), 1)
			ends = append(ends, end)
			waited <- err
		}()
		synctest.Wait()
		ends[0]()
		if err := <-waited; err != nil {
			t.Error(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := turns.begin(ctx, 1); err != context.Canceled {
			t.Errorf("err %v", err)
		}
		for _, end := range ends[1:] {
			end()
		}
		if turns.total != 0 || len(turns.byUser) != 0 {
			t.Errorf("%d run, %v", turns.total, turns.byUser)
		}
	})
}

// A unit that has no turn says so in its place; what runs is counted while it does.
func TestLogsTakeTurns(t *testing.T) {
	fakeJournal(t, `echo '{"MESSAGE":"one"}'; exec sleep 60`)
	d, _ := ruled(t, "")
	ctx, cancel := context.WithCancel(asking(t, 0).Context())
	defer cancel()
	told := make(chan struct{})
	go func() {
		_ = d.tellLogs(ctx, ipc.LogRequest{Units: []string{"a.service", "b.service"}, Follow: true, Tail: 0}, func(ipc.LogLine) error {
			told <- struct{}{}
			return nil
		}, func() error { return nil })
	}()
	<-told
	<-told
	running := func() int {
		d.journals.mu.Lock()
		defer d.journals.mu.Unlock()
		return d.journals.byUser[0]
	}
	if n := running(); n != 2 {
		t.Errorf("%d run", n)
	}
	cancel()
	until(t, "they end", func() bool { return running() == 0 })
}

func TestTooManyUnits(t *testing.T) {
	t.Setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nowhere/bus")
	s := newStack(t)
	arguments := fakeJournal(t, "")
	var names []string
	for n := range ipc.MaxLogUnits + 1 {
		names = append(names, fmt.Sprintf("a%d.service", n))
	}
	for _, path := range []string{ipc.ProjectPath("tvs", "logs") + "?", "/units/x.service/logs?follow=true&"} {
		err := s.Get(t.Context(), path+url.Values{"unit": names}.Encode(), nil)
		if describeError(err).Code != ipc.CodeBadRequest || !strings.Contains(err.Error(), "at most 64") {
			t.Errorf("%s: %v", path, err)
		}
	}
	err := s.Logs(t.Context(), ipc.LogRequest{Units: names[:ipc.MaxLogUnits]}, func(ipc.LogLine) {})
	if describeError(err).Code == ipc.CodeBadRequest {
		t.Errorf("so many may be: %v", err)
	}
	if _, err := os.Stat(arguments); err == nil {
		t.Error("journalctl is run")
	}
}
