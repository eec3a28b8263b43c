package daemon

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"tvsctl/dockerops"
	"tvsctl/fault"
	"tvsctl/ipc"
	"tvsctl/policy"
)

// hangupAfter is how long a command that lost its client may take to end by itself, when
// its input has.
const hangupAfter = time.Second

// postExec runs a command in a replica and makes the connection its standard streams.
func postExec(d *Daemon, r *http.Request) (any, error) {
	var request ipc.ExecRequest
	if err := read(r, &request); err != nil {
		return nil, err
	}
	switch {
	case request.Service == "":
		return nil, &ipc.Error{Code: ipc.CodeServiceRequired, Message: "cannot run a command: no service is named"}
	case len(request.Command) == 0 || request.Command[0] == "":
		return nil, badRequest("cannot run a command in %s: none is given", request.Service)
	case !strings.EqualFold(r.Header.Get("Upgrade"), ipc.ExecProtocol):
		return nil, badRequest("cannot run a command in %s: the connection must be upgraded to %s", request.Service, ipc.ExecProtocol)
	}
	name, err := d.projectOf(r)
	if err != nil {
		return nil, err
	}
	q := policy.Request{Verb: policy.Exec, Target: policy.Target{Project: name, Service: request.Service}}
	if err := d.permit(r.Context(), q); err != nil {
		return nil, err
	}
	_, replicas, err := d.replicas(r.Context(), name, "exec", request.Service, request.Number)
	if err != nil {
		return nil, err
	}
	at := max(0, slices.IndexFunc(replicas, func(r dockerops.Replica) bool { return r.Running() }))
	replica := replicas[at]
	if !replica.Running() {
		return nil, &ipc.Error{Code: ipc.CodeConflict, Message: fmt.Sprintf("cannot run a command in %s: it does not run (%s)", replica.Name, replica.State),
			Hint: "see tvsctl status " + request.Service}
	}
	options := dockerops.SessionOptions{Command: request.Command, Stdin: request.Stdin, TTY: request.TTY}
	if request.Size != nil {
		options.Rows, options.Columns = uint(request.Size.Rows), uint(request.Size.Columns)
	}
	who, _ := peerOf(r.Context())
	s := &session{d: d, container: replica.ID, begun: time.Now(), fields: d.auditFields(who, q),
		text: fmt.Sprintf("%s in %s", quoted(request.Command), replica.Name)}
	audit, _, _ := asked(r.Context())
	maps.Copy(s.fields, audit)
	maps.Copy(s.fields, fields{"TVS_SESSION": newID(), "TVS_SERVICE": request.Service, "TVS_REPLICA": replica.Name, "TVS_COMMAND": quoted(request.Command)})
	// Before it runs: what cannot be written down does not happen unseen.
	d.log.notice(eventExecBegun, fmt.Sprintf("%s runs %s.", who.name(), s.text), s.fields)
	setRecorded(r.Context())
	delete(s.fields, "TVS_DECISION") // that is told once
	if s.command, err = d.engine.OpenSession(r.Context(), replica.ID, options); err != nil {
		s.log(0, err)
		return nil, err
	}
	return stream(s.serve), nil
}

// quoted writes a command so that its arguments can be told apart.
func quoted(command []string) string {
	var words []string
	for _, word := range command {
		words = append(words, strconv.Quote(word))
	}
	return strings.Join(words, " ")
}

// session is a command that runs in a replica for a client.
type session struct {
	d         *Daemon
	container string
	command   *dockerops.Session
	begun     time.Time
	fields    fields
	text      string // what runs where, for the journal

	mu sync.Mutex // one frame at a time
	w  io.Writer
}

// serve carries frames between client and command until the command has ended, or the
// client has gone, or the daemon ends.
func (s *session) serve(w http.ResponseWriter, _ *http.Request) {
	defer s.command.Close()
	defer s.d.hold()()
	conn, buffered, err := http.NewResponseController(w).Hijack()
	if err == nil {
		defer conn.Close()
		err = upgrade(conn)
	}
	if err != nil {
		s.hangUp("the client has gone")
		return
	}
	s.w = conn
	stopping, served := s.d.untilStopping(context.Background())
	defer served()
	// A client that does not read keeps no command from being hung up.
	defer context.AfterFunc(stopping, func() { _ = conn.SetWriteDeadline(time.Now().Add(time.Second)) })()
	gone, ended := make(chan struct{}), make(chan error, 1)
	leave := sync.OnceFunc(func() { close(gone) })
	go func() {
		defer leave()
		s.listen(buffered)
	}()
	defer watchPeer(conn, leave)()
	go func() { ended <- s.command.Copy(frames{s, ipc.FrameOutput}, frames{s, ipc.FrameError}) }()
	select {
	case err = <-ended:
	case <-gone:
		s.hangUp("the client has gone")
		return
	case <-s.d.stopping:
		s.result(ipc.ExecResult{Error: &ipc.Error{Code: ipc.CodeUnreachable, Message: "tvsctld ends, and the session with it", Hint: "the command was hung up"}})
		s.hangUp("tvsctld ends")
		return
	}
	// A command may close its output and go on.
	ctx, cancel := context.WithCancel(s.d.life)
	defer cancel()
	go func() {
		defer cancel()
		select {
		case <-gone:
		case <-s.d.stopping:
		case <-ctx.Done():
		}
	}()
	status, statusErr := s.command.Status(ctx)
	switch {
	case ctx.Err() != nil:
		s.hangUp("the client has gone")
		return
	case statusErr != nil:
		err = statusErr
	case err != nil:
		err = fmt.Errorf("%w: %v", dockerops.ErrUnavailable, err)
	}
	s.log(status, err)
	result := ipc.ExecResult{Status: status}
	if err != nil {
		result.Error = describeError(err)
	}
	s.result(result)
}

