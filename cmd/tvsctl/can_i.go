package main

import (
	"fmt"
	"io"
	"net/url"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"tvsctl/ipc"
)

func (a *app) canICommand() *cobra.Command {
	var image string
	var replicas int
	cmd := &cobra.Command{
		Use:   "can-i VERB [TARGET]",
		Short: "Show whether the policy lets you do something, and which rule decides",
		Long: `Show whether the policy lets you do VERB to TARGET, and which rule decides. TARGET is
PROJECT, PROJECT/SERVICE or unit:NAME; without one it is every project of the host.
That the target exists is not looked at. The exit status is 77 when you may not.`,
		Example: `  tvsctl can-i scale shop/webapp
  tvsctl can-i scale shop/webapp --replicas 20
  tvsctl can-i rollout shop/webapp --image registry.example.org/shop/webapp:2
  tvsctl can-i restart unit:nginx.service`,
		Args: arguments(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			query := url.Values{"verb": {args[0]}}
			target := "every project"
			if len(args) == 2 {
				target = args[1]
				unit, isUnit := strings.CutPrefix(target, "unit:")
				project, service, hasService := strings.Cut(target, "/")
				switch {
				case isUnit && unit != "":
					query.Set("unit", unit)
				case isUnit || project == "" || hasService && service == "":
					return usagef(cmd, "cannot look up %q: a target is PROJECT, PROJECT/SERVICE or unit:NAME", target)
				default:
					query.Set("project", project)
					query.Set("service", service)
				}
			}
			if image != "" {
				query.Set("image", image)
			}
			if replicas < 0 {
				return usagef(cmd, "cannot look up %d replicas: the number is negative", replicas)
			}
			if replicas > 0 {
				query.Set("replicas", strconv.Itoa(replicas))
			}
			var decision ipc.Verdict
			if err := a.client().Get(cmd.Context(), "/can-i?"+query.Encode(), &decision); err != nil {
				return err
			}
			a.show(decision, func(w io.Writer) { writeDecision(w, args[0], target, &decision) })
			if !decision.Allowed {
				return exitStatus(ipc.ExitForbidden)
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&image, "image", "", "the image `REF` that is to be rolled out")
	cmd.Flags().IntVar(&replicas, "replicas", 0, "the `NUMBER` of replicas that is asked for")
	return cmd
}

func writeDecision(w io.Writer, verb, target string, d *ipc.Verdict) {
	answer := "no"
	if d.Allowed {
		answer = "yes"
	}
	fmt.Fprintf(w, "%s: %s %s: %s\n", answer, verb, oneLine(target), oneLine(d.Reason))
	if d.Source != "" {
		fmt.Fprintf(w, "  rule %s, %s\n", oneLine(d.Rule), oneLine(d.Source))
	}
}
