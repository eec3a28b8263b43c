package main

import (
	"github.com/spf13/cobra"

	"tvsctl/ipc"
)

func (a *app) rollbackCommand() *cobra.Command {
	var flags changeFlags
	var request ipc.RollbackRequest
	cmd := &cobra.Command{
		Use:   "rollback SERVICE",
		Short: "Return to what the last rollout replaced",
		Long: `Return a service to the configuration that its last rollout replaced, new replicas
first. A rollout that holds goes back: its old replicas are still there.`,
		Example:           "  tvsctl rollback webapp",
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
			return a.change(cmd.Context(), "rollback", request, flags)
		},
	}
	addSurge(cmd, &request.MaxSurge)
	flags.add(cmd)
	return cmd
}
