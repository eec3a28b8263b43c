package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"tvsctl/ipc"
)

func (a *app) statusCommand() *cobra.Command {
	var watch bool
	cmd := &cobra.Command{
		Use:   "status [SERVICE]",
		Short: "Show nginx, the services with their replicas, and what runs now",
		Long: `Show nginx, the services with their replicas, and what runs now. READY is how many
replicas are ready of how many are desired. The exit status says how the project,
or SERVICE, is: 0 up, 10 degraded, 3 stopped.`,
		Example: `  tvsctl status
  tvsctl status webapp --json
  tvsctl status --watch`,
		Args:              arguments(0, 1),
		ValidArgsFunction: a.completeServices(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			service := ""
			if len(args) == 1 {
				service = args[0]
			}
			if watch {
				return a.watch(cmd, service)
			}
			status, err := a.status(cmd.Context(), service)
			if err != nil {
				return err
			}
			a.show(status, func(w io.Writer) { a.writeStatus(w, status) })
			return stateError(status.State)
		},
	}
	cmd.Flags().BoolVarP(&watch, "watch", "w", false, "redraw every second until interrupted")
	return cmd
}

// status asks for the project's status; with a service it holds only that, and
// State is the state of the service.
func (a *app) status(ctx context.Context, service string) (*ipc.Status, error) {
	var status ipc.Status
	if err := a.client().Get(ctx, ipc.ProjectPath(a.project, ""), &status); err != nil {
		return nil, err
	}
	if service == "" {
		return &status, nil
	}
	nginx := slices.DeleteFunc(status.Nginx, func(n ipc.Nginx) bool { return n.Service != service && n.Name != service })
	for _, s := range status.Services {
		if s.Name == service {
			status.State, status.Services, status.Nginx = serviceState(&s), []ipc.Service{s}, []ipc.Nginx{}
			return &status, nil
		}
	}
	if len(nginx) > 0 {
		status.State, status.Services, status.Nginx = ipc.StateUp, []ipc.Service{}, nginx
		if slices.ContainsFunc(nginx, func(n ipc.Nginx) bool { return n.State != "running" && n.State != "active" }) {
			status.State = ipc.StateStopped
		}
		return &status, nil
	}
	err := &ipc.Error{Code: ipc.CodeUnknownService,
		Message: fmt.Sprintf("cannot show %s: project %s has no such service", service, status.Project)}
	if names := serviceNames(&status); len(names) > 0 {
		err.Hint = "its services: " + strings.Join(names, ", ")
	}
	return nil, err
}

func serviceNames(status *ipc.Status) []string {
	var names []string
	for _, service := range status.Services {
		names = append(names, service.Name)
	}
	return names
}

func serviceState(s *ipc.Service) ipc.State {
	switch {
	case s.Desired > 0 && s.Ready >= s.Desired:
		return ipc.StateUp
	case s.Running == 0:
		return ipc.StateStopped
	}
	return ipc.StateDegraded
}

func stateError(state ipc.State) error {
	switch state {
	case ipc.StateUp:
		return nil
	case ipc.StateStopped:
		return exitStatus(ipc.ExitStopped)
	}
	return exitStatus(ipc.ExitDegraded)
}

// watch redraws the status until it is interrupted, and ends with the exit
// status of what it showed last.
func (a *app) watch(cmd *cobra.Command, service string) error {
	if _, _, terminal := a.stdoutSize(); !terminal || a.json || a.quiet {
		return usagef(cmd, "cannot watch: that needs a terminal, and neither --json nor --quiet")
	}
	ctx := cmd.Context()
	ticks, stop := a.ticker(time.Second)
	defer stop()
	var last *ipc.Status
	for {
		status, err := a.status(ctx, service)
		switch {
		case ctx.Err() != nil && last != nil:
			return stateError(last.State)
		case err != nil:
			return err
		}
		last = status
		var text bytes.Buffer
		a.writeStatus(&text, status)
		width, height, _ := a.stdoutSize()
		fmt.Fprint(a.stdout, screen(text.String(), width, height))
		if a.stdout.err != nil {
			return nil // the terminal has gone; finish says so
		}
		select {
		case <-ctx.Done():
			return stateError(last.State)
		case <-ticks:
		}
	}
}

// screen is what draws text over the screen's last contents, no more of it
// than fits. Clearing behind each line, and not the screen before, avoids flicker.
func screen(text string, width, height int) string {
	rows := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	if len(rows) > height-1 {
		rows = append(rows[:max(height-2, 0)], "…")
	}
	var out strings.Builder
	out.WriteString("\x1b[H")
	for _, row := range rows {
		out.WriteString(cutColoured(row, width) + "\x1b[K\n")
	}
	out.WriteString("\x1b[J")
	return out.String()
}
