package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"time"

	"github.com/spf13/cobra"

	"tvsctl/ipc"
)

func (a *app) unitWaitCommand() *cobra.Command {
	var state string
	var limit time.Duration
	cmd := &cobra.Command{
		Use:   "wait UNIT",
		Short: "Wait until a unit has ended, or is in a state",
		Long: `Wait until a unit has ended, or with --for active until it is up. The exit status is 1
when it failed.`,
		Example: `  tvsctl unit wait backup
  tvsctl unit wait postgresql --for active --timeout 1m`,
		Args:              arguments(1, 1),
		ValidArgsFunction: a.completeUnits(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			name, err := unitArgument(cmd, args[0])
			if err != nil {
				return err
			}
			if limit < 0 {
				return usagef(cmd, "cannot wait for %v: it is negative", limit)
			}
			ctx := cmd.Context()
			if limit > 0 {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, limit)
				defer cancel()
			}
			unit, err := a.waitForUnit(ctx, name, state)
			if err != nil && ctx.Err() == context.DeadlineExceeded {
				return &ipc.Error{Code: ipc.CodeUnitFailed, Message: fmt.Sprintf("%s is not %s after %v", name, state, limit), Hint: "see tvsctl unit status " + name}
			}
			if err != nil {
				return err
			}
			a.show(unit, func(w io.Writer) {
				fmt.Fprintf(w, "%s is %s (%s)\n", clean(unit.Name), clean(unit.Active), clean(unit.Sub))
			})
			if unit.Active == "failed" && state != "failed" {
				return &ipc.Error{Code: ipc.CodeUnitFailed, Message: fmt.Sprintf("%s failed: %s", unit.Name, unit.Failure), Hint: "see tvsctl unit status " + unit.Name}
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&state, "for", "inactive", "wait for `STATE`: inactive, active or failed")
	cmd.Flags().DurationVar(&limit, "timeout", 0, "wait at most `DURATION`; 0 means for ever")
	_ = cmd.RegisterFlagCompletionFunc("for", cobra.FixedCompletions([]string{"inactive", "active", "failed"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

// waitForUnit asks again while tvsctld is restarted in the middle.
func (a *app) waitForUnit(ctx context.Context, name, state string) (*ipc.Unit, error) {
	var unit ipc.Unit
	var err error
	for range reconnects {
		err = a.client().Get(ctx, ipc.UnitPath(name, "wait")+"?for="+url.QueryEscape(state), &unit)
		if !lostDaemon(err) {
			break
		}
	}
	return &unit, err
}

// lostDaemon reports whether tvsctld went away in the middle of a request.
func lostDaemon(err error) bool {
	var refusal *ipc.Error
	return errors.As(err, &refusal) && refusal.Code == ipc.CodeUnreachable
}
