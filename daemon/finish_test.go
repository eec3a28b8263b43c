package daemon

import (
	"net"
	"os"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"tvsctl/dockerops"
	"tvsctl/ipc"
	"tvsctl/systemd"
)

// notifications returns what systemd is told from now on.
func notifications(t *testing.T) func() []string {
	t.Helper()
	path := "@tvsctl-daemon-test-" + strconv.Itoa(os.Getpid())
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	t.Setenv("NOTIFY_SOCKET", path)
	var mu sync.Mutex
	var list []string
	go func() {
		for buffer := make([]byte, 1000); ; {
			n, err := conn.Read(buffer)
			if err != nil {
				return
			}
			mu.Lock()
			list = append(list, string(buffer[:n]))
			mu.Unlock()
		}
	}()
	return func() []string {
		mu.Lock()
		defer mu.Unlock()
		return append([]string(nil), list...)
	}
}

// A stop waits stopPatience for operations; a drain is waited for beyond that, and
// systemd is told so.
func TestFinish(t *testing.T) {
	notes := notifications(t)
	for _, c := range []struct {
		name                 string
		before, drain, after time.Duration // of the operation
		took                 time.Duration
		extended             int
	}{
		{"nothing that drains", 30 * time.Second, 0, 0, 30 * time.Second, 0},
		{"too long", time.Hour, 0, 0, stopPatience, 0},
		{"a long drain", 0, 10 * time.Minute, 0, 10 * time.Minute, 120},
		{"a drain in the middle", 42 * time.Second, 2 * time.Minute, 29 * time.Second, 191 * time.Second, 30},
		{"too long after a drain", time.Second, time.Minute, time.Hour, stopPatience + time.Minute, 28},
		{"a drain that does not end", 0, 2 * time.Hour, 0, drainPatience, 720},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := len(notes())
			synctest.Test(t, func(t *testing.T) {
				o := newOperation(nil, ipc.Operation{ID: "a"}, job{})
				defer o.cancel(nil)
				d := &Daemon{running: map[string]*operation{"a": o}}
				g := newTestGate(nil)
				over := make(chan struct{})
				go func() {
					defer close(over)
					time.Sleep(c.before)
					step := dockerops.Step{ID: 1, Kind: dockerops.StepDrain}
					o.progress(step, false, nil)
					time.Sleep(c.drain)
					o.log = &logbook{out: &journalBuffer{}}
					o.progress(step, true, nil)
					time.Sleep(c.after)
					d.mu.Lock()
					delete(d.running, "a")
					d.mu.Unlock()
					close(o.done)
				}()
				start := time.Now()
				d.finish(g)
				if took := time.Since(start); took < c.took || took > c.took+extendEvery {
					t.Errorf("it took %v, want %v", took, c.took)
				}
				<-over
			})
			systemd.Status("end")
			var said []string
			until(t, "all is said", func() bool { said = notes()[before:]; return len(said) > 0 && said[len(said)-1] == "STATUS=end" })
			if n := len(said) - 1; n < c.extended-3 || n > c.extended+3 || n > 0 && said[0] != "EXTEND_TIMEOUT_USEC=15000000" {
				t.Errorf("it said %d times %q, want %d times", n, said[0], c.extended)
			}
		})
	}
}

func TestShowStatus(t *testing.T) {
	notes := notifications(t)
	d := &Daemon{running: map[string]*operation{}}
	last := func() string {
		before := len(notes())
		d.showStatus()
		until(t, "it is said", func() bool { return len(notes()) > before })
		return notes()[before]
	}
	if got := last(); got != "STATUS=Nothing runs" {
		t.Error(got)
	}
	now := time.Now()
	for i, id := range []string{"b", "a", "c"} {
		record := ipc.Operation{ID: id, Summary: "scale " + id, Project: "tvs", User: "ana", State: ipc.OperationRunning, Started: now.Add(time.Duration(i))}
		if id == "c" {
			record.State, record.Started = ipc.OperationQueued, time.Time{}
		}
		d.running[id] = newOperation(nil, record, job{})
	}
	if got := last(); got != "STATUS=Running: scale b in project tvs, for ana, and 1 more" {
		t.Error(got)
	}
	delete(d.running, "b")
	if got := last(); got != "STATUS=Running: scale a in project tvs, for ana" {
		t.Error(got)
	}
}
