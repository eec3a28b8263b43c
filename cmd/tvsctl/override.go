package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"tvsctl/ipc"
)

func (a *app) overrideCommand() *cobra.Command {
	var file string
	var write bool
	cmd := &cobra.Command{
		Use:   "override [-w | -o FILE]",
		Short: "Print or write the file that makes plain docker compose agree",
		Long: `Print or write the compose override file with the counts, and after a rollout the
images, that tvsctld keeps. With it a plain docker compose up -d changes nothing.`,
		Example: `  tvsctl override
  tvsctl override --write
  tvsctl override -o /srv/shop/compose.override.yaml`,
		Args: arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if write && cmd.Flags().Changed("output") {
				return usagef(cmd, "cannot run override: --write and --output exclude each other")
			}
			var override ipc.Override
			if err := a.client().Get(cmd.Context(), ipc.ProjectPath(a.project, "override"), &override); err != nil {
				return err
			}
			if write {
				if file = override.File; file == "" {
					err := failuref("cannot write the override file: tvsctld does not know where compose looks for it")
					err.Hint = "declare the project: tvsctl up -f DIRECTORY, or name a file: tvsctl override -o FILE"
					return err
				}
			}
			if file != "-" {
				// 0666 and the umask: it is a compose file like the one beside it.
				if err := os.WriteFile(file, []byte(override.YAML), 0o666); err != nil {
					return failuref("cannot write the override file: %v", err)
				}
				override.File = file
				if !a.quiet && !a.json {
					fmt.Fprintf(a.stderr, "wrote %s\n", clean(file))
				}
			}
			if a.json {
				writeJSON(a.stdout, override)
			} else if file == "-" {
				fmt.Fprint(a.stdout, override.YAML)
			}
			return nil
		},
	}
	cmd.Flags().StringVarP(&file, "output", "o", "-", "write to `FILE`; - is the standard output")
	cmd.Flags().BoolVarP(&write, "write", "w", false, "write to where docker compose looks for it")
	return cmd
}
