package main

import (
	"github.com/spf13/cobra"

	"tvsctl/ipc"
)

func (a *app) incCommand() *cobra.Command {
	return a.adjustCommand(&cobra.Command{
		Use:   "inc [N] [SERVICE]",
		Short: "Add replicas to a service",
		Long: `Add N replicas, by default one, to SERVICE, by default the only one that an nginx
balances. Two at the same time add up.`,
		Example: `  tvsctl inc
  tvsctl inc 2 webapp`,
	}, +1)
}

func (a *app) decCommand() *cobra.Command {
	return a.adjustCommand(&cobra.Command{
		Use:   "dec [N] [SERVICE]",
		Short: "Take replicas from a service",
		Long: `Take N replicas, by default one, from SERVICE, by default the only one that an
nginx balances. The highest numbers go first, and one always stays: for none
at all use scale SERVICE 0.`,
		Example: `  tvsctl dec
  tvsctl dec 2 webapp`,
	}, -1)
}

func (a *app) adjustCommand(cmd *cobra.Command, sign int) *cobra.Command {
	var flags changeFlags
	cmd.Args = arguments(0, 2)
	cmd.ValidArgsFunction = a.completeServices(2)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		n, service, err := parseAdjust(cmd, args)
		if err != nil {
			return err
		}
		request := ipc.AdjustRequest{Service: service, By: sign * n, DryRun: flags.dryRun}
		return a.change(cmd.Context(), "adjust", request, flags)
	}
	flags.add(cmd)
	return cmd
}

// parseAdjust reads [N] [SERVICE] in either order.
func parseAdjust(cmd *cobra.Command, args []string) (n int, service string, err error) {
	count := "1"
	switch len(args) {
	case 1:
		if numberLike.MatchString(args[0]) {
			count = args[0]
		} else {
			service = args[0]
		}
	case 2:
		first, second := numberLike.MatchString(args[0]), numberLike.MatchString(args[1])
		switch {
		case first && second:
			return 0, "", usagef(cmd, "cannot %s: both %q and %q are numbers, neither is a service", cmd.Name(), args[0], args[1])
		case !first && !second:
			return 0, "", usagef(cmd, "cannot %s: neither %q nor %q is a number of replicas", cmd.Name(), args[0], args[1])
		case first:
			count, service = args[0], args[1]
		default:
			service, count = args[0], args[1]
		}
	}
	for _, arg := range args {
		if arg == "" {
			return 0, "", usagef(cmd, "cannot %s: the name of the service is empty", cmd.Name())
		}
	}
	if n, err = parseCount(cmd, service, count); err != nil {
		return 0, "", err
	}
	if n == 0 {
		return 0, "", usagef(cmd, "cannot %s: 0 replicas are no change", cmd.Name())
	}
	return n, service, nil
}
