package main

import (
	"github.com/spf13/cobra"

	"tvsctl/ipc"
)

func (a *app) stopCommand() *cobra.Command {
	var flags changeFlags
	var dependencies bool
	cmd := &cobra.Command{
		Use:   "stop [--db]",
		Short: "Take the site out of nginx and stop its replicas",
		Long: `Take the site out of nginx, let its requests end and stop the replicas. What they
depend on goes on, unless --db is given. The containers stay; start starts them.`,
		Example: `  tvsctl stop
  tvsctl stop --db`,
		Args: arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			request := ipc.StopRequest{Dependencies: dependencies, DryRun: flags.dryRun}
			return a.change(cmd.Context(), "stop", request, flags)
		},
	}
	cmd.Flags().BoolVar(&dependencies, "db", false, "also stop what the replicas depend on")
	flags.add(cmd)
	return cmd
}
