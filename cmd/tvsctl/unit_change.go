package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"tvsctl/ipc"
)

// unitFlags are those of the changes of units.
type unitFlags struct{ noBlock, detach bool }

func (f *unitFlags) add(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&f.noBlock, "no-block", false, "have systemd queue the job, do not wait for its end")
	cmd.Flags().BoolVarP(&f.detach, "detach", "d", false, "print the operation's id, do not wait for it")
}

func (a *app) unitChangeCommand(verb, short string) *cobra.Command {
	var flags unitFlags
	cmd := &cobra.Command{
		Use:   verb + " UNIT...",
		Short: short,
		Example: fmt.Sprintf(`  tvsctl unit %[1]s nginx
  tvsctl unit %[1]s nginx php8.4-fpm
  tvsctl unit %[1]s nginx --no-block`, verb),
		Args:              arguments(1, maxUnits),
		ValidArgsFunction: a.completeUnits(maxUnits),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := unitArguments(cmd, args); err != nil {
				return err
			}
			return a.changeUnits(cmd.Context(), verb, args, ipc.UnitRequest{NoBlock: flags.noBlock}, flags)
		},
	}
	flags.add(cmd)
	return cmd
}

// changeUnits asks for a change of each unit and follows them. They go on beside each
// other; where there are several each failure is told, and the first is the exit status.
func (a *app) changeUnits(ctx context.Context, verb string, names []string, request ipc.UnitRequest, flags unitFlags) error {
	operations := make([]ipc.Operation, len(names))
	errs := make([]error, len(names))
	for i, name := range names {
		errs[i] = a.client().Post(ctx, ipc.UnitPath(name, verb), request, &operations[i])
	}
	for i := range operations {
		switch {
		case errs[i] != nil:
		case flags.detach && a.json:
			writeJSON(a.stdout, operations[i])
		case flags.detach:
			fmt.Fprintln(a.stdout, operations[i].ID)
		default:
			errs[i] = a.follow(ctx, &operations[i])
		}
	}
	if len(names) == 1 {
		return errs[0]
	}
	return a.complain(ctx, errs)
}

// complain tells all errors but the last, which it returns with the exit status of the first.
func (a *app) complain(ctx context.Context, errs []error) error {
	status := ipc.ExitOK
	for _, err := range errs {
		if err == nil {
			continue
		}
		if told := a.finish(ctx, err); status == ipc.ExitOK {
			status = told
		}
	}
	if status == ipc.ExitOK {
		return nil
	}
	return exitStatus(status)
}

func (a *app) unitResetCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "reset-failed UNIT...",
		Short: "Take back that units failed, and their counts of starts",
		Example: `  tvsctl unit reset-failed nginx
  tvsctl unit reset-failed nginx php8.4-fpm`,
		Args:              arguments(1, maxUnits),
		ValidArgsFunction: a.completeUnits(maxUnits),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := unitArguments(cmd, args); err != nil {
				return err
			}
			var errs []error
			for _, name := range args {
				var unit ipc.Unit
				err := a.client().Post(cmd.Context(), ipc.UnitPath(name, "reset-failed"), ipc.UnitRequest{}, &unit)
				if errs = append(errs, err); err == nil {
					a.show(unit, func(w io.Writer) {
						fmt.Fprintf(w, "%s is %s (%s)\n", clean(unit.Name), clean(unit.Active), clean(unit.Sub))
					})
				}
			}
			if len(errs) == 1 {
				return errs[0]
			}
			return a.complain(cmd.Context(), errs)
		},
	}
}

// unitFileCommand makes enable, disable, mask or unmask.
func (a *app) unitFileCommand(verb, short string) *cobra.Command {
	var now bool
	cmd := &cobra.Command{
		Use:   verb + " UNIT...",
		Short: short + " (for admins)",
		Long: short + `. tvsctld has no right to that of its own: a root oneshot
does it for the units that root has listed in /etc/tvsctld/unit-files.list, in lines such
as "` + verb + ` nginx.service". For others the command that root must give is printed.`,
		Example:           "  tvsctl unit " + verb + " nginx",
		Args:              arguments(1, maxUnits),
		ValidArgsFunction: a.completeUnits(maxUnits),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := unitArguments(cmd, args); err != nil {
				return err
			}
			err := a.changeUnits(cmd.Context(), verb, args, ipc.UnitRequest{}, unitFlags{})
			if err != nil || !now {
				return err
			}
			then := map[string]string{"enable": "start", "disable": "stop", "mask": "stop"}[verb]
			return a.changeUnits(cmd.Context(), then, args, ipc.UnitRequest{}, unitFlags{})
		},
	}
	if verb != "unmask" {
		cmd.Flags().BoolVar(&now, "now", false, "also start or stop them")
	}
	return cmd
}
