// Package dockerops knows what a compose project is and changes it through the
// Docker Engine API.
//
// Observe takes one snapshot of a project, MakePlan turns it and a goal into
// ordered steps without any I/O, and Apply carries the steps out, the
// independent ones in parallel. Replicas are cloned from a Spec, so that docker
// compose finds them to be its own. Watch tells when to look again.
//
// It is the only package that imports the Docker client.
package dockerops

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/versions"
	"github.com/docker/docker/client"
)

// ErrUnavailable means that the Docker Engine cannot be reached.
var ErrUnavailable = errors.New("the Docker Engine cannot be reached")

// ErrNoAnswer is the ErrUnavailable of a call whose time ran out. The engine may answer
// others: to wait for it is no remedy.
var ErrNoAnswer = fmt.Errorf("%w: it does not answer", ErrUnavailable)

// Engine is a connection to one Docker Engine. It is safe for concurrent use.
type Engine struct {
	api         *client.Client
	unusable    error         // DOCKER_HOST makes no sense
	negotiating chan struct{} // holds a value meanwhile
	negotiated  atomic.Bool
	watches     watches
}

// Open prepares a connection to the engine that DOCKER_HOST names, by default
// the local one. It does no I/O: the API version is negotiated on first use, and a
// DOCKER_HOST that makes no sense is the error of every use.
func Open() *Engine {
	api, err := client.NewClientWithOpts(client.FromEnv, cuttable)
	if err != nil {
		err = fmt.Errorf("%w: %v", ErrUnavailable, err)
	}
	return &Engine{api: api, unusable: err, negotiating: make(chan struct{}, 1)}
}

// negotiate agrees on the API version, once. It comes before the first request of
// whoever begins something: the client's own negotiation, on first use, writes the
// version while other requests read it.
func (e *Engine) negotiate(ctx context.Context) error {
	if e.negotiated.Load() || e.unusable != nil {
		return e.unusable
	}
	select {
	case e.negotiating <- struct{}{}:
		defer func() { <-e.negotiating }()
	case <-ctx.Done():
		return ctx.Err()
	}
	if e.negotiated.Load() {
		return nil
	}
	ping, err := e.api.Ping(ctx)
	if err != nil {
		return err
	}
	e.api.NegotiateAPIVersionPing(ping)
	e.negotiated.Store(true)
	return nil
}

// Ping returns an error while the engine does not answer.
func (e *Engine) Ping(ctx context.Context) error {
	const patience = 5 * time.Second
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := e.negotiate(ctx); err != nil {
		return explain(err)
	}
	_, err := e.api.Ping(ctx)
	return explain(err)
}

// lost reports whether the engine is away, or was since there were so many losses.
func (e *Engine) lost(ctx context.Context, losses int) bool {
	return e.losses() != losses || e.Ping(context.WithoutCancel(ctx)) != nil
}

// Version returns the engine's version and the API version in use.
func (e *Engine) Version(ctx context.Context) (engine, api string, err error) {
	if err := e.negotiate(ctx); err != nil {
		return "", "", explain(err)
	}
	v, err := e.api.ServerVersion(ctx)
	if err != nil {
		return "", "", explain(err)
	}
	return v.Version, e.api.ClientVersion(), nil
}

// atLeast reports whether the negotiated API version is at least v.
func (e *Engine) atLeast(v string) bool {
	return versions.GreaterThanOrEqualTo(e.api.ClientVersion(), v)
}

// explain makes an error of the client one line, and ErrUnavailable where the
// engine was not reached at all.
func explain(err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return ErrNoAnswer
	}
	if errors.Is(err, ErrUnavailable) {
		return err
	}
	if client.IsErrConnectionFailed(err) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) {
		return fmt.Errorf("%w: %v", ErrUnavailable, err)
	}
	text := strings.TrimPrefix(err.Error(), "Error response from daemon: ")
	return &engineError{text: strings.ReplaceAll(text, "\n", " "), cause: err}
}

// engineError says what the engine said, and keeps the cause so that callers
// here can tell a missing object from other refusals.
type engineError struct {
	text  string
	cause error
}

func (e *engineError) Error() string { return e.text }
func (e *engineError) Unwrap() error { return e.cause }

func isNotFound(err error) bool { return errdefs.IsNotFound(err) }
func isConflict(err error) bool { return errdefs.IsConflict(err) }
