package main

import (
	"fmt"
	"io"
	"strconv"

	"github.com/spf13/cobra"

	"tvsctl/ipc"
)

func (a *app) projectsCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "projects",
		Aliases: []string{"ls"},
		Short:   "List the compose projects of this host",
		Long: `List the compose projects of this host. DECLARED says whether tvsctld knows the
project's compose files, so that tvsctl up and down can use them.`,
		Example: "  tvsctl projects",
		Args:    arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			list := []ipc.ProjectSummary{}
			if err := a.client().Get(cmd.Context(), "/projects", &list); err != nil {
				return err
			}
			a.show(list, func(w io.Writer) { writeProjects(w, list) })
			return nil
		},
	}
}

func writeProjects(w io.Writer, list []ipc.ProjectSummary) {
	if len(list) == 0 {
		fmt.Fprintln(w, "no compose project; declare one: tvsctl up -f DIRECTORY")
		return
	}
	var t table
	t.add("NAME", "RUNNING", "CONTAINERS", "DECLARED")
	for _, p := range list {
		declared := "no"
		if p.Declared {
			declared = "yes"
		}
		t.add(p.Name, strconv.Itoa(p.Running), strconv.Itoa(p.Replicas), declared)
	}
	t.write(w)
}
