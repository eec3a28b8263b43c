package ipc

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"
)

// Client talks to tvsctld over its socket. It opens a connection for each
// request: a kept one would hold up the daemon's idle exit.
type Client struct {
	socket string
	http   *http.Client
}

// NewClient returns a client for the socket at the given path.
func NewClient(socket string) *Client {
	return &Client{socket: socket, http: &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		},
	}}}
}

// Get asks for a resource below /v1 and decodes the reply into out.
func (c *Client) Get(ctx context.Context, path string, out any) error {
	return c.do(ctx, http.MethodGet, path, nil, out)
}

// Post sends a request to a resource below /v1 and decodes the reply into out.
func (c *Client) Post(ctx context.Context, path string, in, out any) error {
	return c.do(ctx, http.MethodPost, path, in, out)
}

// Put replaces a resource below /v1.
func (c *Client) Put(ctx context.Context, path string, in, out any) error {
	return c.do(ctx, http.MethodPut, path, in, out)
}

// ProjectPath returns the path of a project's resource below /v1; an empty
// project means the only one.
func ProjectPath(project, rest string) string {
	if project == "" {
		project = OnlyProject
	}
	path := "/projects/" + url.PathEscape(project)
	if rest != "" {
		path += "/" + rest
	}
	return path
}

// Follow calls fn with each event of an operation, from the first on, until the
// operation is finished, and returns the finished operation.
func (c *Client) Follow(ctx context.Context, id string, fn func(Event)) (*Operation, error) {
	reply, err := c.send(ctx, http.MethodGet, "/operations/"+url.PathEscape(id)+"/events", nil)
	if err != nil {
		return nil, err
	}
	defer reply.Body.Close()
	decoder := json.NewDecoder(bufio.NewReader(reply.Body))
	for {
		var event Event
		if err := decoder.Decode(&event); err != nil {
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			return nil, &Error{Code: CodeUnreachable,
				Message: fmt.Sprintf("lost the daemon while following operation %s: %v", id, err),
				Hint:    "see how it went on: tvsctl ops " + id}
		}
		fn(event)
		if event.Kind == EventOperation && event.Operation != nil && event.Operation.State.Finished() {
			return event.Operation, nil
		}
	}
}

// Events calls fn with what happens on the host from now on, in one project or with
// "" in all, until ctx ends.
func (c *Client) Events(ctx context.Context, project string, fn func(HostEvent)) error {
	path := "/events"
	if project != "" {
		path += "?project=" + url.QueryEscape(project)
	}
	reply, err := c.send(ctx, http.MethodGet, path, nil)
	if err != nil {
		return err
	}
	defer reply.Body.Close()
	decoder := json.NewDecoder(bufio.NewReader(reply.Body))
	for {
		var event HostEvent
		if err := decoder.Decode(&event); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return &Error{Code: CodeUnreachable, Message: fmt.Sprintf("lost the daemon while following events: %v", err),
				Hint: "what happened meanwhile is in journalctl -u tvsctld"}
		}
		fn(event)
	}
}

func (c *Client) do(ctx context.Context, method, path string, in, out any) error {
	var body []byte
	if in != nil {
		var err error
		if body, err = json.Marshal(in); err != nil {
			return err
		}
	}
	reply, err := c.send(ctx, method, path, body)
	if err != nil {
		return err
	}
	defer reply.Body.Close()
	if out == nil {
		return nil
	}
	if err := json.NewDecoder(reply.Body).Decode(out); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return &Error{Code: CodeInternal, Message: fmt.Sprintf("cannot read the reply to %s %s: %v", method, path, err),
			Hint: "see journalctl -u tvsctld"}
	}
	return nil
}

func (c *Client) send(ctx context.Context, method, path string, body []byte) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, method, "http://tvsctld/v1"+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	return c.roundTrip(request)
}

// roundTrip returns the reply to a request, or what it was refused with.
func (c *Client) roundTrip(request *http.Request) (*http.Response, error) {
	reply, err := c.http.Do(request)
	if err != nil {
		if ctx := request.Context(); ctx.Err() != nil {
			return nil, ctx.Err() // and not its cause, which net/http returns
		}
		return nil, c.explain(err)
	}
	if reply.StatusCode < 400 {
		return reply, nil
	}
	defer reply.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(reply.Body, MaxRequestBytes))
	var refused ErrorReply
	if err == nil {
		err = json.Unmarshal(raw, &refused)
	}
	if err != nil || refused.Error == nil {
		return nil, &Error{Code: CodeInternal, Message: fmt.Sprintf("%s %s answered %s", request.Method, strings.TrimPrefix(request.URL.RequestURI(), "/v1"), reply.Status),
			Hint: "is another program listening on " + c.socket + "?"}
	}
	return nil, refused.Error
}

func (c *Client) explain(err error) error {
	switch {
	case errors.Is(err, syscall.EACCES), errors.Is(err, syscall.EPERM):
		return &Error{Code: CodeForbidden,
			Message: fmt.Sprintf("cannot use %s: permission denied: you are neither root nor in group tvs", c.socket),
			Hint:    "as root: usermod -aG tvs YOUR-NAME, then log in again"}
	case errors.Is(err, syscall.ENOENT), errors.Is(err, syscall.ECONNREFUSED):
		return &Error{Code: CodeUnreachable,
			Message: fmt.Sprintf("cannot reach tvsctld: nothing listens on %s", c.socket),
			Hint:    "as root: systemctl start tvsctld.socket"}
	}
	return &Error{Code: CodeUnreachable, Message: fmt.Sprintf("cannot talk to tvsctld on %s: %v", c.socket, err),
		Hint: "see systemctl status tvsctld.socket tvsctld.service"}
}
