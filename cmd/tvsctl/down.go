package main

import (
	"github.com/spf13/cobra"

	"tvsctl/ipc"
)

func (a *app) downCommand() *cobra.Command {
	var flags changeFlags
	cmd := &cobra.Command{
		Use:   "down",
		Short: "Remove the project's containers and networks",
		Long: `Remove the project's containers and networks with docker compose down. Named
volumes, the declaration and the desired counts stay: tvsctl up brings them back.`,
		Example: `  tvsctl down
  tvsctl -p shop down`,
		Args: arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.change(cmd.Context(), "down", ipc.DownRequest{}, flags)
		},
	}
	flags.addDetach(cmd)
	return cmd
}
