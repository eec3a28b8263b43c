package main

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"tvsctl/ipc"
)

func (a *app) eventsCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "events",
		Short: "Follow what happens: operations, replicas, upstreams",
		Long: `Follow what happens from now on, in all projects or with --project in one: operations and
their steps, replicas that end or fall ill, and what nginx serves. With --json each event
is a line. Commands run by exec, and what was refused, are shown to who may audit them.
What happened before is in journalctl -u tvsctld.`,
		Example: `  tvsctl events
  tvsctl events -p shop --json`,
		Args: arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			project := a.project
			if project == ipc.OnlyProject {
				project = ""
			}
			ctx, stop := context.WithCancel(cmd.Context())
			defer stop()
			err := a.client().Events(ctx, project, func(event ipc.HostEvent) {
				defer func() {
					if a.stdout.err != nil {
						stop() // nobody reads any more
					}
				}()
				if a.json {
					// Only writing can fail, and output remembers that.
					_ = json.NewEncoder(a.stdout).Encode(event)
					return
				}
				of := event.Fields["TVS_PROJECT"]
				if of == "" {
					of = "-"
				}
				fmt.Fprintf(a.out(), "%s %s %s: %s\n", event.Time.Local().Format("15:04:05.000"), clean(of), clean(event.Kind), oneLine(event.Message))
			})
			if a.stdout.err != nil {
				return nil // finish says what there is to say
			}
			return err
		},
	}
}
