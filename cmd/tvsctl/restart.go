package main

import (
	"github.com/spf13/cobra"

	"tvsctl/ipc"
)

func (a *app) restartCommand() *cobra.Command {
	var flags changeFlags
	var request ipc.RestartRequest
	cmd := &cobra.Command{
		Use:   "restart SERVICE",
		Short: "Replace replicas by new ones that are the same",
		Long: `Replace the replicas of a service by new ones that are the same, new ones first, so
that no request is lost: a rollout to what is there already.`,
		Example: `  tvsctl restart webapp
  tvsctl restart webapp --max-surge 2`,
		Args:              arguments(1, 1),
		ValidArgsFunction: a.completeServices(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			service, err := serviceArgument(cmd, args[0])
			if err == nil {
				err = checkSurge(cmd, request.MaxSurge)
			}
			if err != nil {
				return err
			}
			request.Service, request.DryRun = service, flags.dryRun
			return a.change(cmd.Context(), "restart", request, flags)
		},
	}
	addSurge(cmd, &request.MaxSurge)
	flags.add(cmd)
	return cmd
}
