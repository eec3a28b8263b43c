package dockerops

import (
	"context"
	"net"
	"net/http"

	"github.com/docker/docker/api/types"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/client"
)

// attachKey is the key of an *attaching in a context.
type attachKey struct{}

// attaching is a connection that is about to become that of an exec.
type attaching struct {
	stop func() bool // ends that the context closes it; false: it has
}

// cuttable is an option of the client: where an exec is attached to, the connection is
// closed when the context ends. The client itself reads the engine's answer to that
// without looking at the context.
func cuttable(c *client.Client) error {
	transport, is := c.HTTPClient().Transport.(*http.Transport)
	if !is || transport.DialContext == nil {
		return nil
	}
	dial := transport.DialContext
	transport.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		if a, is := ctx.Value(attachKey{}).(*attaching); is && err == nil {
			a.stop = context.AfterFunc(ctx, func() { conn.Close() })
		}
		return conn, err
	}
	return nil
}

// attach starts an exec that was made. ctx bounds that, and not the stream.
func (e *Engine) attach(ctx context.Context, id string, o container.ExecAttachOptions) (types.HijackedResponse, error) {
	a := attaching{stop: func() bool { return true }}
	stream, err := e.api.ContainerExecAttach(context.WithValue(ctx, attachKey{}, &a), id, o)
	if !a.stop() {
		if err == nil {
			stream.Close()
		}
		return types.HijackedResponse{}, ctx.Err()
	}
	return stream, err
}
