package systemd

import (
	"bufio"
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
)

// LastLines returns the last n lines that the journal has of one run of a unit: what its
// processes wrote, and systemd of them. Without a journal there are none.
func LastLines(ctx context.Context, invocation string, n int) ([]string, error) {
	if invocation == "" || n <= 0 {
		return nil, nil
	}
	output, err := journalctl(ctx, "-n", strconv.Itoa(n), "--output-fields=MESSAGE,SYSLOG_IDENTIFIER,_COMM,_PID",
		"_SYSTEMD_INVOCATION_ID="+invocation, "+", "INVOCATION_ID="+invocation)
	return journalLines(output), err
}

func journalctl(ctx context.Context, args ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, journalPatience)
	defer cancel()
	output, err := exec.CommandContext(ctx, "journalctl", append([]string{"-q", "-o", "json", "--no-pager"}, args...)...).Output()
	if err != nil {
		return nil, fmt.Errorf("cannot read the journal: %v", err)
	}
	return output, nil
}

// jobEntry is what systemd logs of a job that has ended (systemd.journal-fields(7)).
type jobEntry struct {
	Result     string `json:"JOB_RESULT"`
	Invocation string `json:"INVOCATION_ID"` // empty where nothing was run
}

// lastJob returns the last entry since a time of a job on a unit of one of the types, nil
// where there is none.
func lastJob(ctx context.Context, unit string, since time.Time, types []string) (*jobEntry, error) {
	args := []string{"-n", "1", "--output-fields=JOB_RESULT,INVOCATION_ID", fmt.Sprintf("--since=@%d.%06d", since.Unix(), since.Nanosecond()/1000), "UNIT=" + unit, "_PID=1"}
	for _, kind := range types {
		args = append(args, "JOB_TYPE="+kind)
	}
	output, err := journalctl(ctx, args...)
	var entry jobEntry
	if err != nil || json.Unmarshal(bytes.TrimSpace(output), &entry) != nil || entry.Result == "" {
		return nil, err
	}
	return &entry, nil
}

// journalEntry is one line of journalctl -o json. A message that is not text comes as an
// array of its bytes, one that is too long as null.
type journalEntry struct {
	Time       string          `json:"__REALTIME_TIMESTAMP"`
	Message    json.RawMessage `json:"MESSAGE"`
	Identifier any             `json:"SYSLOG_IDENTIFIER"`
	Command    any             `json:"_COMM"`
	PID        any             `json:"_PID"`
}

func journalLines(output []byte) (lines []string) {
	scanner := bufio.NewScanner(bytes.NewReader(output))
	scanner.Buffer(nil, 1<<20)
	for scanner.Scan() {
		var e journalEntry
		if json.Unmarshal(scanner.Bytes(), &e) != nil {
			continue
		}
		text := "(a message that is not shown)"
		var raw []byte
		var numbers []int
		if json.Unmarshal(e.Message, &text) != nil && json.Unmarshal(e.Message, &numbers) == nil {
			for _, n := range numbers {
				raw = append(raw, byte(n))
			}
			text = string(raw)
		}
		who, _ := e.Identifier.(string)
		if who == "" {
			who, _ = e.Command.(string)
		}
		if pid, ok := e.PID.(string); ok {
			who += "[" + pid + "]"
		}
		at := ""
		if usec, err := strconv.ParseInt(e.Time, 10, 64); err == nil {
			at = time.UnixMicro(usec).Format("Jan 02 15:04:05 ")
		}
		if len(text) > maxLine {
			text = text[:maxLine] + "…"
		}
		lines = append(lines, at+who+": "+text)
	}
	return lines
}
