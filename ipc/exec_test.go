package ipc

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"
)

func TestFrames(t *testing.T) {
	var wire bytes.Buffer
	long := bytes.Repeat([]byte("x"), MaxFrame)
	for kind, payload := range map[FrameKind][]byte{FrameInput: {}, FrameOutput: []byte("out\x00"), FrameResult: long} {
		if err := WriteFrame(&wire, kind, payload); err != nil {
			t.Fatal(err)
		}
		got, read, err := ReadFrame(&wire)
		if got != kind || !bytes.Equal(read, payload) || err != nil {
			t.Errorf("%d with %d bytes became %d with %d, %v", kind, len(payload), got, len(read), err)
		}
	}
	if err := WriteFrame(&wire, FrameInput, append(long, 'x')); err == nil || wire.Len() > 0 {
		t.Errorf("a frame that is too long: %v, %d bytes", err, wire.Len())
	}
	for text, want := range map[string]string{"": "EOF", "\x01\x00": "unexpected EOF", "\x01\x00\x00\x00\x05": "unexpected EOF", "\x01\x00\x00\x00\x05ab": "unexpected EOF", "\x01\xff\x00\x00\x00": "is too long"} {
		if _, _, err := ReadFrame(strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", text, err)
		}
	}
	// The documented form.
	if err := WriteFrame(&wire, FrameError, []byte("no")); err != nil || wire.String() != "\x02\x00\x00\x00\x02no" {
		t.Errorf("%q, %v", wire.String(), err)
	}
}

func TestExec(t *testing.T) {
	client := NewClient(serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if r.URL.Path != "/v1/projects/tvs/exec" || r.Header.Get("Upgrade") != ExecProtocol || !strings.Contains(string(body), `"command":["sh"]`) {
			t.Errorf("%s %v %s", r.URL, r.Header, body)
		}
		conn, buffered, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: tvs-exec\r\n\r\n")
		io.Copy(conn, buffered) // an echo
	}))
	conn, err := client.Exec(t.Context(), "tvs", ExecRequest{Service: "webapp", Command: []string{"sh"}})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := WriteFrame(conn, FrameInput, []byte("hello")); err != nil {
		t.Fatal(err)
	}
	if kind, payload, err := ReadFrame(conn); kind != FrameInput || string(payload) != "hello" || err != nil {
		t.Errorf("%d %q %v", kind, payload, err)
	}
	if _, err := answer(t, 200, "{}").Exec(t.Context(), "", ExecRequest{}); err == nil || !strings.Contains(err.Error(), "instead of running") {
		t.Errorf("an answer without an upgrade: %v", err)
	}
	refused := answer(t, 403, `{"error":{"code":"forbidden","message":"is for root"}}`)
	if _, err := refused.Exec(t.Context(), "", ExecRequest{}); err == nil || err.Error() != "is for root" {
		t.Errorf("a refusal: %v", err)
	}
}
