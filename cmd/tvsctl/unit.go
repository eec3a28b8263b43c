package main

import (
	"net/url"

	"github.com/spf13/cobra"

	"tvsctl/ipc"
)

func (a *app) unitCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "unit",
		Short: "Show and change the units of systemd on this host",
		Long: `Show and change the units of systemd on this host, with the verbs of systemctl;
status has its exit statuses too, the others those of tvsctl. nginx means nginx.service.
What a unit did not do is explained: its result, exit status or signal, a condition, the
unit that it depends on, and the last lines of its journal.`,
		Example: `  tvsctl unit list 'php*'
  tvsctl unit status nginx
  tvsctl unit restart nginx`,
	}
	group(cmd)
	cmd.AddCommand(
		a.unitListCommand(),
		a.unitStatusCommand(),
		a.unitChangeCommand("start", "Start units"),
		a.unitChangeCommand("stop", "Stop units"),
		a.unitChangeCommand("restart", "Stop and start units"),
		a.unitChangeCommand("reload", "Have units read their configuration again"),
		a.unitFileCommand("enable", "Have units started at boot"),
		a.unitFileCommand("disable", "Have units no longer started at boot"),
		a.unitFileCommand("mask", "Keep units from being started at all"),
		a.unitFileCommand("unmask", "Let masked units be started again"),
		a.unitResetCommand(),
		a.unitDepsCommand(),
		a.unitIsolateCommand(),
		a.unitCatCommand(),
		a.unitWaitCommand(),
	)
	return cmd
}

// unitArgument refuses what would be another path on the wire; whether it is a name is
// for the daemon to say.
func unitArgument(cmd *cobra.Command, text string) (string, error) {
	if text == "" || text == "." || text == ".." {
		return "", usagef(cmd, "cannot use unit %q: it is not a name", text)
	}
	return text, nil
}

func unitArguments(cmd *cobra.Command, args []string) error {
	for _, text := range args {
		if _, err := unitArgument(cmd, text); err != nil {
			return err
		}
	}
	return nil
}

// eachUnit calls look for every unit. Where there are several each failure is told, and the
// highest exit status is that of the command.
func (a *app) eachUnit(cmd *cobra.Command, names []string, look func(name string) error) error {
	if err := unitArguments(cmd, names); err != nil {
		return err
	}
	if len(names) == 1 {
		return look(names[0])
	}
	worst := ipc.ExitOK
	for _, name := range names {
		worst = max(worst, a.finish(cmd.Context(), look(name)))
		if err := cmd.Context().Err(); err != nil {
			return err
		}
	}
	if worst == ipc.ExitOK {
		return nil
	}
	return exitStatus(worst)
}

// maxUnits bounds how many units one command takes.
const maxUnits = 256

// completeUnits completes the names of units in the first max arguments.
func (a *app) completeUnits(max int) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
		var list []ipc.UnitSummary
		var names []string
		if len(args) < max && a.ask(cmd, "/units?pattern="+url.QueryEscape(prefix+"*"), &list) {
			for _, unit := range list {
				names = append(names, unit.Name+"\t"+oneLine(unit.Description))
			}
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}
}
