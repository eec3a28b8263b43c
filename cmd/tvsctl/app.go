package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"tvsctl/ipc"
)

// app is what one invocation of tvsctl knows.
type app struct {
	stdin  io.Reader
	stdout *output
	stderr io.Writer
	env    func(string) string

	project string
	socket  string
	json    bool
	quiet   bool

	now    func() time.Time
	ticker func(time.Duration) (<-chan time.Time, func())
	// stdoutSize and stderrSize return the columns and rows of the terminal
	// that each is, or false.
	stdoutSize, stderrSize func() (width, height int, ok bool)
}

// run executes one command line and returns the exit status.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer, env func(string) string) int {
	return newApp(stdin, stdout, stderr, env).run(ctx, args)
}

func newApp(stdin io.Reader, stdout, stderr io.Writer, env func(string) string) *app {
	return &app{
		stdin: stdin, stdout: &output{w: stdout}, stderr: stderr, env: env,
		now: time.Now,
		ticker: func(d time.Duration) (<-chan time.Time, func()) {
			t := time.NewTicker(d)
			return t.C, t.Stop
		},
		stdoutSize: func() (int, int, bool) { return terminalSize(stdout) },
		stderrSize: func() (int, int, bool) { return terminalSize(stderr) },
	}
}

func (a *app) run(ctx context.Context, args []string) int {
	root := a.root()
	root.SetArgs(append([]string{}, args...)) // cobra takes nil for os.Args
	root.SetIn(a.stdin)
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	err := root.ExecuteContext(ctx)
	if wantsJSON(root, args) {
		a.json = true // also where parsing ended before it
	}
	return a.finish(ctx, err)
}

// wantsJSON reports whether --json is among the arguments that are ours: what follows --,
// or the service of exec, is not.
func wantsJSON(root *cobra.Command, args []string) bool {
	cmd, words, err := root.Find(args)
	if err != nil {
		words = args
	}
	for _, word := range words {
		switch {
		case word == "--json":
			return true
		case word == "--", cmd.Name() == "exec" && !strings.HasPrefix(word, "-"):
			return false
		}
	}
	return false
}

// exitStatus is the error of a command that has said everything and only
// wants a status.
type exitStatus int

func (s exitStatus) Error() string { return fmt.Sprintf("exit status %d", int(s)) }

// finish reports err and returns the exit status for it.
func (a *app) finish(ctx context.Context, err error) int {
	if lost := a.stdout.err; lost != nil && (err == nil || errors.As(err, new(exitStatus))) {
		if errors.Is(lost, syscall.EPIPE) {
			return ipc.ExitFailure // the reader has gone: nobody wants to hear of it
		}
		err = failuref("cannot write the output: %v", lost)
	}
	var status exitStatus
	var stopped interrupt
	var refusal *ipc.Error
	switch {
	case err == nil:
		return ipc.ExitOK
	case errors.As(err, &status):
		return int(status)
	case errors.Is(err, context.Canceled) && errors.As(context.Cause(ctx), &stopped):
		return 128 + int(stopped.signal)
	case !errors.As(err, &refusal):
		refusal = failuref("%v", err)
	}
	if a.json {
		writeJSON(a.stderr, ipc.ErrorReply{Error: refusal})
	} else {
		fmt.Fprintf(a.stderr, "tvsctl: %s\n", oneLine(refusal.Message))
		writeDetail(a.stderr, refusal)
	}
	return refusal.Code.ExitStatus()
}

func writeDetail(w io.Writer, refusal *ipc.Error) {
	for _, line := range refusal.Detail {
		fmt.Fprintf(w, "  %s\n", clean(line))
	}
	if refusal.Hint != "" {
		fmt.Fprintf(w, "  → %s\n", oneLine(refusal.Hint))
	}
}

// failuref makes the error of something that failed here, not in the daemon.
func failuref(format string, args ...any) *ipc.Error {
	return &ipc.Error{Code: ipc.CodeInternal, Message: fmt.Sprintf(format, args...)}
}

// usagef makes the error of a command line that cannot be understood.
func usagef(cmd *cobra.Command, format string, args ...any) *ipc.Error {
	return &ipc.Error{Code: ipc.CodeBadRequest, Message: fmt.Sprintf(format, args...),
		Hint: "see " + cmd.CommandPath() + " --help"}
}

func (a *app) client() *ipc.Client { return ipc.NewClient(a.socket) }

// out is where what a person reads goes: nowhere with --quiet.
func (a *app) out() io.Writer {
	if a.quiet {
		return io.Discard
	}
	return a.stdout
}

// show prints v with --json, else calls text.
func (a *app) show(v any, text func(io.Writer)) {
	if a.json {
		writeJSON(a.stdout, v)
		return
	}
	text(a.out())
}

func (a *app) colour() bool {
	_, _, terminal := a.stdoutSize()
	return terminal && a.env("NO_COLOR") == "" && a.env("TERM") != "dumb"
}

func writeJSON(w io.Writer, v any) {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	// Only writing can fail, and output remembers that.
	_ = encoder.Encode(v)
}

// output remembers the first error, so that no print has to look at its own.
type output struct {
	w   io.Writer
	err error
}

func (o *output) Write(p []byte) (int, error) {
	if o.err != nil {
		return 0, o.err
	}
	n, err := o.w.Write(p)
	o.err = err
	return n, err
}

// oneLine makes a message from elsewhere fit the one line that it gets.
func oneLine(s string) string { return clean(strings.Join(strings.Fields(s), " ")) }

// clean replaces what would make a terminal do something: the text of a
// container's log is anybody's.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if r != '\t' && (r < ' ' || r >= 0x7f && r < 0xa0) {
			return '?'
		}
		return r
	}, s)
}
