package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"tvsctl/ipc"
)

func (a *app) doctorCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "doctor",
		Short: "Look for what is missing or wrong on this host, with the remedy",
		Long: `Look at all that tvsctl needs and at the mistakes that are often made: the socket, the
caller's group, systemd and the unit files, Docker, nginx and its upstreams, the replicas,
the configuration, disk space, the clock. It changes nothing. The exit status is 1 when
there is a problem; a warning is what can go wrong.`,
		Example: `  tvsctl doctor
  tvsctl doctor --json`,
		Args: arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			findings := a.examine(cmd.Context())
			if err := cmd.Context().Err(); err != nil {
				return err
			}
			a.show(findings, func(w io.Writer) { a.writeFindings(w, findings) })
			if slices.ContainsFunc(findings, func(f ipc.Finding) bool { return f.State == ipc.FindingProblem }) {
				return exitStatus(ipc.ExitFailure)
			}
			return nil
		},
	}
}

// versionPatience is how long the daemon may take to ask Docker for its version too.
const versionPatience = 5 * time.Second

// examine looks from the caller's side, and asks the daemon for its own.
func (a *app) examine(ctx context.Context) []ipc.Finding {
	findings := append(checkSocket(a.socket), checkGroup(newCaller(), socketGroupID())...)
	var daemon ipc.Version
	var group sync.WaitGroup
	group.Go(func() {
		patient, cancel := context.WithTimeout(ctx, versionPatience)
		defer cancel()
		// Without an answer the other one says what is wrong.
		_ = a.client().Get(patient, "/version", &daemon)
	})
	var theirs []ipc.Finding
	err := a.client().Get(ctx, "/doctor", &theirs)
	group.Wait()
	switch own := clientVersion().Version; {
	case daemon.Version == "":
	case daemon.Version == own:
		findings = append(findings, ipc.Finding{State: ipc.FindingOK, Check: "version", Text: "tvsctl and tvsctld are " + own})
	default:
		findings = append(findings, ipc.Finding{State: ipc.FindingWarning, Check: "version", Text: fmt.Sprintf("tvsctl is %s, and the tvsctld that runs is %s", own, daemon.Version),
			Remedy: "as root: systemctl restart tvsctld; if that does not help, install again"})
	}
	if err != nil {
		return append(findings, unreachable(err, daemon.Version != ""))
	}
	return append(findings, theirs...)
}

// unreachable is the finding that the daemon did not say what it sees; answered is
// whether it answers this caller at all.
func unreachable(err error, answered bool) ipc.Finding {
	f := ipc.Finding{State: ipc.FindingProblem, Check: "tvsctld", Text: err.Error(), Remedy: "see systemctl status tvsctld.socket tvsctld.service"}
	var refusal *ipc.Error
	if errors.As(err, &refusal) && refusal.Code == ipc.CodeForbidden && answered {
		return ipc.Finding{State: ipc.FindingWarning, Check: "tvsctld", Text: "tvsctld tells what it sees of this host only to those who may see all of it",
			Remedy: "what you may do is in tvsctl whoami; as root: tvsctl doctor"}
	}
	if refusal != nil && refusal.Hint != "" {
		f.Remedy = refusal.Hint
	}
	return f
}

func (a *app) writeFindings(w io.Writer, findings []ipc.Finding) {
	t := table{states: []int{0}, colour: a.colour()}
	for _, f := range findings {
		text := oneLine(f.Text)
		if f.Remedy != "" {
			text += " → " + oneLine(f.Remedy)
		}
		t.add(string(f.State), f.Check, text)
	}
	t.write(w)
}
