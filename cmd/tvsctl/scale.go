package main

import (
	"strings"

	"github.com/spf13/cobra"

	"tvsctl/ipc"
)

func (a *app) scaleCommand() *cobra.Command {
	var flags changeFlags
	cmd := &cobra.Command{
		Use:   "scale {SERVICE N | SERVICE=N...}",
		Short: "Set how many replicas services have",
		Long: `Set how many replicas services have. New replicas join nginx when they are ready;
those that go, the highest numbers first, leave nginx and finish their requests
before they are stopped.`,
		Example: `  tvsctl scale webapp 3
  tvsctl scale webapp=3 worker=2
  tvsctl scale --dry-run webapp 0`,
		ValidArgsFunction: a.completeServices(1),
		Args:              cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			services, err := parseScale(cmd, args)
			if err != nil {
				return err
			}
			return a.change(cmd.Context(), "scale", ipc.ScaleRequest{Services: services, DryRun: flags.dryRun}, flags)
		},
	}
	flags.add(cmd)
	return cmd
}

// parseScale reads SERVICE N, or SERVICE=N any number of times.
func parseScale(cmd *cobra.Command, args []string) (map[string]int, error) {
	pairs := 0
	for _, arg := range args {
		if strings.Contains(arg, "=") {
			pairs++
		}
	}
	switch {
	case len(args) == 0:
		return nil, usagef(cmd, "cannot scale: no service and no number of replicas given")
	case pairs == 0 && len(args) == 1:
		return nil, usagef(cmd, "cannot scale %s: no number of replicas given", args[0])
	case pairs == 0 && len(args) == 2:
		if args[0] == "" {
			return nil, usagef(cmd, "cannot scale: the name of the service is empty")
		}
		n, err := parseCount(cmd, args[0], args[1])
		if err != nil {
			return nil, err
		}
		return map[string]int{args[0]: n}, nil
	case pairs < len(args):
		return nil, usagef(cmd, "cannot scale %s: give SERVICE N, or SERVICE=N for each service", strings.Join(args, " "))
	}
	services := map[string]int{}
	for _, arg := range args {
		service, count, _ := strings.Cut(arg, "=")
		if service == "" {
			return nil, usagef(cmd, "cannot scale: %q names no service", arg)
		}
		if _, twice := services[service]; twice {
			return nil, usagef(cmd, "cannot scale %s: it is given twice", service)
		}
		n, err := parseCount(cmd, service, count)
		if err != nil {
			return nil, err
		}
		services[service] = n
	}
	return services, nil
}
