package dockerops

import (
	"context"
	"io"
	"time"

	"github.com/docker/docker/api/types"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/pkg/stdcopy"

	"tvsctl/fault"
)

// Session is a command that somebody runs in a container. What is written to it is the
// command's standard input.
type Session struct {
	engine *Engine
	id     string
	tty    bool
	stream types.HijackedResponse
}

// SessionOptions say how a command runs.
type SessionOptions struct {
	Command       []string
	Stdin         bool
	TTY           bool
	Rows, Columns uint // of the terminal; 0: the engine's default
}

// OpenSession starts a command in a running container. One that cannot be started
// still has a status, 126 or 127, and its output says why.
func (e *Engine) OpenSession(ctx context.Context, in string, o SessionOptions) (*Session, error) {
	if err := e.negotiate(ctx); err != nil {
		return nil, explain(err)
	}
	options := container.ExecOptions{Cmd: o.Command, Tty: o.TTY, AttachStdin: o.Stdin, AttachStdout: true, AttachStderr: true}
	attach := container.ExecAttachOptions{Tty: o.TTY}
	sized := o.TTY && o.Rows > 0 && o.Columns > 0
	if sized && e.atLeast("1.42") {
		options.ConsoleSize = &[2]uint{o.Rows, o.Columns}
		attach.ConsoleSize = options.ConsoleSize
	}
	var made container.ExecCreateResponse
	var stream types.HijackedResponse
	err := fault.Do("docker exec", func() (err error) {
		if made, err = e.api.ContainerExecCreate(ctx, in, options); err == nil {
			stream, err = e.attach(ctx, made.ID, attach)
		}
		return err
	})
	if err != nil {
		return nil, explain(err)
	}
	s := &Session{engine: e, id: made.ID, tty: o.TTY, stream: stream}
	if sized && options.ConsoleSize == nil {
		s.resizeFirst(ctx, o.Rows, o.Columns)
	}
	return s, nil
}

// resizeFirst gives the terminal its first size where that cannot be asked for with the
// start; it can be too early for that for a moment.
func (s *Session) resizeFirst(ctx context.Context, rows, columns uint) {
	for range 20 {
		if s.Resize(ctx, rows, columns) == nil {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(exitTick):
		}
	}
}

func (s *Session) Write(p []byte) (int, error) { return s.stream.Conn.Write(p) }

// CloseWrite ends the command's standard input.
func (s *Session) CloseWrite() error { return s.stream.CloseWrite() }

// Close leaves the command, which loses its input and goes on.
func (s *Session) Close() { s.stream.Close() }

// Resize changes the size of the command's terminal.
func (s *Session) Resize(ctx context.Context, rows, columns uint) error {
	return explain(fault.Do("docker resize", func() error {
		return s.engine.api.ContainerExecResize(ctx, s.id, container.ResizeOptions{Height: rows, Width: columns})
	}))
}

// Copy passes on what the command writes until it has ended; with a terminal all of it
// is standard output.
func (s *Session) Copy(stdout, stderr io.Writer) error {
	if s.tty {
		_, err := io.Copy(stdout, s.stream.Reader)
		return err
	}
	_, err := stdcopy.StdCopy(stdout, stderr, s.stream.Reader)
	return err
}

// Process returns the command's pid on the host, 0 when it does not run.
func (s *Session) Process(ctx context.Context) (int, error) {
	state, err := s.engine.api.ContainerExecInspect(ctx, s.id)
	if err != nil || !state.Running {
		return 0, explain(err)
	}
	return state.Pid, nil
}

// Status waits until the command has ended and returns its exit status.
func (s *Session) Status(ctx context.Context) (int, error) {
	for {
		state, err := s.engine.api.ContainerExecInspect(ctx, s.id)
		if err != nil {
			return 0, explain(err)
		}
		if !state.Running {
			return state.ExitCode, nil
		}
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-time.After(exitTick):
		}
	}
}
