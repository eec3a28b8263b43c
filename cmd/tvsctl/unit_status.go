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
		Use:   "status UNIT",
		Short: "Show how a unit is",
		Long: `Show how a unit is. With -n, and of one that is not active, also the last lines that the
journal has of this or its last run. The exit status is systemctl's: 0 active, 3 inactive
or failed, 4 no such unit.`,
		Example: `  tvsctl unit status nginx
  tvsctl unit status nginx -n 50
  tvsctl unit status nginx --json`,
		Args:              arguments(1, 1),
		ValidArgsFunction: a.completeUnits(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			name, err := unitArgument(cmd, args[0])
			if err != nil {
				return err
			}
			var unit ipc.Unit
			path := ipc.UnitPath(name, "")
			if cmd.Flags().Changed("lines") {
				path += fmt.Sprintf("?lines=%d", lines)
			}
			if err := a.client().Get(cmd.Context(), path, &unit); err != nil {
				return err
			}
			a.show(unit, func(w io.Writer) { a.writeUnit(w, &unit) })
			return unitState(&unit)
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
