package daemon

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"tvsctl/ipc"
)

// maxJournalEntry bounds an entry in the form in which journalctl prints it; a larger
// one is left out.
const maxJournalEntry = 4 << 20

// journalQuery says which entries of the journal are read. journalctl reads them: a
// static program cannot use its library.
type journalQuery struct {
	matches      []string // as journalctl takes them: -u UNIT, FIELD=VALUE, +
	fields       []string // that are wanted
	since, until time.Time
	lines        int    // at most; negative: all
	reverse      bool   // newest first
	follow       bool   // wait for more
	after        string // the cursor of an entry: those after it
	from         string // the same, with that entry
}

// journalEntry holds the fields of an entry. Of one that it has several times, the first.
type journalEntry map[string]string

// time is when the journal received it.
func (e journalEntry) time() time.Time {
	n, err := strconv.ParseInt(e["__REALTIME_TIMESTAMP"], 10, 64)
	if err != nil {
		return time.Time{}
	}
	return time.UnixMicro(n)
}

func (q journalQuery) arguments() []string {
	args := []string{"--output=json", "--quiet", "--no-pager", "--all"}
	if len(q.fields) > 0 {
		args = append(args, "--output-fields="+strings.Join(q.fields, ","))
	}
	// In UTC to the microsecond, which every version reads (systemd.time).
	const stamp = "2006-01-02 15:04:05.000000 UTC"
	if !q.since.IsZero() {
		args = append(args, "--since="+q.since.UTC().Format(stamp))
	}
	if !q.until.IsZero() {
		args = append(args, "--until="+q.until.UTC().Format(stamp))
	}
	if q.after != "" {
		args = append(args, "--after-cursor="+q.after)
	}
	if q.from != "" {
		args = append(args, "--cursor="+q.from)
	}
	if q.reverse {
		args = append(args, "--reverse")
	}
	if q.follow {
		args = append(args, "--follow")
	}
	switch {
	case q.lines >= 0:
		args = append(args, "--lines="+strconv.Itoa(q.lines))
	case q.follow:
		args = append(args, "--lines=all")
	}
	return append(args, q.matches...)
}

// errCut is in the error of a reading whose journalctl was killed.
var errCut = errors.New("the reading was cut")

// readJournal calls each with the entries until it returns false, there is no more, or
// ctx ends. What is not yet read stays in the journal.
func readJournal(ctx context.Context, q journalQuery, each func(journalEntry) bool) error {
	reading, cancel := context.WithCancel(ctx)
	defer cancel()
	command := exec.CommandContext(reading, "journalctl", q.arguments()...)
	var complaint bytes.Buffer
	command.Stderr = &complaint
	command.WaitDelay = time.Second
	out, err := command.StdoutPipe()
	if err == nil {
		err = command.Start()
	}
	if err != nil {
		return unreadableJournal(err.Error())
	}
	in := bufio.NewReaderSize(out, 64<<10)
	enough := false
	for !enough {
		text, err := readEntry(in)
		if err != nil {
			break // why, its end says
		}
		if entry := parseEntry(text); entry != nil {
			enough = !each(entry)
		}
	}
	if enough {
		cancel()
	}
	err = command.Wait()
	var exit *exec.ExitError
	switch {
	case enough || ctx.Err() != nil || !errors.As(err, &exit):
		return nil
	case !exit.Exited():
		return fmt.Errorf("%w: %w", errCut, unreadableJournal("journalctl: "+exit.Error()))
	}
	return unreadableJournal(strings.Join(strings.Fields(complaint.String()), " "))
}

// readEntry returns the next line, nil when it is too long.
func readEntry(in *bufio.Reader) ([]byte, error) {
	var line []byte
	long := false
	for {
		part, err := in.ReadSlice('\n')
		if long = long || len(line)+len(part) > maxJournalEntry; !long {
			line = append(line, part...)
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
		case err != nil:
			return nil, err
		case long:
			return nil, nil
		default:
			return line, nil
		}
	}
}

// parseEntry reads journalctl's JSON: a field is a text, bytes that are no text as a
// list of numbers, a list of either where the entry has it several times, or null.
func parseEntry(line []byte) journalEntry {
	var raw map[string]json.RawMessage
	if json.Unmarshal(line, &raw) != nil {
		return nil
	}
	entry := journalEntry{}
	for name, value := range raw {
		entry[name] = fieldText(value)
	}
	return entry
}

func fieldText(value json.RawMessage) string {
	var text string
	var bytes []uint16
	var several []json.RawMessage
	switch {
	case json.Unmarshal(value, &text) == nil:
		return text
	case json.Unmarshal(value, &bytes) == nil:
		var b strings.Builder
		for _, c := range bytes {
			b.WriteByte(byte(c))
		}
		return b.String()
	case json.Unmarshal(value, &several) == nil && len(several) > 0:
		return fieldText(several[0])
	}
	return ""
}

func unreadableJournal(why string) error {
	return &ipc.Error{Code: ipc.CodeSystemd, Message: "cannot read the journal: " + why}
}
