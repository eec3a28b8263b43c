package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"tvsctl/ipc"
)

func (a *app) overrideCommand() *cobra.Command {
	var file string
	var write bool
	cmd := &cobra.Command{
		Use:   "override [-w | -o FILE]",
		Short: "Print or write the file that makes plain docker compose agree",
		Long: `Print or write the compose override file with the counts that tvsctld keeps. With it
a plain docker compose up -d changes nothing. A file that tvsctl has not made is not
replaced.`,
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
				if err := replaceOverride(file, override.YAML); err != nil {
					return err
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

// overrideMark is in the first line of every file that tvsctl makes.
const overrideMark = "Made by: tvsctl"

// replaceOverride writes the file, unless there is one that somebody else made: it
// holds settings of the stack that would be lost.
func replaceOverride(file, text string) error {
	before, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		refusal := failuref("cannot write the override file: it cannot be seen what is there: %v", err)
		refusal.Hint = "name another file: tvsctl override -o FILE"
		return refusal
	}
	if first, _, _ := strings.Cut(string(before), "\n"); err == nil && !strings.Contains(first, overrideMark) {
		refusal := failuref("cannot write the override file: %s is not one that tvsctl made", clean(file))
		refusal.Hint = "put the output of tvsctl override into it by hand, or name another file: tvsctl override -o FILE"
		return refusal
	}
	// 0666 and the umask: it is a compose file like the one beside it.
	fresh := file + ".new"
	err = os.WriteFile(fresh, []byte(text), 0o666)
	if err == nil {
		err = os.Rename(fresh, file)
	}
	if err != nil {
		return failuref("cannot write the override file: %v", err)
	}
	return nil
}
