package daemon

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"tvsctl/dockerops/enginetest"
	"tvsctl/ipc"
	"tvsctl/policy"
)

// execOn is a stack whose commands answer with their input, and exit with 3.
func execOn(t *testing.T) *stack {
	s := newStack(t)
	nginx := s.OnExec
	s.OnExec = func(c *enginetest.Container, argv []string, input string) (string, int) {
		if c.Labels["com.docker.compose.service"] == "entry" {
			return nginx(c, argv, input)
		}
		return c.Name + " " + strings.Join(argv, " ") + " " + input, 3
	}
	return s
}

// session runs a command and returns what it wrote, and how it ended.
func (s *stack) session(t *testing.T, request ipc.ExecRequest, input string) (output string, result ipc.ExecResult, err error) {
	t.Helper()
	conn, err := s.Exec(t.Context(), "tvs", request)
	if err != nil {
		return "", result, err
	}
	defer conn.Close()
	for _, part := range []string{input, ""} {
		if request.Stdin {
			if err := ipc.WriteFrame(conn, ipc.FrameInput, []byte(part)); err != nil {
				t.Fatal(err)
			}
		}
	}
	var text bytes.Buffer
	for {
		kind, payload, err := ipc.ReadFrame(conn)
		if err != nil {
			t.Fatalf("after %q: %v", text.String(), err)
		}
		if kind == ipc.FrameResult {
			return text.String(), result, json.Unmarshal(payload, &result)
		}
		text.Write(payload)
	}
}

func TestExecSession(t *testing.T) {
	s := execOn(t)
	s.do(t, "scale", scaleRequest(2))
	for _, c := range []struct {
		request ipc.ExecRequest
		input   string
		want    string
	}{
		{ipc.ExecRequest{Service: "webapp", Command: []string{"cat"}, Stdin: true}, "hello", "tvs-webapp-1 cat hello"},
		{ipc.ExecRequest{Service: "webapp", Number: 2, Command: []string{"ls", "-l"}}, "", "tvs-webapp-2 ls -l "},
		{ipc.ExecRequest{Service: "webapp", Command: []string{"sh"}, TTY: true, Stdin: true, Size: &ipc.Size{Rows: 33, Columns: 77}}, "x", "tvs-webapp-1 sh x"},
	} {
		output, result, err := s.session(t, c.request, c.input)
		if err != nil || output != c.want || result.Status != 3 || result.Error != nil {
			t.Errorf("%+v: %q, %+v, %v", c.request, output, result, err)
		}
	}
	// The first that runs.
	s.Update("tvs-webapp-1", "die", func(c *enginetest.Container) { c.State = "exited" })
	if output, _, err := s.session(t, ipc.ExecRequest{Service: "webapp", Command: []string{"ls"}}, ""); err != nil || output != "tvs-webapp-2 ls " {
		t.Errorf("%q, %v", output, err)
	}
	for _, want := range []string{`runs "ls" "-l" in tvs-webapp-2.`, `with exit status 3: "ls" "-l" in tvs-webapp-2.`, "TVS_EXIT_STATUS=3", `TVS_COMMAND="cat"`} {
		if journal := s.journal.String(); !strings.Contains(journal, want) {
			t.Errorf("the journal is\n%s\nwithout %s", journal, want)
		}
	}
}

// A command that Docker does not begin is on record once, as one that was allowed and failed.
func TestExecThatFailsIsRecordedOnce(t *testing.T) {
	s := execOn(t)
	s.Fail("exec tvs-webapp-1", 500, "no room")
	entries, stop := s.d.log.follow()
	if _, _, err := s.session(t, ipc.ExecRequest{Service: "webapp", Command: []string{"ls"}}, ""); err == nil || !strings.Contains(err.Error(), "no room") {
		t.Fatal(err)
	}
	stop()
	var told []string
	for e := range entries {
		if e.Fields["TVS_VERB"] == "exec" {
			told = append(told, e.Kind+" "+e.Fields["TVS_DECISION"]+" "+e.Fields["TVS_ERROR"])
		}
	}
	if !slices.Equal(told, []string{"exec allow ", "exec  internal"}) {
		t.Errorf("%q", told)
	}
}

