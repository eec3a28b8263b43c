package enginetest

import (
	"encoding/binary"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"
)

// entry is what a container wrote at once.
type entry struct {
	time   time.Time
	stream byte // 1 standard output, 2 standard error; 0: it has a terminal
	text   string
}

// Write makes a container write a text, at a time; it ends with a newline unless it is
// a piece of a line.
func (e *Engine) Write(name string, stream byte, at time.Time, text string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	c := e.find(name)
	if c == nil {
		e.t.Errorf("there is no container %s", name)
		return
	}
	c.entries = append(c.entries, entry{at, stream, text})
	e.wake()
}

// wake tells those who follow logs that something has happened. mu is held.
func (e *Engine) wake() {
	if e.happened != nil {
		close(e.happened)
	}
	e.happened = make(chan struct{})
}

// readLogs answers what ContainerLogs with timestamps=1 asks for.
func (e *Engine) readLogs(w http.ResponseWriter, r *http.Request, name string) {
	if !e.enter(w, "inspect logs "+name) {
		return
	}
	since, until := stamp(r.FormValue("since")), stamp(r.FormValue("until"))
	e.mu.Lock()
	c := e.find(name)
	if c == nil {
		e.mu.Unlock()
		refuse(w, http.StatusNotFound, "No such container: "+name)
		return
	}
	next := 0
	if n, err := strconv.Atoi(r.FormValue("tail")); err == nil {
		next = max(0, len(c.entries)-n)
	}
	e.mu.Unlock()
	w.WriteHeader(http.StatusOK)
	control := http.NewResponseController(w)
	for {
		e.mu.Lock()
		fresh, running := slices.Clone(c.entries[next:]), c.State == "running"
		if e.happened == nil {
			e.happened = make(chan struct{})
		}
		happened := e.happened
		e.mu.Unlock()
		for _, entry := range fresh {
			next++
			if entry.time.Before(since) || !until.IsZero() && entry.time.After(until) {
				continue
			}
			text := entry.time.UTC().Format("2006-01-02T15:04:05.000000000Z07:00") + " " + entry.text
			if entry.stream != 0 {
				header := []byte{entry.stream, 0, 0, 0, 0, 0, 0, 0}
				binary.BigEndian.PutUint32(header[4:], uint32(len(text)))
				_, _ = w.Write(header)
			}
			if _, err := fmt.Fprint(w, text); err != nil {
				return // the client has gone
			}
		}
		if control.Flush() != nil || !running || r.FormValue("follow") != "1" {
			return
		}
		select {
		case <-happened:
		case <-r.Context().Done():
			return
		}
	}
}

// stamp reads seconds and nanoseconds since 1970.
func stamp(text string) time.Time {
	var seconds, nano int64
	if n, err := fmt.Sscanf(text, "%d.%d", &seconds, &nano); err != nil || n != 2 {
		return time.Time{}
	}
	return time.Unix(seconds, nano)
}
