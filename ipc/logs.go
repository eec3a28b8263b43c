package ipc

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

const (
	// MaxTail bounds how many last lines of a log may be asked for.
	MaxTail = 100_000
	// MaxLogUnits bounds of how many units the logs may be asked for at once.
	MaxLogUnits = 64
)

// ErrLost is in the error of a stream that began, and ended before its time.
var ErrLost = errors.New("the stream was cut")

// LogLine is one line of a stream of logs.
type LogLine struct {
	Time     time.Time `json:"time"`
	Name     string    `json:"name"` // of the replica, or the unit
	Service  string    `json:"service,omitempty"`
	Replica  int       `json:"replica,omitempty"`
	Stream   string    `json:"stream,omitempty"`   // of a container: stdout or stderr
	Priority *int      `json:"priority,omitempty"` // of a unit: 0 emergency to 7 debug (syslog(3))
	Line     string    `json:"line"`               // a unit's entry may have several
	// Error says why the log of Name cannot be read; there is then no line.
	Error *Error `json:"error,omitempty"`
}

// LogRequest says which logs are read, and what of them.
type LogRequest struct {
	Project string
	// Services are SERVICE or SERVICE.N. With neither services nor units: those that
	// the project's nginx balance.
	Services     []string
	Units        []string // at most MaxLogUnits
	Follow       bool
	Tail         int       // so many of the last lines of each; negative: all
	Since, Until time.Time // both included; zero: not bounded
}

func (r LogRequest) path() string {
	query := url.Values{"service": r.Services}
	path := ProjectPath(r.Project, "logs")
	units := r.Units
	if len(r.Services) == 0 && len(units) > 0 {
		path, units = "/units/"+url.PathEscape(units[0])+"/logs", units[1:]
	}
	query["unit"] = units
	if r.Follow {
		query.Set("follow", "true")
	}
	if r.Tail >= 0 {
		query.Set("tail", strconv.Itoa(r.Tail))
	}
	for name, t := range map[string]time.Time{"since": r.Since, "until": r.Until} {
		if !t.IsZero() {
			query.Set(name, t.Format(time.RFC3339Nano))
		}
	}
	if text := query.Encode(); text != "" {
		path += "?" + text
	}
	return path
}

// Logs calls fn with each line, in the order of their times, until there is no more. To
// follow ends only with ctx, or with ErrLost when the daemon does.
func (c *Client) Logs(ctx context.Context, request LogRequest, fn func(LogLine)) error {
	reply, err := c.send(ctx, http.MethodGet, request.path(), nil)
	if err != nil {
		return err
	}
	defer reply.Body.Close()
	decoder := json.NewDecoder(bufio.NewReader(reply.Body))
	for {
		var line LogLine
		err := decoder.Decode(&line)
		switch {
		case err == nil:
			fn(line)
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, io.EOF) && !request.Follow:
			return nil
		default:
			return fmt.Errorf("%w: %w", ErrLost, &Error{Code: CodeUnreachable, Message: fmt.Sprintf("lost the daemon while reading logs: %v", err),
				Hint: "see journalctl -u tvsctld"})
		}
	}
}
