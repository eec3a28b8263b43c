package dockerops

import (
	"bytes"
	"context"
	"time"

	"github.com/docker/docker/api/types"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/pkg/stdcopy"
)

const exitTick = 5 * time.Millisecond

// Exec is a program that runs in a container.
type Exec struct {
	engine *Engine
	id     string
	stream types.HijackedResponse
}

// StartExec starts a program in a container. What is written to the Exec is its
// standard input.
func (e *Engine) StartExec(ctx context.Context, in string, argv []string) (*Exec, error) {
	if err := e.negotiate(ctx); err != nil {
		return nil, explain(err)
	}
	made, err := e.api.ContainerExecCreate(ctx, in, container.ExecOptions{Cmd: argv,
		AttachStdin: true, AttachStdout: true, AttachStderr: true})
	if err != nil {
		return nil, explain(err)
	}
	stream, err := e.attach(ctx, made.ID, container.ExecAttachOptions{})
	if err != nil {
		return nil, explain(err)
	}
	return &Exec{engine: e, id: made.ID, stream: stream}, nil
}

func (x *Exec) Write(p []byte) (int, error) { return x.stream.Conn.Write(p) }

// Close ends the program's input; one that waits for it ends.
func (x *Exec) Close() { x.stream.Close() }

// Wait ends the program's input and returns what it wrote, standard output and
// error together, and its exit status. When ctx ends first, the program is left to
// its own end.
func (x *Exec) Wait(ctx context.Context) (output string, status int, err error) {
	defer x.stream.Close()
	defer context.AfterFunc(ctx, x.stream.Close)()
	if err := x.stream.CloseWrite(); err != nil {
		return "", 0, explain(err)
	}
	var text bytes.Buffer
	if _, err := stdcopy.StdCopy(&text, &text, x.stream.Reader); err != nil {
		if ctx.Err() != nil {
			return text.String(), 0, ctx.Err()
		}
		return text.String(), 0, explain(err)
	}
	// The output can end a moment before the engine knows the status.
	for {
		result, err := x.engine.api.ContainerExecInspect(ctx, x.id)
		if err != nil {
			return text.String(), 0, explain(err)
		}
		if !result.Running {
			return text.String(), result.ExitCode, nil
		}
		select {
		case <-ctx.Done():
			return text.String(), 0, ctx.Err()
		case <-time.After(exitTick):
		}
	}
}
