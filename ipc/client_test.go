package ipc

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
)

// serve answers on a socket, whose path it returns.
func serve(t *testing.T, handler http.HandlerFunc) string {
	t.Helper()
	directory, err := os.MkdirTemp("", "ipc") // short: the path of a socket is bounded
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(directory) })
	socket := filepath.Join(directory, "s")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: handler}
	go server.Serve(listener)
	t.Cleanup(func() { server.Close() })
	return socket
}

func answer(t *testing.T, status int, body string) *Client {
	return NewClient(serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		io.WriteString(w, body)
	}))
}

func TestRequests(t *testing.T) {
	var got string
	client := NewClient(serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got = strings.TrimSpace(strings.Join([]string{r.Method, r.URL.RequestURI(), r.Header.Get("Content-Type"), string(body)}, " "))
		if !r.Close {
			t.Error("the connection is kept")
		}
		io.WriteString(w, `{"id":"op1"}`)
	}))
	ctx := context.Background()
	var operation Operation
	for want, call := range map[string]func() error{
		"GET /v1/projects": func() error { return client.Get(ctx, "/projects", &operation) },
		`POST /v1/projects/-/scale application/json {"services":{"webapp":3}}`: func() error {
			return client.Post(ctx, ProjectPath("", "scale"), ScaleRequest{Services: map[string]int{"webapp": 3}}, &operation)
		},
		`PUT /v1/projects/a%2Fb/declaration application/json {"directory":"/srv","files":null}`: func() error {
			return client.Put(ctx, ProjectPath("a/b", "declaration"), Declaration{Directory: "/srv"}, nil)
		},
		"GET /v1/operations?project=tvs": func() error { return client.Get(ctx, "/operations?project=tvs", &operation) },
	} {
		if err := call(); err != nil {
			t.Error(err)
		}
		if got != want {
			t.Errorf("sends %q, not %q", got, want)
		}
	}
	if operation.ID != "op1" {
		t.Errorf("decodes %+v", operation)
	}
}

func TestRefusals(t *testing.T) {
	ctx := context.Background()
	for _, c := range []struct {
		name   string
		status int
		body   string
		want   Error
	}{
		{"a refusal", 409, `{"error":{"code":"conflict","message":"m","hint":"h","detail":["d"]}}`,
			Error{Code: CodeConflict, Message: "m", Hint: "h", Detail: []string{"d"}}},
		{"an unknown code", 418, `{"error":{"code":"tea","message":"m"}}`, Error{Code: "tea", Message: "m"}},
		{"not JSON", 502, "<html>", Error{Code: CodeInternal, Message: "GET /projects answered 502 Bad Gateway"}},
		{"JSON of another", 404, `{"message":"page not found"}`, Error{Code: CodeInternal, Message: "GET /projects answered 404 Not Found"}},
		{"nothing", 500, "", Error{Code: CodeInternal, Message: "GET /projects answered 500 Internal Server Error"}},
		{"a good status, not JSON", 200, "<html>", Error{Code: CodeInternal,
			Message: "cannot read the reply to GET /projects: invalid character '<' looking for beginning of value"}},
	} {
		err := answer(t, c.status, c.body).Get(ctx, "/projects", new([]ProjectSummary))
		var got *Error
		if !errors.As(err, &got) {
			t.Errorf("%s gives %v", c.name, err)
			continue
		}
		if c.want.Hint == "" {
			got.Hint = ""
		}
		if !reflect.DeepEqual(*got, c.want) {
			t.Errorf("%s gives %+v, not %+v", c.name, *got, c.want)
		}
	}
}

func code(err error) Code {
	var got *Error
	if errors.As(err, &got) {
		return got.Code
	}
	return ""
}

func TestSocketThatCannotBeUsed(t *testing.T) {
	ctx := context.Background()
	directory := t.TempDir()
	dead := filepath.Join(directory, "dead")
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: dead})
	if err != nil {
		t.Fatal(err)
	}
	listener.SetUnlinkOnClose(false)
	listener.Close()
	for _, socket := range []string{filepath.Join(directory, "none"), dead} {
		if err := NewClient(socket).Get(ctx, "/version", nil); code(err) != CodeUnreachable || !strings.Contains(err.Error(), socket) {
			t.Errorf("%s gives %v", socket, err)
		}
	}
	// Root may use any socket, so what the kernel says is given here.
	client := NewClient("/run/s")
	for cause, want := range map[error]Code{
		syscall.EACCES: CodeForbidden, syscall.EPERM: CodeForbidden, syscall.ENOENT: CodeUnreachable,
		syscall.ECONNREFUSED: CodeUnreachable, io.ErrUnexpectedEOF: CodeUnreachable,
	} {
		wrapped := &net.OpError{Op: "dial", Net: "unix", Err: os.NewSyscallError("connect", cause)}
		if got := code(client.explain(wrapped)); got != want {
			t.Errorf("%v is %s, not %s", cause, got, want)
		}
	}
}

func TestCancelled(t *testing.T) {
	for _, begun := range []bool{false, true} {
		ctx, cancel := context.WithCancelCause(context.Background())
		client := NewClient(serve(t, func(w http.ResponseWriter, r *http.Request) {
			if begun {
				io.WriteString(w, `{"id":`)
				w.(http.Flusher).Flush()
			}
			cancel(errors.New("a signal"))
			<-r.Context().Done()
		}))
		if err := client.Get(ctx, "/version", new(Version)); err != context.Canceled {
			t.Errorf("with the reply begun %v: %v", begun, err)
		}
	}
}

func TestFollow(t *testing.T) {
	for _, c := range []struct {
		name, stream string
		events       int
		code         Code
		state        OperationState
	}{
		{"success", `{"kind":"operation","operation":{"id":"op1","state":"running"}}
{"kind":"step","step":{"id":1}}
{"kind":"operation","operation":{"id":"op1","state":"succeeded"}}
{"kind":"log","line":"after the end"}`, 3, "", OperationSucceeded},
		{"failure", `{"kind":"operation","operation":{"id":"op1","state":"failed"}}`, 1, "", OperationFailed},
		{"cut between events", `{"kind":"log","line":"one"}` + "\n", 1, CodeUnreachable, ""},
		{"cut in an event", `{"kind":"log","line":"one"}` + "\n" + `{"kind":"oper`, 1, CodeUnreachable, ""},
		{"empty", "", 0, CodeUnreachable, ""},
		{"an event without its operation", `{"kind":"operation"}`, 1, CodeUnreachable, ""},
		{"not JSON", "<html>", 0, CodeUnreachable, ""},
	} {
		seen := 0
		operation, err := answer(t, 200, c.stream).Follow(context.Background(), "op1", func(Event) { seen++ })
		if code(err) != c.code || seen != c.events {
			t.Errorf("%s: %d events, %v", c.name, seen, err)
		}
		if c.state != "" && (operation == nil || operation.State != c.state) {
			t.Errorf("%s ends with %+v", c.name, operation)
		}
		if c.code != "" && !strings.Contains(err.(*Error).Hint, "tvsctl ops op1") {
			t.Errorf("%s does not say how to go on: %+v", c.name, err)
		}
	}
	_, err := answer(t, 404, `{"error":{"code":"unknown-operation","message":"m"}}`).Follow(context.Background(), "x", nil)
	if code(err) != CodeUnknownOperation {
		t.Errorf("an unknown operation: %v", err)
	}
}
