package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"tvsctl/ipc"
)

func (a *app) unitStatusCommand() *cobra.Command {
	var lines int
	cmd := &cobra.Command{
		Use:   "status UNIT...",
		Short: "Show how units are",
		Long: `Show how units are. With -n, and of one that is not active, also the last lines that the
journal has of this or its last run. The exit status is systemctl's: 0 active, 3 inactive
or failed, 4 no such unit; of several units the highest. With --json several are a list.`,
		Example: `  tvsctl unit status nginx
  tvsctl unit status nginx php8.4-fpm
  tvsctl unit status nginx -n 50
  tvsctl unit status nginx --json`,
		Args:              arguments(1, maxUnits),
		ValidArgsFunction: a.completeUnits(maxUnits),
		RunE: func(cmd *cobra.Command, args []string) error {
			query := ""
			if cmd.Flags().Changed("lines") {
				query = fmt.Sprintf("?lines=%d", lines)
			}
			units := []ipc.Unit{}
			err := a.eachUnit(cmd, args, func(name string) error {
				var unit ipc.Unit
				if err := a.client().Get(cmd.Context(), ipc.UnitPath(name, "")+query, &unit); err != nil {
					return err
				}
				units = append(units, unit)
				return unitState(&unit)
			})
			a.showUnits(units, len(args) > 1)
			return err
		},
	}
	cmd.Flags().IntVarP(&lines, "lines", "n", 0, "show `N` lines of the journal; 10 of a unit that is not active")
	return cmd
}

// unitState is nil for an active unit.
func unitState(unit *ipc.Unit) error {
	switch unit.Active {
	case "active", "reloading", "refreshing":
		return nil
	}
	return exitStatus(ipc.ExitStopped)
}

// showUnits prints what was found, as JSON one alone or a list.
func (a *app) showUnits(units []ipc.Unit, list bool) {
	text := func(w io.Writer) {
		for i := range units {
			if i > 0 {
				fmt.Fprintln(w)
			}
			a.writeUnit(w, &units[i])
		}
	}
	switch {
	case list:
		a.show(units, text)
	case len(units) == 1:
		a.show(units[0], text)
	}
}

func (a *app) writeUnit(w io.Writer, u *ipc.Unit) {
	fmt.Fprintln(w, oneLine(u.Name+" - "+u.Description))
	t := table{states: []int{1}, colour: a.colour()}
	row := func(name, text string) {
		if text != "" {
			t.add("  "+name, oneLine(text))
		}
	}
	loaded := u.Load
	var file []string
	for _, part := range []string{u.File, u.FileState, prefixed("preset: ", u.Preset)} {
		if part != "" {
			file = append(file, part)
		}
	}
	if len(file) > 0 {
		loaded += " (" + strings.Join(file, "; ") + ")"
	}
	row("loaded", loaded)
	row("problem", u.LoadError)
	row("drop-ins", strings.Join(u.DropIns, " "))
	active := u.Active + " (" + u.Sub + ")"
	if !u.Since.IsZero() {
		active += " since " + u.Since.Local().Format("Mon 2006-01-02 15:04:05 MST") + "; " + age(a.now(), u.Since) + " ago"
	}
	row("active", active)
	row("failure", u.Failure)
	row("not met", strings.Join(u.Unmet, ", "))
	row("docs", strings.Join(u.Documents, " "))
	row("main pid", number(uint64(u.MainPID)))
	row("status", u.StatusText)
	row("restarts", number(uint64(u.Restarts)))
	row("tasks", number(u.Tasks))
	if u.Memory > 0 {
		row("memory", fmt.Sprintf("%.1f MiB", float64(u.Memory)/(1<<20)))
	}
	if u.CPUSeconds > 0 {
		row("cpu", took(time.Duration(u.CPUSeconds*float64(time.Second))))
	}
	row("invocation", u.Invocation)
	t.write(w)
	if u.NeedReload {
		fmt.Fprintln(w, "! its files have changed since systemd read them: sudo systemctl daemon-reload")
	}
	if len(u.Journal) > 0 {
		fmt.Fprintln(w)
	}
	for _, line := range u.Journal {
		fmt.Fprintln(w, clean(line))
	}
}

func prefixed(prefix, text string) string {
	if text == "" {
		return ""
	}
	return prefix + text
}

func number(n uint64) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprint(n)
}
