package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"tvsctl/ipc"
)

func (a *app) unitCatCommand() *cobra.Command {
	return &cobra.Command{
		Use:               "cat UNIT",
		Short:             "Print a unit's file and its drop-ins",
		Example:           "  tvsctl unit cat nginx",
		Args:              arguments(1, 1),
		ValidArgsFunction: a.completeUnits(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			name, err := unitArgument(cmd, args[0])
			if err != nil {
				return err
			}
			files := []ipc.UnitFile{}
			if err := a.client().Get(cmd.Context(), ipc.UnitPath(name, "files"), &files); err != nil {
				return err
			}
			a.show(files, func(w io.Writer) {
				for i, file := range files {
					if i > 0 {
						fmt.Fprintln(w)
					}
					fmt.Fprintf(w, "# %s\n", clean(file.Path))
					for line := range strings.Lines(file.Text) {
						fmt.Fprintln(w, clean(strings.TrimSuffix(line, "\n")))
					}
				}
			})
			return nil
		},
	}
}
