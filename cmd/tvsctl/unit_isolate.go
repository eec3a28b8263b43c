package main

import (
	"bufio"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"tvsctl/ipc"
)

func (a *app) unitIsolateCommand() *cobra.Command {
	var flags unitFlags
	var yes, dryRun bool
	cmd := &cobra.Command{
		Use:   "isolate UNIT",
		Short: "Start a unit and stop all others (for admins)",
		Long: `Start a unit with what it needs and stop all other units. It shows which are to be
stopped, and asks. Only units that say AllowIsolate=yes can be isolated.`,
		Example: `  tvsctl unit isolate multi-user.target
  tvsctl unit isolate rescue.target --yes`,
		Args:              arguments(1, 1),
		ValidArgsFunction: a.completeUnits(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			name, err := unitArgument(cmd, args[0])
			if err != nil {
				return err
			}
			if dryRun || !yes {
				var would ipc.UnitIsolation
				if err := a.client().Post(cmd.Context(), ipc.UnitPath(name, "isolate"), ipc.UnitRequest{DryRun: true}, &would); err != nil {
					return err
				}
				if dryRun {
					a.show(would, func(w io.Writer) { writeIsolation(w, &would) })
					return nil
				}
				writeIsolation(a.stderr, &would)
				if !a.confirm("go on? [y/N] ") {
					return &ipc.Error{Code: ipc.CodeCanceled, Message: "isolate " + would.Name + ": nothing was changed", Hint: "--yes does not ask"}
				}
			}
			return a.changeUnits(cmd.Context(), "isolate", args, ipc.UnitRequest{NoBlock: flags.noBlock}, flags)
		},
	}
	flags.add(cmd)
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "print what would be stopped, change nothing")
	return cmd
}

func writeIsolation(w io.Writer, would *ipc.UnitIsolation) {
	fmt.Fprintf(w, "isolate %s would stop %d of the units that run:\n", clean(would.Name), len(would.Stop))
	for _, name := range would.Stop {
		fmt.Fprintf(w, "  %s\n", clean(name))
	}
}

// confirm asks on stderr and reads the answer from stdin. Without one it is no.
func (a *app) confirm(question string) bool {
	fmt.Fprint(a.stderr, question)
	answer, _ := bufio.NewReader(a.stdin).ReadString('\n')
	answer = strings.ToLower(strings.TrimSpace(answer))
	return answer == "y" || answer == "yes"
}
