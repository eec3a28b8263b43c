package main

import (
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"tvsctl/ipc"
)

func (a *app) unitListCommand() *cobra.Command {
	var all bool
	var states, types []string
	cmd := &cobra.Command{
		Use:   "list [PATTERN]...",
		Short: "List units",
		Long: `List the units that systemd has in memory and that you may see: those that are active,
failed or have a job; with --all also those that are inactive. A PATTERN may have the
wildcards of a shell.`,
		Example: `  tvsctl unit list
  tvsctl unit list 'php*' --all
  tvsctl unit list --state failed`,
		Aliases:           []string{"ls"},
		Args:              cobra.ArbitraryArgs,
		ValidArgsFunction: a.completeUnits(maxUnits),
		RunE: func(cmd *cobra.Command, args []string) error {
			path := "/units"
			if len(args) > 0 {
				path += "?" + url.Values{"pattern": args}.Encode()
			}
			list := []ipc.UnitSummary{}
			if err := a.client().Get(cmd.Context(), path, &list); err != nil {
				return err
			}
			list = slices.DeleteFunc(list, func(u ipc.UnitSummary) bool { return !listed(u, all, states, types) })
			a.show(list, func(w io.Writer) { a.writeUnits(w, list) })
			return nil
		},
	}
	cmd.Flags().BoolVarP(&all, "all", "a", false, "also inactive units")
	cmd.Flags().StringSliceVar(&states, "state", nil, "only units in a `STATE`: of load, active or sub")
	cmd.Flags().StringSliceVarP(&types, "type", "t", nil, "only units of a `TYPE`: service, timer, …")
	return cmd
}

// listed reports whether a unit is shown, as systemctl list-units decides.
func listed(u ipc.UnitSummary, all bool, states, types []string) bool {
	_, kind, _ := strings.Cut(u.Name[strings.LastIndexByte(u.Name, '.'):], ".")
	switch {
	case len(types) > 0 && !slices.Contains(types, kind):
		return false
	case len(states) > 0:
		return slices.ContainsFunc(states, func(s string) bool { return s == u.Load || s == u.Active || s == u.Sub })
	}
	return all || u.Job != "" || u.Active != "inactive"
}

func (a *app) writeUnits(w io.Writer, list []ipc.UnitSummary) {
	if len(list) == 0 {
		fmt.Fprintln(w, "no unit")
		return
	}
	t := table{states: []int{2}, colour: a.colour()}
	t.add("UNIT", "LOAD", "ACTIVE", "SUB", "JOB", "DESCRIPTION")
	for _, u := range list {
		t.add(u.Name, u.Load, u.Active, u.Sub, u.Job, u.Description)
	}
	t.write(w)
}
