package main

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"tvsctl/ipc"
)

func (a *app) limitCommand() *cobra.Command {
	var flags changeFlags
	var cpus, memory, pids string
	cmd := &cobra.Command{
		Use:   "limit SERVICE [--cpus N] [--memory SIZE] [--pids N]",
		Short: "Change what replicas may use, without a restart (for admins)",
		Long: `Change what the replicas of a service may use: of those that run, without a restart,
and of those to come. 0 lifts a limit. A limit that is not given stays as it is.

docker compose does not know of it: a plain docker compose up -d leaves the replicas as
they are, but one that compose creates anew has what its file says. tvsctl up and every
rollout keep the limits.`,
		Example: `  tvsctl limit webapp --cpus 0.5 --memory 256M
  tvsctl limit webapp --pids 100 --dry-run
  tvsctl limit webapp --memory 0`,
		Args:              arguments(1, 1),
		ValidArgsFunction: a.completeServices(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			service, err := serviceArgument(cmd, args[0])
			if err != nil {
				return err
			}
			request := ipc.LimitRequest{Service: service, DryRun: flags.dryRun}
			given := cmd.Flags().Changed
			if given("cpus") {
				n, err := strconv.ParseFloat(cpus, 64)
				if err != nil || !(n >= 0 && n < 1e6) {
					return usagef(cmd, "cannot limit %s: %q is not a number of processors", service, cpus)
				}
				request.CPUs = &n
			}
			if given("memory") {
				n, err := parseBytes(memory)
				if err != nil {
					return usagef(cmd, "cannot limit %s: %v", service, err)
				}
				request.Memory = &n
			}
			if given("pids") {
				n, err := strconv.ParseInt(pids, 10, 64)
				if err != nil || n < 0 {
					return usagef(cmd, "cannot limit %s: %q is not a number of processes", service, pids)
				}
				request.Pids = &n
			}
			if request.CPUs == nil && request.Memory == nil && request.Pids == nil {
				return usagef(cmd, "cannot limit %s: no limit is given", service)
			}
			return a.change(cmd.Context(), "limit", request, flags)
		},
	}
	cmd.Flags().StringVar(&cpus, "cpus", "", "so many processors, `N`, such as 0.5; 0: any")
	cmd.Flags().StringVarP(&memory, "memory", "m", "", "so much memory, a `SIZE` such as 256M; 0: any")
	cmd.Flags().StringVar(&pids, "pids", "", "so many processes and threads, `N`; 0: any")
	flags.add(cmd)
	return cmd
}

// sizeLike is a size as docker and compose take it: units are powers of 1024.
var sizeLike = regexp.MustCompile(`^([0-9]+(?:\.[0-9]+)?)([kmgt]?)(?:i?b)?$`)

// parseBytes reads a size such as 256M, 1.5g or 1048576.
func parseBytes(text string) (int64, error) {
	parts := sizeLike.FindStringSubmatch(strings.ToLower(text))
	if parts == nil {
		return 0, fmt.Errorf("%q is not a size such as 256M", text)
	}
	n, err := strconv.ParseFloat(parts[1], 64)
	if parts[2] != "" {
		n *= float64(int64(1) << (10 * (1 + strings.Index("kmgt", parts[2]))))
	}
	if err != nil || n >= 1<<62 {
		return 0, fmt.Errorf("%q is too large a size", text)
	}
	return int64(n), nil
}
