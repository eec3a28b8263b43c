package dockerops

import (
	"bytes"
	"context"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/pkg/stdcopy"
)

// Exec runs a program in a container and returns what it wrote, standard output
// and error together, and its exit status. When ctx ends first, the program is
// left to its own end.
func (e *Engine) Exec(ctx context.Context, id string, argv []string) (output string, status int, err error) {
	made, err := e.api.ContainerExecCreate(ctx, id, container.ExecOptions{Cmd: argv, AttachStdout: true, AttachStderr: true})
	if err != nil {
		return "", 0, explain(err)
	}
	stream, err := e.api.ContainerExecAttach(ctx, made.ID, container.ExecAttachOptions{})
	if err != nil {
		return "", 0, explain(err)
	}
	defer stream.Close()
	defer context.AfterFunc(ctx, stream.Close)()
	var text bytes.Buffer
	if _, err := stdcopy.StdCopy(&text, &text, stream.Reader); err != nil {
		if ctx.Err() != nil {
			return text.String(), 0, ctx.Err()
		}
		return text.String(), 0, explain(err)
	}
	result, err := e.api.ContainerExecInspect(ctx, made.ID)
	if err != nil {
		return text.String(), 0, explain(err)
	}
	return text.String(), result.ExitCode, nil
}
