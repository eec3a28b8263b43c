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
		Use:               "cat UNIT...",
		Short:             "Print the files of units and their drop-ins",
		Example:           "  tvsctl unit cat nginx\n  tvsctl unit cat nginx php8.4-fpm",
		Args:              arguments(1, maxUnits),
		ValidArgsFunction: a.completeUnits(maxUnits),
		RunE: func(cmd *cobra.Command, args []string) error {
			files := []ipc.UnitFile{}
			err := a.eachUnit(cmd, args, func(name string) error {
				var more []ipc.UnitFile
				err := a.client().Get(cmd.Context(), ipc.UnitPath(name, "files"), &more)
				files = append(files, more...)
				return err
			})
			if err != nil && len(args) == 1 {
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
			return err
		},
	}
}
