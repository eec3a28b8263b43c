package main

import (
	"fmt"
	"io"
	"net/url"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"tvsctl/ipc"
)

func (a *app) auditCommand() *cobra.Command {
	var since, user string
	var count int
	cmd := &cobra.Command{
		Use:   "audit",
		Short: "Show who asked for what, what was decided, and how it ended (for admins)",
		Long: `Show who asked for what, what was decided and by which rule, and how it ended, from the
journal of this host. Only what tvsctld wrote itself is shown: the journal knows.`,
		Example: `  tvsctl audit
  tvsctl audit --since yesterday --user ana
  tvsctl audit -n 1000 --json`,
		Args: arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if count < 1 || count > ipc.MaxAudit {
				return usagef(cmd, "cannot show the last %d entries: it is not a number from 1 to %d", count, ipc.MaxAudit)
			}
			from, err := a.when(cmd, "since", since)
			if err != nil {
				return err
			}
			query := url.Values{"limit": {strconv.Itoa(count)}}
			if !from.IsZero() {
				query.Set("since", from.Format(time.RFC3339Nano))
			}
			if user != "" {
				query.Set("user", user)
			}
			list := []ipc.AuditEntry{}
			if err := a.client().Get(cmd.Context(), "/audit?"+query.Encode(), &list); err != nil {
				return err
			}
			a.show(list, func(w io.Writer) { a.writeAudit(w, list) })
			return nil
		},
	}
	cmd.Flags().StringVar(&since, "since", "", "from that `TIME` on, as tvsctl logs takes it")
	cmd.Flags().StringVar(&user, "user", "", "only requests of that `USER`, a name or an id")
	cmd.Flags().IntVarP(&count, "lines", "n", 100, "at most the last `N`")
	return cmd
}

func (a *app) writeAudit(w io.Writer, list []ipc.AuditEntry) {
	if len(list) == 0 {
		fmt.Fprintln(w, "nothing was asked for")
		return
	}
	t := table{states: []int{4, 5}, colour: a.colour()}
	t.add("TIME", "USER", "VERB", "TARGET", "DECISION", "RESULT", "RULE", "OPERATION")
	for _, e := range list {
		result := e.Result
		if e.Error != "" {
			result += " (" + string(e.Error) + ")"
		}
		t.add(e.Time.Local().Format(time.DateTime), e.User, e.Verb, e.Target, string(e.Decision), result, e.Rule, e.Operation)
	}
	t.write(w)
}
