package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"tvsctl/ipc"
)

func (a *app) whoamiCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "whoami",
		Short: "Show who you are to tvsctld, and what its policy lets you do",
		Long: `Show who you are to tvsctld, and the rules of the host's policy that are about you.
What no rule allows is denied; a rule that denies wins over all that allow.`,
		Example: "  tvsctl whoami",
		Args:    arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			var who ipc.Whoami
			if err := a.client().Get(cmd.Context(), "/whoami", &who); err != nil {
				return err
			}
			a.show(who, func(w io.Writer) { writeWhoami(w, &who) })
			return nil
		},
	}
}

func writeWhoami(w io.Writer, who *ipc.Whoami) {
	var t table
	t.add("user", fmt.Sprintf("%s (uid %d)", who.User, who.UID))
	t.add("groups", strings.Join(who.Groups, ", "))
	t.add("policy", strings.TrimSpace(who.Policy+" "+strings.Join(who.Files, ", ")))
	t.write(w)
	fmt.Fprintln(w)
	if len(who.Grants) == 0 {
		fmt.Fprintln(w, "no rule is about you: you may do nothing here")
		return
	}
	var rules table
	rules.add("RULE", "EFFECT", "ROLE", "VERBS", "ON", "LIMITS", "THROUGH")
	for _, g := range who.Grants {
		rules.add(g.Rule, g.Effect, g.Role, orAll(g.Verbs), scopeOf(g), limitsOf(g), g.Through)
	}
	rules.write(w)
}

func orAll(patterns []string) string {
	if len(patterns) == 0 {
		return "all"
	}
	return strings.Join(patterns, " ")
}

// scopeOf says what a rule covers: projects with their services, and units.
func scopeOf(g ipc.Grant) string {
	var parts []string
	for _, project := range g.Projects {
		if len(g.Services) == 0 {
			parts = append(parts, project)
		}
		for _, service := range g.Services {
			parts = append(parts, project+"/"+service)
		}
	}
	for _, unit := range g.Units {
		parts = append(parts, "unit:"+unit)
	}
	return strings.Join(parts, " ")
}

func limitsOf(g ipc.Grant) string {
	var parts []string
	if g.MaxReplicas > 0 {
		parts = append(parts, "replicas "+strconv.Itoa(g.MaxReplicas))
	}
	if g.Rate != "" {
		parts = append(parts, "rate "+g.Rate)
	}
	if len(g.Images) > 0 {
		parts = append(parts, "images "+strings.Join(g.Images, " "))
	}
	if g.Sockets {
		parts = append(parts, "sockets")
	}
	return strings.Join(parts, ", ")
}
