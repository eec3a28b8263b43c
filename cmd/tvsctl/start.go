package main

import (
	"github.com/spf13/cobra"

	"tvsctl/ipc"
)

func (a *app) startCommand() *cobra.Command {
	var flags changeFlags
	cmd := &cobra.Command{
		Use:   "start",
		Short: "Start the desired replicas and what they depend on",
		Long: `Start the desired replicas and what they depend on, and put them into nginx as
they become ready.`,
		Example: `  tvsctl start
  tvsctl start --dry-run`,
		Args: arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.change(cmd.Context(), "start", ipc.StartRequest{DryRun: flags.dryRun}, flags)
		},
	}
	flags.add(cmd)
	return cmd
}
