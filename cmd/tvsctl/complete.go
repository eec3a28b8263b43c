package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"tvsctl/ipc"
)

// completeTimeout is how long a shell's Tab may wait for the daemon.
const completeTimeout = 500 * time.Millisecond

func (a *app) completeProjects(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	var list []ipc.ProjectSummary
	var names []string
	if a.ask(cmd, "/projects", &list) {
		for _, project := range list {
			names = append(names, project.Name)
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// completeServices completes the names of services in the first max arguments.
func (a *app) completeServices(max int) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		var status ipc.Status
		var names []string
		if len(args) < max && a.ask(cmd, ipc.ProjectPath(a.project, ""), &status) {
			names = serviceNames(&status)
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}
}

func (a *app) completeOperations(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	var list []ipc.Operation
	var ids []string
	if len(args) == 0 && a.ask(cmd, a.operationsPath(), &list) {
		for _, operation := range list {
			ids = append(ids, operation.ID+"\t"+operation.Summary)
		}
	}
	return ids, cobra.ShellCompDirectiveNoFileComp
}

func (a *app) ask(cmd *cobra.Command, path string, out any) bool {
	parent := cmd.Context()
	if parent == nil {
		parent = context.Background()
	}
	ctx, cancel := context.WithTimeout(parent, completeTimeout)
	defer cancel()
	return a.client().Get(ctx, path, out) == nil
}
