package main

import (
	"context"

	"github.com/spf13/cobra"

	"tvsctl/ipc"
)

func (a *app) upCommand() *cobra.Command {
	var flags changeFlags
	var build bool
	var files, envFiles, profiles []string
	cmd := &cobra.Command{
		Use:   "up [--build] [-f DIR-or-FILE]...",
		Short: "Create and start the project with docker compose",
		Long: `Create and start the project with docker compose up, with the replicas that are
desired. With -f the project is declared to tvsctld first, which remembers where
its compose files are. A directory stands for the compose file in it, together
with its override file. The project's name is that of -p, else the one in the
file, else that of the directory, as docker compose has it. To declare takes root, or
role admin with sockets = true.`,
		Example: `  tvsctl up -f /srv/shop
  tvsctl up -f compose.yaml -f compose.prod.yaml --profile prod
  tvsctl up --build`,
		Args: arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if len(files) == 0 && len(envFiles)+len(profiles) > 0 {
				return usagef(cmd, "cannot run up: --env-file and --profile are part of a declaration and need -f")
			}
			if len(files) > 0 {
				if err := a.declare(cmd.Context(), files, envFiles, profiles); err != nil {
					return err
				}
			}
			return a.change(cmd.Context(), "up", ipc.UpRequest{Build: build}, flags)
		},
	}
	cmd.Flags().BoolVar(&build, "build", false, "build images first")
	cmd.Flags().StringArrayVarP(&files, "file", "f", nil, "declare the compose `FILE`, or that of a directory; repeatable")
	cmd.Flags().StringArrayVar(&envFiles, "env-file", nil, "with -f: read variables from `FILE`; repeatable")
	cmd.Flags().StringArrayVar(&profiles, "profile", nil, "with -f: enable a `PROFILE`; repeatable")
	flags.addDetach(cmd)
	return cmd
}

// declare tells the daemon where the project's files are, and makes it the
// project of this command.
func (a *app) declare(ctx context.Context, files, envFiles, profiles []string) error {
	declaration, err := newDeclaration(files, envFiles, profiles)
	if err != nil {
		return err
	}
	if a.project == "" || a.project == ipc.OnlyProject {
		if a.project, err = projectName(declaration); err != nil {
			return err
		}
	}
	if !validProject.MatchString(a.project) {
		return &ipc.Error{Code: ipc.CodeBadRequest,
			Message: "cannot declare project " + a.project + ": compose allows lower case letters, digits, - and _, the first a letter or digit",
			Hint:    "give another name with -p"}
	}
	return a.client().Put(ctx, ipc.ProjectPath(a.project, "declaration"), declaration, nil)
}
