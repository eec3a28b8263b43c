package systemd

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"strconv"
	"time"
)

const (
	// journalPatience is how long journalctl may take: a journal can be large, and cold.
	journalPatience = 3 * time.Second
	// maxLine bounds what is taken of one line, in bytes.
	maxLine = 2000
	// between is how many lines of other runs may stand among those of one.
	between = 50
)

// LastLines returns the last n lines that the journal has of one run of a unit: what its
// processes wrote, and systemd of them. Without a run there are none.
func LastLines(ctx context.Context, name, invocation string, n int) ([]string, error) {
	if invocation == "" || n <= 0 {
		return nil, nil
	}
	entries, err := lastEntries(ctx, n+between, OfUnit(name)...)
	lines := linesOf(entries, invocation)
	return lines[max(0, len(lines)-n):], err
}

// OfUnit matches what a unit's processes wrote, and systemd of it. It is not what
// journalctl -u reads: of a slice that is the log of every unit in it, whatever may be read
// of those.
func OfUnit(name string) []string {
	return []string{"_SYSTEMD_UNIT=" + name, "+", "UNIT=" + name, "_PID=1"}
}

// ReadLines begins to read the last n lines of a unit's journal while the caller looks at
// the unit: journalctl takes longer than that. The returned function waits for them and
// returns those of the unit's last run.
func ReadLines(ctx context.Context, name string, n int) func(*Unit) ([]string, error) {
	if n <= 0 {
		return func(*Unit) ([]string, error) { return nil, nil }
	}
	var entries []entry
	var err error
	read := make(chan struct{})
	go func() {
		defer close(read)
		entries, err = lastEntries(ctx, n, OfUnit(name)...)
	}()
	return func(u *Unit) ([]string, error) {
		if u.ID != name { // it was another name of the unit
			return LastLines(ctx, u.ID, u.Invocation, n)
		}
		<-read
		return linesOf(entries, u.Invocation), err
	}
}

// entry is one line of journalctl -o json. A message that is not text comes as an array of
// its bytes, one that is too long as null; a field that is there twice comes as an array.
type entry struct {
	Time       string          `json:"__REALTIME_TIMESTAMP"`
	Message    json.RawMessage `json:"MESSAGE"`
	Identifier any             `json:"SYSLOG_IDENTIFIER"`
	Command    any             `json:"_COMM"`
	PID        any             `json:"_PID"`
	Run        any             `json:"_SYSTEMD_INVOCATION_ID"` // of who wrote it
	About      any             `json:"INVOCATION_ID"`          // of whom systemd wrote it
	JobResult  any             `json:"JOB_RESULT"`
}

const entryFields = "--output-fields=MESSAGE,SYSLOG_IDENTIFIER,_COMM,_PID,_SYSTEMD_INVOCATION_ID,INVOCATION_ID,JOB_RESULT"

func lastEntries(ctx context.Context, n int, matches ...string) ([]entry, error) {
	ctx, cancel := context.WithTimeout(ctx, journalPatience)
	defer cancel()
	args := append([]string{"-q", "-o", "json", "--no-pager", "-n", strconv.Itoa(n), entryFields}, matches...)
	output, err := exec.CommandContext(ctx, "journalctl", args...).Output()
	if err != nil {
		return nil, fmt.Errorf("cannot read the journal: %v", err)
	}
	return parseEntries(output), nil
}

func parseEntries(output []byte) (list []entry) {
	for line := range bytes.Lines(output) {
		var e entry
		if json.Unmarshal(line, &e) == nil {
			list = append(list, e)
		}
	}
	return list
}

// linesOf returns the lines of one run of the entries of a unit. Of a process that ended at
// once the journal cannot tell in which run it was: it is that of the entry before.
func linesOf(entries []entry, invocation string) (lines []string) {
	var run any
	for _, e := range entries {
		switch {
		case e.Run != nil:
			run = e.Run
		case e.About != nil:
			run = e.About
		}
		if invocation != "" && run == invocation {
			lines = append(lines, e.line())
		}
	}
	return lines
}

func (e *entry) line() string {
	who, ok := e.Identifier.(string)
	if !ok {
		who, _ = e.Command.(string)
	}
	if pid, ok := e.PID.(string); ok {
		who += "[" + pid + "]"
	}
	at := ""
	if usec, err := strconv.ParseInt(e.Time, 10, 64); err == nil {
		at = time.UnixMicro(usec).Format("Jan 02 15:04:05 ")
	}
	text := e.text()
	if len(text) > maxLine {
		text = text[:maxLine] + "…"
	}
	return at + who + ": " + text
}

func (e *entry) text() string {
	var text string
	if bytes.HasPrefix(e.Message, []byte(`"`)) && json.Unmarshal(e.Message, &text) == nil {
		return text
	}
	var numbers []int
	if json.Unmarshal(e.Message, &numbers) != nil || numbers == nil {
		return "(a message too long to be shown)"
	}
	raw := make([]byte, len(numbers))
	for i, n := range numbers {
		raw[i] = byte(n)
	}
	return string(raw)
}

// lastJob returns the last entry since a time of a job on a unit of one of the types that
// has ended (systemd.journal-fields(7)), nil where there is none.
func lastJob(ctx context.Context, unit string, since time.Time, types []string) (*entry, error) {
	matches := []string{fmt.Sprintf("--since=@%d.%06d", since.Unix(), since.Nanosecond()/1000), "UNIT=" + unit, "_PID=1"}
	for _, kind := range types {
		matches = append(matches, "JOB_TYPE="+kind)
	}
	entries, err := lastEntries(ctx, 1, matches...)
	if err != nil || len(entries) == 0 || entries[0].JobResult == nil {
		return nil, err
	}
	return &entries[0], nil
}
