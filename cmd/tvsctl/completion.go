package main

import (
	"bytes"
	"io"

	"github.com/spf13/cobra"
)

func (a *app) completionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "completion {bash|zsh|fish}",
		Short: "Print the completion script for a shell",
		Long: `Print the completion script for a shell. It completes commands, flags, and,
through the daemon, the names of projects, services, units and operations.`,
		Example: `  tvsctl completion bash > /etc/bash_completion.d/tvsctl
  tvsctl completion zsh > "${fpath[1]}/_tvsctl"
  tvsctl completion fish > ~/.config/fish/completions/tvsctl.fish`,
		Args:      arguments(1, 1),
		ValidArgs: []string{"bash", "zsh", "fish"},
		RunE: func(cmd *cobra.Command, args []string) error {
			generate := map[string]func(io.Writer) error{
				"bash": func(w io.Writer) error { return cmd.Root().GenBashCompletionV2(w, true) },
				"zsh":  cmd.Root().GenZshCompletion,
				"fish": func(w io.Writer) error { return cmd.Root().GenFishCompletion(w, true) },
			}[args[0]]
			if generate == nil {
				return usagef(cmd, "cannot complete for %q: the shells are bash, zsh and fish", args[0])
			}
			var script bytes.Buffer
			if err := generate(&script); err != nil {
				return err
			}
			if a.json {
				writeJSON(a.stdout, map[string]string{"shell": args[0], "script": script.String()})
				return nil
			}
			_, _ = a.stdout.Write(script.Bytes())
			return nil
		},
	}
}
