package main

import (
	"context"
	"encoding/json"
	"io"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"tvsctl/ipc"
)

func (a *app) execCommand() *cobra.Command {
	var request ipc.ExecRequest
	cmd := &cobra.Command{
		Use:   "exec [-i] [-t] SERVICE[.N] [--] COMMAND [ARGUMENT...]",
		Short: "Run a command in a running replica (for admins)",
		Long: `Run a command in the running replica with the lowest number, or in the one with number
N. The exit status is the command's: 126 when it cannot be run, 127 when it is not found,
128 and the signal when one ended it. The journal gets who ran what, and how it ended.
When tvsctl goes away the command loses its input, and is hung up.`,
		Example: `  tvsctl exec -it webapp -- sh
  tvsctl exec webapp.2 -- cat /etc/hosts
  tvsctl exec -i storage -- psql <dump.sql`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usagef(cmd, "cannot exec: no service and no command given")
			}
			if len(args) == 1 || len(args) == 2 && args[1] == "--" {
				return usagef(cmd, "cannot exec in %s: no command given", args[0])
			}
			return nil
		},
		ValidArgsFunction: a.completeServices(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var err error
			if request.Service, request.Number, err = replicaArgument(cmd, args[0]); err != nil {
				return err
			}
			if request.Command = args[1:]; args[1] == "--" {
				request.Command = args[2:]
			}
			return a.exec(cmd, request)
		},
	}
	// What follows the service is the command's.
	cmd.Flags().SetInterspersed(false)
	cmd.Flags().BoolVarP(&request.Stdin, "interactive", "i", false, "pass standard input on")
	cmd.Flags().BoolVarP(&request.TTY, "tty", "t", false, "give the command a terminal")
	return cmd
}

// exec runs a command and returns its exit status as an error.
func (a *app) exec(cmd *cobra.Command, request ipc.ExecRequest) error {
	input, isFile := a.stdin.(*os.File)
	terminal := isFile && term.IsTerminal(int(input.Fd()))
	if request.TTY && request.Stdin && !terminal {
		err := usagef(cmd, "cannot exec with a terminal: standard input is none")
		err.Hint = "leave out -t"
		return err
	}
	size := a.stdoutSize
	if terminal {
		size = func() (int, int, bool) { return terminalSize(input) }
	}
	if width, height, ok := size(); request.TTY && ok {
		request.Size = &ipc.Size{Rows: uint16(height), Columns: uint16(width)}
	}
	conn, err := a.client().Exec(cmd.Context(), a.project, request)
	if err != nil {
		return err
	}
	defer conn.Close()
	// Ctrl-C without a terminal, and SIGTERM: the daemon then ends the command.
	defer context.AfterFunc(cmd.Context(), func() { conn.Close() })()
	s := &execStream{conn: conn}
	if request.TTY && request.Stdin {
		before, err := term.MakeRaw(int(input.Fd()))
		if err != nil {
			return failuref("cannot make the terminal raw: %v", err)
		}
		// If it cannot be restored there is nobody to tell.
		defer func() { _ = term.Restore(int(input.Fd()), before) }()
	}
	if request.TTY {
		defer s.followSize(size)()
	}
	if request.Stdin {
		go s.sendInput(a.stdin)
	}
	result, err := s.receive(a.stdout, a.stderr)
	switch {
	case cmd.Context().Err() != nil:
		return cmd.Context().Err()
	case err != nil:
		return &ipc.Error{Code: ipc.CodeUnreachable, Message: "lost the daemon while the command ran: " + err.Error(),
			Hint: "how it ended is in journalctl -u tvsctld"}
	case result.Error != nil:
		return result.Error
	case result.Status != 0:
		return exitStatus(result.Status)
	}
	return nil
}

// execStream is the connection to a command.
type execStream struct {
	mu   sync.Mutex // one frame at a time
	conn io.ReadWriter
}

// send sends a frame. A connection that is lost is seen where it is read.
func (s *execStream) send(kind ipc.FrameKind, payload []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return ipc.WriteFrame(s.conn, kind, payload)
}

func (s *execStream) sendInput(input io.Reader) {
	buffer := make([]byte, 32<<10)
	for {
		n, err := input.Read(buffer)
		if n > 0 && s.send(ipc.FrameInput, buffer[:n]) != nil {
			return
		}
		if err != nil {
			_ = s.send(ipc.FrameInput, nil)
			return
		}
	}
}

// followSize tells the command the terminal's size whenever it changes, until the
// returned function is called.
func (s *execStream) followSize(size func() (width, height int, ok bool)) (stop func()) {
	changes, done := make(chan os.Signal, 1), make(chan struct{})
	signal.Notify(changes, syscall.SIGWINCH)
	go func() {
		for {
			select {
			case <-changes:
			case <-done:
				return
			}
			if width, height, ok := size(); ok {
				if text, err := json.Marshal(ipc.Size{Rows: uint16(height), Columns: uint16(width)}); err == nil {
					_ = s.send(ipc.FrameResize, text)
				}
			}
		}
	}()
	return func() {
		signal.Stop(changes)
		close(done)
	}
}

// receive passes on what the command writes, and returns how it ended.
func (s *execStream) receive(stdout, stderr io.Writer) (result ipc.ExecResult, err error) {
	for {
		kind, payload, err := ipc.ReadFrame(s.conn)
		if err != nil {
			return result, err
		}
		switch kind {
		case ipc.FrameOutput:
			// What cannot be written is said in the end.
			_, _ = stdout.Write(payload)
		case ipc.FrameError:
			_, _ = stderr.Write(payload)
		case ipc.FrameResult:
			return result, json.Unmarshal(payload, &result)
		}
	}
}
