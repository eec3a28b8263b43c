package main

import (
	"strconv"

	"github.com/spf13/cobra"

	"tvsctl/ipc"
)

func (a *app) resetCommand() *cobra.Command {
	var flags changeFlags
	cmd := &cobra.Command{
		Use:   "reset [N [BASE]]",
		Short: "Force the initial, stopped configuration",
		Long: `Force the initial, stopped configuration: N stopped replicas of each service that
an nginx balances, by default as many as are desired now. tvsctl start then
starts them. Where the replicas are instances of a template unit, BASE is the port
of the first one, by default base_port in the project's file.`,
		Example: `  tvsctl reset
  tvsctl reset 2
  tvsctl reset 2 35004`,
		Args: arguments(0, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			request := ipc.ResetRequest{DryRun: flags.dryRun}
			if len(args) >= 1 {
				n, err := parseCount(cmd, "", args[0])
				if err != nil {
					return err
				}
				if n == 0 {
					// On the wire 0 means: as many as are desired.
					return usagef(cmd, "cannot reset: 0 is not a number of replicas to start with")
				}
				request.Count = n
			}
			if len(args) == 2 {
				port, err := strconv.ParseUint(args[1], 10, 16)
				if err != nil || port == 0 {
					return usagef(cmd, "cannot reset: %q is not a port", args[1])
				}
				request.Base = int(port)
			}
			return a.change(cmd.Context(), "reset", request, flags)
		},
	}
	flags.add(cmd)
	return cmd
}