func TestExecRefuses(t *testing.T) {
	s := execOn(t)
	s.Add("idle", 1, func(c *enginetest.Container) { c.State = "exited" })
	for _, c := range []struct {
		request ipc.ExecRequest
		code    ipc.Code
	}{
		{ipc.ExecRequest{Command: []string{"sh"}}, ipc.CodeServiceRequired},
		{ipc.ExecRequest{Service: "webapp"}, ipc.CodeBadRequest},
		{ipc.ExecRequest{Service: "webapp", Command: []string{""}}, ipc.CodeBadRequest},
		{ipc.ExecRequest{Service: "nothing", Command: []string{"sh"}}, ipc.CodeUnknownService},
		{ipc.ExecRequest{Service: "webapp", Number: 9, Command: []string{"sh"}}, ipc.CodeUnknownService},
		{ipc.ExecRequest{Service: "idle", Command: []string{"sh"}}, ipc.CodeConflict},
	} {
		if _, _, err := s.session(t, c.request, ""); err == nil || describeError(err).Code != c.code {
			t.Errorf("%+v: %v", c.request, err)
		}
	}
	plain := ipc.ExecRequest{Service: "webapp", Command: []string{"sh"}}
	if err := s.Post(t.Context(), "/projects/tvs/exec", plain, nil); err == nil || describeError(err).Code != ipc.CodeBadRequest {
		t.Errorf("a request that does not upgrade: %v", err)
	}
	for _, r := range routes {
		if strings.HasSuffix(r.path, "/exec") && (r.access != access{partly, policy.Exec} || r.method != http.MethodPost) {
			t.Errorf("%+v", r)
		}
	}
}

// A client that goes away ends the input of its command; while it stays the daemon does
// not end for want of work, and serves others.
func TestExecSessionHolds(t *testing.T) {
	s := execOn(t)
	ended := make(chan string, 1)
	answer := s.OnExec
	s.OnExec = func(c *enginetest.Container, argv []string, input string) (string, int) {
		if argv[0] == "wait" {
			ended <- input
		}
		return answer(c, argv, input)
	}
	conn, err := s.Exec(t.Context(), "tvs", ipc.ExecRequest{Service: "webapp", Command: []string{"wait"}, Stdin: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := ipc.WriteFrame(conn, ipc.FrameInput, []byte("half")); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for !s.d.operating() { // as soon as it is upgraded
		if ctx.Err() != nil {
			t.Fatal("the session does not hold the daemon")
		}
		time.Sleep(time.Millisecond)
	}
	if s.d.activity.quiet() {
		t.Error("with a session the daemon is idle")
	}
	s.status(t)
	conn.Close()
	select {
	case input := <-ended:
		if input != "half" {
			t.Errorf("the command got %q", input)
		}
	case <-ctx.Done():
		t.Fatal("the command still has its input")
	}
	for s.d.operating() {
		if ctx.Err() != nil {
			t.Fatal("the session goes on")
		}
		time.Sleep(time.Millisecond)
	}
}

// A daemon that is told to end tells the clients of its sessions.
func TestExecSessionEndsWithTheDaemon(t *testing.T) {
	var conn io.ReadWriteCloser
	t.Run("daemon", func(inner *testing.T) { // which ends with this
		s, err := execOn(inner), error(nil)
		if conn, err = s.Exec(t.Context(), "tvs", ipc.ExecRequest{Service: "webapp", Command: []string{"wait"}, Stdin: true}); err != nil {
			t.Fatal(err)
		}
	})
	defer conn.Close()
	kind, payload, err := ipc.ReadFrame(conn)
	if err != nil || kind != ipc.FrameResult || !strings.Contains(string(payload), "tvsctld ends, and the session with it") {
		t.Errorf("%d %s %v", kind, payload, err)
	}
	if _, _, err := ipc.ReadFrame(conn); err != io.EOF {
		t.Errorf("then %v", err)
	}
}

// A command that ends by itself when its client goes away was not hung up.
func TestExecEndsWithItsInput(t *testing.T) {
	s := execOn(t)
	conn, err := s.Exec(t.Context(), "tvs", ipc.ExecRequest{Service: "webapp", Command: []string{"cat"}, Stdin: true})
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	until(t, "its end is on record", func() bool { return strings.Contains(s.journal.String(), "TVS_DURATION_MS") })
	if journal := s.journal.String(); !strings.Contains(journal, `with exit status 3: "cat" in tvs-webapp-1.`) || strings.Contains(journal, "was hung up") {
		t.Errorf("the journal is\n%s", journal)
	}
}

// A client that does not read keeps neither the daemon from ending nor the end of its
// command from being seen to.
func TestExecEndsWithoutAReader(t *testing.T) {
	var journal *journalBuffer
	t.Run("daemon", func(inner *testing.T) { // which ends with this
		s := execOn(inner)
		journal = s.journal
		answer := s.OnExec
		s.OnExec = func(c *enginetest.Container, argv []string, input string) (string, int) {
			output, status := answer(c, argv, input)
			if argv[0] == "yes" {
				output = strings.Repeat("x", 8<<20)
			}
			return output, status
		}
		conn, err := s.Exec(t.Context(), "tvs", ipc.ExecRequest{Service: "webapp", Command: []string{"yes"}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() }) // after the daemon's end
		if kind, _, err := ipc.ReadFrame(conn); err != nil || kind != ipc.FrameOutput {
			t.Fatalf("%d, %v", kind, err)
		}
	})
	if text := journal.String(); !strings.Contains(text, `with exit status 3: "yes" in tvs-webapp-1.`) {
		t.Errorf("the journal is\n%s", text)
	}
}
