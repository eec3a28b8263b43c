package main

import (
	"context"
	"fmt"
	"io"
	"runtime/debug"
	"time"

	"github.com/spf13/cobra"

	"tvsctl/ipc"
)

// version can be set by -ldflags "-X main.version=…".
var version string

// program is a version of tvsctl.
type program struct {
	Version string `json:"version"`
	Commit  string `json:"commit,omitempty"`
	Go      string `json:"go"`
}

func (p program) String() string {
	if p.Commit == "" {
		return fmt.Sprintf("%s (%s)", p.Version, p.Go)
	}
	return fmt.Sprintf("%s (commit %s, %s)", p.Version, p.Commit, p.Go)
}

func clientVersion() program {
	p := program{Version: version}
	if info, ok := debug.ReadBuildInfo(); ok {
		p.Go = info.GoVersion
		if p.Version == "" {
			p.Version = info.Main.Version
		}
		for _, setting := range info.Settings {
			if setting.Key == "vcs.revision" {
				p.Commit = setting.Value[:min(len(setting.Value), 12)]
			}
		}
	}
	if p.Version == "" {
		p.Version = "(devel)"
	}
	return p
}

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		Short:   "Show the versions of tvsctl, tvsctld and Docker",
		Example: "  tvsctl version",
		Args:    arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := context.WithTimeout(cmd.Context(), 5*time.Second)
			defer cancel()
			var reply struct {
				Client program      `json:"client"`
				Daemon *ipc.Version `json:"daemon,omitempty"`
				Error  string       `json:"error,omitempty"`
			}
			reply.Client = clientVersion()
			var daemon ipc.Version
			err := a.client().Get(ctx, "/version", &daemon)
			if cmd.Context().Err() != nil {
				return cmd.Context().Err()
			}
			if err != nil {
				reply.Error = err.Error()
			} else {
				reply.Daemon = &daemon
			}
			a.show(reply, func(w io.Writer) {
				fmt.Fprintln(w, "tvsctl: "+reply.Client.String())
				if reply.Daemon == nil {
					fmt.Fprintln(w, "tvsctld: not reachable: "+oneLine(reply.Error))
					return
				}
				fmt.Fprintln(w, "tvsctld: "+program{daemon.Version, daemon.Commit, daemon.Go}.String())
				if daemon.Engine == "" {
					fmt.Fprintln(w, "docker: not reachable")
					return
				}
				fmt.Fprintf(w, "docker: %s (API %s)\n", daemon.Engine, daemon.EngineAPI)
			})
			return nil
		},
	}
}
