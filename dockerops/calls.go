package dockerops

import (
	"context"

	"github.com/docker/docker/api/types/container"

	"tvsctl/fault"
)

// Start starts a container that exists.
func (e *Engine) Start(ctx context.Context, id string) error {
	if err := e.negotiate(ctx); err != nil {
		return explain(err)
	}
	return explain(fault.Do("docker start", func() error { return e.api.ContainerStart(ctx, id, container.StartOptions{}) }))
}

// Stop stops a container; one that is gone is stopped.
func (e *Engine) Stop(ctx context.Context, id string) error {
	return ignoreMissing(fault.Do("docker stop", func() error { return e.api.ContainerStop(ctx, id, container.StopOptions{}) }))
}

func (e *Engine) remove(ctx context.Context, id string, options container.RemoveOptions) error {
	return fault.Do("docker remove", func() error { return e.api.ContainerRemove(ctx, id, options) })
}

func ignoreMissing(err error) error {
	if isNotFound(err) {
		return nil
	}
	return explain(err)
}
