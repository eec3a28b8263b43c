package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"tvsctl/ipc"
)

func (a *app) nginxCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "nginx",
		Short: "Test, reload or show the project's nginx",
		Example: `  tvsctl nginx test
  tvsctl nginx reload
  tvsctl nginx show`,
	}
	group(cmd)
	cmd.AddCommand(a.nginxTestCommand(), a.nginxReloadCommand(), a.nginxShowCommand())
	return cmd
}

func (a *app) nginxTestCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "test",
		Short:   "Test the configuration of each nginx (nginx -t)",
		Example: "  tvsctl nginx test",
		Args:    arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			tests := []ipc.NginxTest{}
			path := ipc.ProjectPath(a.project, "nginx/test")
			if err := a.client().Post(cmd.Context(), path, struct{}{}, &tests); err != nil {
				return err
			}
			a.show(tests, func(w io.Writer) {
				for _, test := range tests {
					if test.OK {
						fmt.Fprintf(w, "%s: ok\n", clean(test.Name))
						for _, line := range test.Output {
							fmt.Fprintf(w, "  %s\n", clean(line))
						}
					}
				}
			})
			return testFailure(tests)
		},
	}
}

// testFailure is the one error of all tests that failed, nil when none did.
func testFailure(tests []ipc.NginxTest) error {
	if len(tests) == 0 {
		return &ipc.Error{Code: ipc.CodeNginx, Message: "cannot test nginx: the project has none",
			Hint: "see tvsctl status"}
	}
	var names, output []string
	for _, test := range tests {
		if !test.OK {
			names = append(names, test.Name)
			output = append(output, test.Output...)
		}
	}
	if len(names) == 0 {
		return nil
	}
	return &ipc.Error{Code: ipc.CodeNginx, Detail: output,
		Message: "cannot use the configuration of " + strings.Join(names, ", ") + ": the test of nginx failed"}
}

func (a *app) nginxReloadCommand() *cobra.Command {
	var flags changeFlags
	cmd := &cobra.Command{
		Use:     "reload",
		Short:   "Test and reload each nginx",
		Example: "  tvsctl nginx reload",
		Args:    arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.change(cmd.Context(), "nginx/reload", struct{}{}, flags)
		},
	}
	flags.addDetach(cmd)
	return cmd
}

func (a *app) nginxShowCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "show",
		Short:   "Show the upstreams in force and their generation",
		Example: "  tvsctl nginx show",
		Args:    arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			list := []ipc.Nginx{}
			if err := a.client().Get(cmd.Context(), ipc.ProjectPath(a.project, "nginx"), &list); err != nil {
				return err
			}
			a.show(list, func(w io.Writer) { a.writeNginx(w, list) })
			return nil
		},
	}
}

func (a *app) writeNginx(w io.Writer, list []ipc.Nginx) {
	if len(list) == 0 {
		fmt.Fprintln(w, "no nginx")
	}
	for _, nginx := range list {
		line := nginx.Name + ": " + nginx.State
		if since := age(a.now(), nginx.Since); since != "" {
			line += " for " + since
		}
		if nginx.Version != "" {
			line += ", nginx " + nginx.Version
		}
		fmt.Fprintln(w, clean(line))
		for _, problem := range nginx.Problems {
			fmt.Fprintf(w, "  ! %s\n", oneLine(problem))
		}
		if len(nginx.Upstreams) == 0 {
			fmt.Fprintln(w, "  no upstream")
		}
		for _, upstream := range nginx.Upstreams {
			fmt.Fprintf(w, "  upstream %s, generation %s, %s\n",
				clean(upstream.Service), clean(upstream.Generation), clean(upstream.File))
			if len(upstream.Servers) == 0 {
				fmt.Fprintln(w, "    no server: answers 502")
			}
			var t table
			for _, server := range upstream.Servers {
				t.add("    "+server.Address, server.Replica)
			}
			t.write(w)
		}
	}
}
