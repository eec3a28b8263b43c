// Command tvsctl is the command line of tvsctld. It understands what is asked,
// sends it over the daemon's socket, shows how it goes and exits with a status
// from the table in package ipc; whatever needs a decision is decided by the daemon.
//
// main.go and app.go hold what all commands share, follow.go what all changes
// share; otherwise a file holds one command and has its name.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := withSignals(context.Background())
	status := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr, os.Getenv)
	stop()
	os.Exit(status)
}

// interrupt is the cause of a context that a signal cancelled.
type interrupt struct{ signal syscall.Signal }

func (i interrupt) Error() string { return i.signal.String() }

// withSignals is signal.NotifyContext with a cause that says which signal it
// was, as the exit status needs to know.
func withSignals(parent context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(parent)
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	go func() {
		select {
		case got := <-signals:
			signal.Stop(signals) // a second Ctrl-C ends the process at once
			cancel(interrupt{got.(syscall.Signal)})
		case <-ctx.Done():
		}
	}()
	return ctx, func() {
		signal.Stop(signals)
		cancel(nil)
	}
}
