package main

import (
	"github.com/spf13/cobra"

	"tvsctl/ipc"
)

func (a *app) rolloutCommand() *cobra.Command {
	var flags changeFlags
	var request ipc.RolloutRequest
	cmd := &cobra.Command{
		Use:   "rollout SERVICE",
		Short: "Replace replicas by ones of another image or of the changed compose file",
		Long: `Replace the replicas of a service, new ones first: each becomes ready, joins nginx and
must run for a while (label tvs.rollout.settle, 10 s) before an old one leaves nginx,
finishes its requests and is stopped. When a new one fails, the old ones come back.

Without --image the new replicas are what the compose file, and the tag in it, mean now.
With --pause-after it holds there: look at the new ones, then tvsctl rollout continue,
or tvsctl rollback.`,
		Example: `  tvsctl rollout webapp
  tvsctl rollout webapp --image shop/webapp:2
  tvsctl rollout webapp --image shop/webapp:2 --pause-after 1
  tvsctl rollout continue webapp`,
		Args:              arguments(1, 1),
		ValidArgsFunction: a.completeServices(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if cmd.Flags().Changed("image") && request.Image == "" {
				return usagef(cmd, "cannot roll out %s: the name of the image is empty", args[0])
			}
			if cmd.Flags().Changed("pause-after") && request.PauseAfter < 1 {
				return usagef(cmd, "cannot roll out %s: it can pause after 1 or more replicas", args[0])
			}
			service, err := serviceArgument(cmd, args[0])
			if err == nil {
				err = checkSurge(cmd, request.MaxSurge)
			}
			if err != nil {
				return err
			}
			request.Service = service
			request.DryRun = flags.dryRun
			return a.change(cmd.Context(), "rollout", request, flags)
		},
	}
	cmd.Flags().StringVar(&request.Image, "image", "", "the `IMAGE` of the new replicas; it is pulled if this host does not have it")
	cmd.Flags().IntVar(&request.PauseAfter, "pause-after", 0, "hold after `N` new replicas")
	addSurge(cmd, &request.MaxSurge)
	flags.add(cmd)
	cmd.AddCommand(a.continueCommand())
	return cmd
}

func (a *app) continueCommand() *cobra.Command {
	var flags changeFlags
	cmd := &cobra.Command{
		Use:               "continue SERVICE",
		Short:             "Let a rollout that holds go on",
		Example:           "  tvsctl rollout continue webapp",
		Args:              arguments(1, 1),
		ValidArgsFunction: a.completeServices(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			service, err := serviceArgument(cmd, args[0])
			if err != nil {
				return err
			}
			return a.change(cmd.Context(), "rollout/continue", ipc.ContinueRequest{Service: service, DryRun: flags.dryRun}, flags)
		},
	}
	flags.add(cmd)
	return cmd
}

// serviceArgument reads the name of a service.
func serviceArgument(cmd *cobra.Command, name string) (string, error) {
	if name == "" {
		return "", usagef(cmd, "cannot run %s: the name of the service is empty", scope(cmd))
	}
	return name, nil
}

// addSurge adds --max-surge to a command that replaces replicas.
func addSurge(cmd *cobra.Command, surge *int) {
	cmd.Flags().IntVar(surge, "max-surge", 0, "replace `N` replicas at a time, by default 1; so many more run meanwhile")
}

func checkSurge(cmd *cobra.Command, surge int) error {
	if cmd.Flags().Changed("max-surge") && surge < 1 {
		return usagef(cmd, "cannot run %s: it replaces 1 or more replicas at a time, not %d", scope(cmd), surge)
	}
	return nil
}
