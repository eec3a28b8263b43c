package main

import (
	"strings"

	"github.com/spf13/cobra"
)

func (a *app) planCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "plan COMMAND [ARGUMENT...]",
		Short: "Print what a command would do, change nothing",
		Long:  "Print the steps of a change and change nothing: the same as the command with --dry-run.",
		Example: `  tvsctl plan scale webapp 3
  tvsctl plan rollout webapp --image shop/webapp:2`,
		// They are the command's own.
		DisableFlagParsing: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			for _, arg := range args {
				if arg == "-h" || arg == "--help" {
					return cmd.Help()
				}
			}
			root := a.root()
			planned, _, err := root.Find(args)
			if len(args) == 0 || err != nil || planned == root {
				return usagef(cmd, "cannot plan %q: no such command", strings.Join(args, " "))
			}
			if planned.Flags().Lookup("dry-run") == nil {
				return usagef(cmd, "cannot plan %s: it has no plan", scope(planned))
			}
			// Not as an argument, which could become another flag's value.
			root.PersistentPreRunE = func(cmd *cobra.Command, _ []string) error {
				if err := cmd.Flags().Set("dry-run", "true"); err != nil {
					return err
				}
				return a.checkNames(cmd)
			}
			root.SetArgs(args)
			root.SetIn(a.stdin)
			root.SetOut(a.stdout)
			root.SetErr(a.stderr)
			return root.ExecuteContext(cmd.Context())
		},
	}
}