// upgrade makes the connection one of frames. It may stay as it is for as long as it
// likes.
func upgrade(conn net.Conn) error {
	if err := conn.SetDeadline(time.Time{}); err != nil {
		return err
	}
	_, err := fmt.Fprintf(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: %s\r\n\r\n", ipc.ExecProtocol)
	return err
}

// peerLook is how often it is asked whether the client is still there.
const peerLook = time.Second

// watchPeer calls left when the other end of a connection is closed, also while what it
// sent before waits to be read: a command need not read its input. The returned function
// ends that.
func watchPeer(conn net.Conn, left func()) (stop func()) {
	done := make(chan struct{})
	go func() {
		ticker := time.NewTicker(peerLook)
		defer ticker.Stop()
		for {
			select {
			case <-ticker.C:
				if closed(conn) {
					left()
					return
				}
			case <-done:
				return
			}
		}
	}()
	return func() { close(done) }
}

func closed(conn net.Conn) bool {
	socket, ok := conn.(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return true
	}
	poll := []unix.PollFd{{Events: unix.POLLRDHUP}}
	err = raw.Control(func(fd uintptr) {
		poll[0].Fd = int32(fd)
		// Interrupted it is asked again the next time.
		_, _ = unix.Poll(poll, 0)
	})
	return err != nil || poll[0].Revents != 0
}

// listen carries out what the client sends, until it has gone.
func (s *session) listen(r io.Reader) {
	for {
		kind, payload, err := ipc.ReadFrame(r)
		if err != nil {
			return
		}
		switch kind {
		case ipc.FrameInput:
			// A command that has ended, or does not read, is seen by its output's end.
			if len(payload) > 0 {
				_, _ = s.command.Write(payload)
			} else {
				_ = s.command.CloseWrite()
			}
		case ipc.FrameResize:
			var size ipc.Size
			if json.Unmarshal(payload, &size) == nil && size.Rows > 0 && size.Columns > 0 {
				// The next change of size tries again.
				_ = s.command.Resize(s.d.life, uint(size.Rows), uint(size.Columns))
			}
		default:
			return // no client of ours
		}
	}
}

// frames writes frames of a kind.
type frames struct {
	s    *session
	kind ipc.FrameKind
}

func (f frames) Write(p []byte) (int, error) {
	f.s.mu.Lock()
	defer f.s.mu.Unlock()
	for part := range slices.Chunk(p, ipc.MaxFrame) {
		if err := ipc.WriteFrame(f.s.w, f.kind, part); err != nil {
			f.s.w = io.Discard // what follows half a frame would be taken for its rest
			return 0, err
		}
	}
	return len(p), nil
}

func (s *session) result(result ipc.ExecResult) {
	text, err := json.Marshal(result)
	if err != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	// A client that has gone needs no answer.
	_ = ipc.WriteFrame(s.w, ipc.FrameResult, text)
	s.w = io.Discard // it is the last one
}

// log writes down how the command ended.
func (s *session) log(status int, err error) {
	took := time.Since(s.begun)
	s.fields["TVS_DURATION_MS"] = strconv.FormatInt(took.Milliseconds(), 10)
	if err != nil {
		s.fields["TVS_ERROR"] = string(describeError(err).Code)
		s.d.log.warning(eventExecEnded, fmt.Sprintf("Lost after %s: %s: %v.", seconds(took), s.text, err), s.fields)
		return
	}
	s.fields["TVS_EXIT_STATUS"] = strconv.Itoa(status)
	s.d.log.notice(eventExecEnded, fmt.Sprintf("Ended after %s with exit status %d: %s.", seconds(took), status, s.text), s.fields)
}

// hangUp ends a command that has lost its client, as a terminal does that goes away: its
// input ends, and if it goes on it gets SIGHUP, from the root unit.
func (s *session) hangUp(why string) {
	_ = s.command.CloseWrite() // it may have ended
	ctx, cancel := context.WithTimeout(context.Background(), hangupAfter)
	status, err := s.command.Status(ctx)
	over := err == nil || ctx.Err() == nil
	cancel()
	if over {
		s.log(status, err)
		return
	}
	ctx, cancel = context.WithTimeout(context.Background(), requestDeadline)
	defer cancel()
	pid, err := s.command.Process(ctx)
	if err == nil && pid > 0 {
		err = fault.Do("exec hangup", func() error {
			_, err := s.d.units.Run(ctx, fmt.Sprintf("tvsctld-hangup@%s-%d.service", s.container, pid))
			return err
		})
	}
	if err != nil {
		s.log(0, &ipc.Error{Code: ipc.CodeCanceled, Message: fmt.Sprintf("%s, and the command may go on: %v", why, lookHint(err))})
		return
	}
	s.log(0, &ipc.Error{Code: ipc.CodeCanceled, Message: why + "; the command was hung up"})
}

// hold lets a daemon that is about to end for want of work serve others again, as long as
// a session lasts or a client follows something: until the returned function is called.
func (d *Daemon) hold() (release func()) {
	d.mu.Lock()
	d.sessions++
	d.mu.Unlock()
	select {
	case d.began <- struct{}{}:
	default:
	}
	return func() {
		d.mu.Lock()
		d.sessions--
		d.mu.Unlock()
	}
}
