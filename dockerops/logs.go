package dockerops

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/docker/docker/api/types/container"
)

// MaxLogLine bounds a line of a log, in bytes: what is longer comes in pieces.
const MaxLogLine = 64 << 10

// LogOptions say what of a container's log is read.
type LogOptions struct {
	Follow       bool      // wait for more, until the container ends
	Tail         int       // so many of the last lines; negative: all
	Since, Until time.Time // both included; zero: not bounded
}

// LogLine is one line that a container wrote.
type LogLine struct {
	Time   time.Time
	Stderr bool
	Text   string // without its end
}

// Log reads the log of one container. It holds no more than a line of it: what its
// reader leaves stays with the engine.
type Log struct {
	body   io.ReadCloser
	in     *bufio.Reader
	framed bool
	begun  bool
	open   [2]LogLine // by stream: a line whose end has not come
	text   [2]bytes.Buffer
}

// Log opens the log of a container until ctx ends.
func (e *Engine) Log(ctx context.Context, id string, o LogOptions) (*Log, error) {
	if err := e.negotiate(ctx); err != nil {
		return nil, explain(err)
	}
	options := container.LogsOptions{ShowStdout: true, ShowStderr: true, Timestamps: true, Follow: o.Follow,
		Since: logTime(o.Since), Until: logTime(o.Until), Tail: "all"}
	if o.Tail >= 0 {
		options.Tail = strconv.Itoa(o.Tail)
	}
	body, err := e.api.ContainerLogs(ctx, id, options)
	if isNotFound(err) {
		return nil, ErrGone
	}
	if err != nil {
		return nil, explain(err)
	}
	return &Log{body: body, in: bufio.NewReaderSize(body, 32<<10)}, nil
}

func logTime(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return fmt.Sprintf("%d.%09d", t.Unix(), t.Nanosecond())
}

// Close ends the reading.
func (l *Log) Close() { l.body.Close() }

// Next returns the next line. Its error is io.EOF when there is no more, or the
// container has ended.
func (l *Log) Next() (LogLine, error) {
	if !l.begun {
		first, err := l.in.Peek(1)
		if err != nil {
			return LogLine{}, l.end(err)
		}
		// A container with a terminal has no frames, but each of its lines begins with a
		// time, and no stream has the number of a digit.
		l.begun, l.framed = true, first[0] < '0'
	}
	for {
		stream, part, err := l.part()
		if err != nil {
			return l.rest(err)
		}
		if line, whole := l.add(stream, part); whole {
			return line, nil
		}
	}
}

// part reads what the container wrote at once: a line, or a piece of a long one.
func (l *Log) part() (stream int, part []byte, err error) {
	if !l.framed {
		line, err := l.in.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) || len(line) > 0 && errors.Is(err, io.EOF) {
			err = nil
		}
		return 0, line, err
	}
	var header [8]byte // stream, 0, 0, 0, and the length (Engine API, ContainerAttach)
	if _, err := io.ReadFull(l.in, header[:]); err != nil {
		return 0, nil, err
	}
	size := binary.BigEndian.Uint32(header[4:])
	if size > 16*MaxLogLine || header[0] > 3 {
		return 0, nil, errors.New("it is garbled")
	}
	part = make([]byte, size)
	if _, err := io.ReadFull(l.in, part); err != nil {
		return 0, nil, err
	}
	if header[0] == 3 { // the engine's own
		return 0, nil, errors.New(oneLine(part))
	}
	if header[0] == 2 {
		stream = 1
	}
	return stream, part, nil
}

// add takes up a part. Each begins with its time, also one in the middle of a line.
func (l *Log) add(stream int, part []byte) (LogLine, bool) {
	open, text := &l.open[stream], &l.text[stream]
	if stamp, rest, ok := bytes.Cut(part, []byte{' '}); ok {
		if t, err := time.Parse(time.RFC3339Nano, string(stamp)); err == nil {
			part = rest
			if text.Len() == 0 {
				open.Time = t
			}
		}
	}
	open.Stderr = stream == 1
	whole := bytes.HasSuffix(part, []byte{'\n'})
	text.Write(part)
	if !whole && text.Len() < MaxLogLine {
		return LogLine{}, false
	}
	return l.take(stream), true
}

func (l *Log) take(stream int) LogLine {
	line := l.open[stream]
	line.Text = string(bytes.TrimRight(l.text[stream].Bytes(), "\r\n"))
	l.text[stream].Reset()
	return line
}

// rest returns the lines that were not ended, before the error.
func (l *Log) rest(err error) (LogLine, error) {
	for stream := range l.text {
		if l.text[stream].Len() > 0 {
			return l.take(stream), nil
		}
	}
	return LogLine{}, l.end(err)
}

func (l *Log) end(err error) error {
	if errors.Is(err, io.EOF) {
		return io.EOF
	}
	return explain(err)
}

func oneLine(text []byte) string { return string(bytes.Join(bytes.Fields(text), []byte{' '})) }
