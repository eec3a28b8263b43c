package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"

	"tvsctl/ipc"
)

// runs answers an exec: with its input on standard output, a line on standard error, and
// the result.
func runs(result ipc.ExecResult) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, _ *http.Request) {
		conn, buffered, err := w.(http.Hijacker).Hijack()
		if err != nil {
			return
		}
		defer conn.Close()
		io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: tvs-exec\r\n\r\n")
		for {
			kind, payload, err := ipc.ReadFrame(buffered)
			if err != nil {
				return // the client has gone
			}
			if kind == ipc.FrameInput && len(payload) == 0 {
				break
			}
			ipc.WriteFrame(conn, ipc.FrameOutput, payload)
		}
		ipc.WriteFrame(conn, ipc.FrameError, []byte("a line\n"))
		if text, err := json.Marshal(result); err == nil && result.Status >= 0 {
			ipc.WriteFrame(conn, ipc.FrameResult, text)
		}
	}
}

// exec runs one command line with the given input.
func (f *fake) exec(ctx context.Context, input io.Reader, args ...string) result {
	var out, errs bytes.Buffer
	status := run(ctx, append([]string{"exec"}, args...), input, &out, &errs, func(name string) string {
		return map[string]string{"TVS_SOCKET": f.socket}[name]
	})
	return result{status, out.String(), errs.String()}
}

func TestExec(t *testing.T) {
	for _, c := range []struct {
		args   string
		result ipc.ExecResult
		status int
		asks   string
	}{
		{"-i webapp -- cat -n", ipc.ExecResult{}, 0, `{"service":"webapp","command":["cat","-n"],"stdin":true}`},
		{"-i webapp.2 cat", ipc.ExecResult{Status: 3}, 3, `{"service":"webapp","number":2,"command":["cat"],"stdin":true}`},
		{"--interactive webapp sh -c -- x", ipc.ExecResult{Status: 137}, 137, `{"service":"webapp","command":["sh","-c","--","x"],"stdin":true}`},
		{"-i my.web -- --json", ipc.ExecResult{Status: 127}, 127, `{"service":"my.web","command":["--json"],"stdin":true}`},
	} {
		daemon := newFake(t, map[string]any{"POST /projects/-/exec": runs(c.result)})
		got := daemon.exec(t.Context(), strings.NewReader("hello\n"), strings.Fields(c.args)...)
		if got != (result{c.status, "hello\n", "a line\n"}) {
			t.Errorf("%s: %+v", c.args, got)
		}
		if asked := daemon.asked(); len(asked) != 1 || asked[0] != "POST /projects/-/exec "+c.asks {
			t.Errorf("%s asks %q", c.args, asked)
		}
	}
	lost := newFake(t, map[string]any{"POST /projects/-/exec": runs(ipc.ExecResult{Status: -1})})
	if got := lost.exec(t.Context(), strings.NewReader(""), "-i", "webapp", "cat"); got.status != ipc.ExitUnreachable || !strings.Contains(got.err, "lost the daemon while the command ran") {
		t.Errorf("%+v", got)
	}
	failed := newFake(t, map[string]any{"POST /projects/-/exec": runs(ipc.ExecResult{Error: &ipc.Error{Code: ipc.CodeDocker, Message: "it is away"}})})
	if got := failed.exec(t.Context(), strings.NewReader(""), "-i", "webapp", "cat"); got.status != ipc.ExitDocker || got.err != "a line\ntvsctl: it is away\n" {
		t.Errorf("%+v", got)
	}
}

func TestExecUsage(t *testing.T) {
	daemon := newFake(t, nil)
	for args, want := range map[string]string{
		"":                "cannot exec: no service and no command given",
		"webapp":          "cannot exec in webapp: no command given",
		"webapp --":       "cannot exec in webapp: no command given",
		"webapp.0 sh":     "cannot exec webapp.0: 0 is not the number of a replica",
		".1 sh":           "cannot run exec: the name of the service is empty",
		"-it webapp sh":   "cannot exec with a terminal: standard input is none",
		"--nonsense x sh": "cannot run exec: unknown flag: --nonsense",
	} {
		if got := daemon.exec(t.Context(), strings.NewReader(""), strings.Fields(args)...); got.status != ipc.ExitUsage || !strings.HasPrefix(got.err, "tvsctl: "+want+"\n  → ") {
			t.Errorf("%q: %+v", args, got)
		}
	}
	if asked := daemon.asked(); len(asked) > 0 {
		t.Errorf("the daemon was asked %q", asked)
	}
}

// The --json of the command that runs is not tvsctl's.
func TestExecErrorsAsJSON(t *testing.T) {
	daemon := newFake(t, map[string]any{"POST /projects/-/exec": runs(ipc.ExecResult{Status: -1})})
	for args, want := range map[string]bool{
		"-i webapp -- app --json": false, "-i webapp app --json": false, "--json -i webapp -- app": true,
		"--nonsense webapp app --json": false, "--nonsense -- app --json": false, "--nonsense --json webapp app": true,
	} {
		got := daemon.exec(t.Context(), strings.NewReader(""), strings.Fields(args)...)
		text := strings.TrimPrefix(got.err, "a line\n")
		if json.Valid([]byte(text)) != want || !strings.Contains(text, "lost the daemon") && !strings.Contains(text, "unknown flag") {
			t.Errorf("%q: %+v", args, got)
		}
	}
	if got := newFake(t, nil).tvsctl("status", "webapp", "--fast", "--", "--json"); json.Valid([]byte(got.err)) {
		t.Errorf("behind --: %+v", got)
	}
}

// A signal ends the session, with the status of the signal.
func TestExecInterrupted(t *testing.T) {
	begun := make(chan struct{})
	daemon := newFake(t, map[string]any{"POST /projects/-/exec": func(w http.ResponseWriter, r *http.Request) {
		close(begun)
		runs(ipc.ExecResult{})(w, r)
	}})
	ctx, cancel := context.WithCancelCause(t.Context())
	go func() {
		<-begun
		cancel(interrupt{syscall.SIGTERM})
	}()
	// Input that never ends.
	if got := daemon.exec(ctx, silence{ctx}, "-i", "webapp", "cat"); got.status != 128+15 {
		t.Errorf("%+v", got)
	}
}

type silence struct{ ctx context.Context }

func (s silence) Read([]byte) (int, error) {
	<-s.ctx.Done()
	return 0, errors.New("interrupted")
}
