package daemon

import (
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"tvsctl/dockerops"
	"tvsctl/ipc"
)

// stalled is a journal that takes nothing until it goes on.
type stalled struct {
	journalBuffer
	asked chan struct{} // gets a value for each line that waits
	on    chan struct{}
}

func (s *stalled) Write(p []byte) (int, error) {
	s.asked <- struct{}{}
	<-s.on
	return s.journalBuffer.Write(p)
}

// A journal that hangs holds up steps, but neither those who ask nor those who follow.
func TestAStalledJournalHoldsNoLock(t *testing.T) {
	journal := &stalled{asked: make(chan struct{}, 10), on: make(chan struct{})}
	o, _ := newTestOperation()
	o.log = &logbook{out: journal}
	d := &Daemon{running: map[string]*operation{o.record.ID: o}}
	step := dockerops.Step{ID: 1, Kind: dockerops.StepRemove, Replica: "tvs-webapp-2"}
	var group sync.WaitGroup
	group.Go(func() {
		o.progress(step, false, nil)
		o.progress(step, true, nil)
	})
	<-journal.asked
	if r := o.snapshot(); len(r.Steps) != 1 || r.Steps[0].State != ipc.StepDone {
		t.Errorf("%+v", r)
	}
	if events, _ := o.eventsFrom(0); len(events) != 2 {
		t.Errorf("%d events", len(events))
	}
	if next, _ := d.unended(); next != o || len(d.runningIn("tvs")) != 1 {
		t.Error("it does not run")
	}
	if o.telling.TryLock() {
		t.Error("another step may be told before it")
		o.telling.Unlock()
	}
	close(journal.on)
	group.Wait()
	if !strings.Contains(journal.String(), ": remove tvs-webapp-2.") {
		t.Errorf("the journal says %q", journal.String())
	}
}

// Steps that end at once are told in the order of their events, and before they return.
func TestStepsAreToldInTheirOrder(t *testing.T) {
	o, journal := newTestOperation()
	var group sync.WaitGroup
	for n := range 50 {
		group.Go(func() {
			step := dockerops.Step{ID: n + 1, Kind: dockerops.StepRemove, Replica: strconv.Itoa(n)}
			o.progress(step, false, nil)
			o.progress(step, true, nil)
			if !strings.Contains(journal.String(), ": remove "+step.Replica+".") {
				t.Errorf("step %d ends before it is told", n)
			}
		})
	}
	group.Wait()
	var ended, told []string
	events, _ := o.eventsFrom(0)
	for _, e := range events {
		if e.Step.State == ipc.StepDone {
			ended = append(ended, e.Step.Text+".")
		}
	}
	for line := range strings.Lines(journal.String()) {
		_, text, _ := strings.Cut(line, ": ")
		text, _, _ = strings.Cut(text, " TVS_")
		told = append(told, text)
	}
	if len(ended) != 50 || !slices.Equal(ended, told) {
		t.Errorf("ended %q\ntold %q", ended, told)
	}
}

// systemd that reads no notification holds up who shows the status, and nobody else.
func TestAStalledNotificationHoldsNoLock(t *testing.T) {
	address := &net.UnixAddr{Name: "@tvsctl-stalled-test-" + strconv.Itoa(os.Getpid()), Net: "unixgram"}
	conn, err := net.ListenUnixgram("unixgram", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	t.Setenv("NOTIFY_SOCKET", address.Name)
	filler, err := net.DialUnix("unixgram", nil, address)
	if err != nil {
		t.Fatal(err)
	}
	defer filler.Close()
	for err == nil {
		_ = filler.SetWriteDeadline(time.Now().Add(20 * time.Millisecond))
		_, err = filler.Write([]byte("full"))
	}
	d := &Daemon{running: map[string]*operation{}}
	shown := make(chan struct{})
	go func() {
		defer close(shown)
		d.showStatus()
	}()
	until(t, "it shows the status", func() bool {
		free := d.showing.TryLock()
		if free {
			d.showing.Unlock()
		}
		return !free
	})
	if d.operating() || len(d.runningIn("tvs")) != 0 {
		t.Error("something runs")
	}
	for text, buffer := "", make([]byte, 100); text != "STATUS=Nothing runs"; {
		n, err := conn.Read(buffer)
		if err != nil {
			t.Fatal(err)
		}
		text = string(buffer[:n])
	}
	<-shown
}
