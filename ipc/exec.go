package ipc

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
)

// ExecRequest runs a command in a running replica. The reply is 101, and the connection
// then carries frames both ways until the command has ended (see WriteFrame).
type ExecRequest struct {
	Service string   `json:"service"`
	Number  int      `json:"number,omitempty"` // 0: the running replica with the lowest number
	Command []string `json:"command"`
	Stdin   bool     `json:"stdin,omitempty"` // its standard input is the client's
	TTY     bool     `json:"tty,omitempty"`   // it gets a terminal of its own
	Size    *Size    `json:"size,omitempty"`  // of that terminal
}

// Size is that of a terminal.
type Size struct {
	Rows    uint16 `json:"rows"`
	Columns uint16 `json:"columns"`
}

// ExecResult is how a command ended: with a status, 128 and the signal where one ended
// it, 126 where it could not be run and 127 where it was not found; or with an error.
type ExecResult struct {
	Status int    `json:"status"`
	Error  *Error `json:"error,omitempty"`
}

// ExecProtocol is what the connection is upgraded to.
const ExecProtocol = "tvs-exec"

// FrameKind says what a frame carries.
type FrameKind byte

const (
	FrameInput  FrameKind = iota // to the command; an empty one ends its input
	FrameOutput                  // standard output, and with a terminal all of it
	FrameError                   // standard error
	FrameResize                  // to the command's terminal: Size as JSON
	FrameResult                  // the last one: ExecResult as JSON
)

// MaxFrame bounds what one frame carries, in bytes.
const MaxFrame = 64 << 10

// WriteFrame writes a frame: a byte for its kind, four for the length of what it
// carries, the highest first, and that. It is one call of Write.
func WriteFrame(w io.Writer, kind FrameKind, payload []byte) error {
	if len(payload) > MaxFrame {
		return fmt.Errorf("a frame of %d bytes is too long", len(payload))
	}
	frame := binary.BigEndian.AppendUint32([]byte{byte(kind)}, uint32(len(payload)))
	_, err := w.Write(append(frame, payload...))
	return err
}

// ReadFrame reads a frame. The error is io.EOF only where one would begin.
func ReadFrame(r io.Reader) (FrameKind, []byte, error) {
	var head [5]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return 0, nil, err
	}
	length := binary.BigEndian.Uint32(head[1:])
	if length > MaxFrame {
		return 0, nil, fmt.Errorf("a frame of %d bytes is too long", length)
	}
	payload := make([]byte, length)
	_, err := io.ReadFull(r, payload)
	if err == io.EOF { // right after its head
		err = io.ErrUnexpectedEOF
	}
	return FrameKind(head[0]), payload, err
}

// Exec begins to run a command in a replica and returns the connection with its frames.
// Closing it ends the command.
func (c *Client) Exec(ctx context.Context, project string, request ExecRequest) (io.ReadWriteCloser, error) {
	body, err := json.Marshal(request)
	if err != nil {
		return nil, err
	}
	upgrade, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://tvsctld/v1"+ProjectPath(project, "exec"), bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	upgrade.Header.Set("Content-Type", "application/json")
	upgrade.Header.Set("Connection", "Upgrade")
	upgrade.Header.Set("Upgrade", ExecProtocol)
	reply, err := c.roundTrip(upgrade)
	if err != nil {
		return nil, err
	}
	conn, both := reply.Body.(io.ReadWriteCloser)
	if reply.StatusCode != http.StatusSwitchingProtocols || !both {
		reply.Body.Close()
		return nil, &Error{Code: CodeInternal, Message: fmt.Sprintf("tvsctld answered %s instead of running the command", reply.Status),
			Hint: "is tvsctl newer than tvsctld? compare with tvsctl version"}
	}
	return struct {
		io.Reader
		io.WriteCloser
	}{bufio.NewReader(conn), conn}, nil
}
