package main

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"tvsctl/ipc"
)

// commands lists what tvsctl can do, in the order of its help.
func (a *app) commands() []*cobra.Command {
	return []*cobra.Command{
		a.statusCommand(),
		a.inspectCommand(),
		a.projectsCommand(),
		a.scaleCommand(),
		a.incCommand(),
		a.decCommand(),
		a.resetCommand(),
		a.startCommand(),
		a.stopCommand(),
		a.rolloutCommand(),
		a.rollbackCommand(),
		a.restartCommand(),
		a.limitCommand(),
		a.execCommand(),
		a.planCommand(),
		a.upCommand(),
		a.downCommand(),
		a.overrideCommand(),
		a.verifyCommand(),
		a.nginxCommand(),
		a.unitCommand(),
		a.opsCommand(),
		a.eventsCommand(),
		a.logsCommand(),
		a.auditCommand(),
		a.doctorCommand(),
		a.whoamiCommand(),
		a.canICommand(),
		a.versionCommand(),
		a.completionCommand(),
	}
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "tvsctl",
		Short: "Scale docker compose services behind nginx without losing a request",
		Long: `tvsctl asks tvsctld, the control plane of this host, to start, stop, scale and renew
the services of docker compose projects, and shows how they are.

Exit statuses: 0 done or up, 1 failure, 2 usage, 3 stopped, 4 no such project,
service, operation or unit, 5 not scalable, 6 count out of range, 7 conflict, 8 a replica
did not become ready, 9 nginx, 10 degraded, 11 Docker, 12 docker compose, 13 the
daemon's state, 14 canceled, 69 the daemon is not reachable, 77 permission denied.`,
		Example: `  tvsctl status
  tvsctl scale webapp 3
  tvsctl ops`,
		SilenceUsage:               true,
		SilenceErrors:              true,
		SuggestionsMinimumDistance: 2,
		CompletionOptions:          cobra.CompletionOptions{DisableDefaultCmd: true},
		Version:                    clientVersion().String(),
	}
	root.SetVersionTemplate("tvsctl {{.Version}}\n")
	root.SetFlagErrorFunc(flagError)
	group(root)

	flags := root.PersistentFlags()
	flags.StringVarP(&a.project, "project", "p", a.env("TVS_PROJECT"), "compose project `NAME`; by default the only one")
	socket := a.env("TVS_SOCKET")
	if socket == "" {
		socket = ipc.DefaultSocket
	}
	flags.StringVar(&a.socket, "socket", socket, "tvsctld's socket, a `PATH`")
	flags.BoolVar(&a.json, "json", false, "print JSON")
	flags.BoolVarP(&a.quiet, "quiet", "q", false, "print nothing but errors")
	root.PersistentPreRunE = func(cmd *cobra.Command, _ []string) error { return a.checkNames(cmd) }
	// Neither an error nor a shell without completion is worth a message here.
	_ = root.RegisterFlagCompletionFunc("project", a.completeProjects)

	root.AddCommand(a.commands()...)
	root.SetHelpCommand(helpCommand())
	return root
}

// checkNames refuses a project that would be another path on the wire.
func (a *app) checkNames(cmd *cobra.Command) error {
	if a.project == "." || a.project == ".." {
		return usagef(cmd, "cannot use project %q: it is not a name", a.project)
	}
	if a.socket == "" {
		return usagef(cmd, "cannot use --socket: the path is empty")
	}
	return nil
}

// group makes cmd print its help when it is given no command, and name the
// near ones when it is given an unknown one.
func group(cmd *cobra.Command) {
	cmd.SuggestionsMinimumDistance = 2
	cmd.Args = cobra.ArbitraryArgs
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return cmd.Help()
		}
		return unknownCommand(cmd, args[0])
	}
}

func unknownCommand(cmd *cobra.Command, name string) error {
	err := usagef(cmd, "cannot run %q: no such command", strings.TrimSpace(scope(cmd)+" "+name))
	if near := cmd.SuggestionsFor(name); len(near) > 0 {
		err.Hint = "did you mean " + strings.Join(near, " or ") + "?"
	}
	return err
}

// scope returns the words of a command without the program's name.
func scope(cmd *cobra.Command) string {
	_, words, _ := strings.Cut(cmd.CommandPath(), " ")
	return words
}

// countCommands are those with a number of replicas among their arguments.
var countCommands = []string{"scale", "inc", "dec", "reset"}

var parseNoise = regexp.MustCompile(`strconv\.\w+: parsing ".*": `)

// flagError makes an error of the flag parser one of ours. A negative count
// looks like a flag and deserves to be called what it is.
func flagError(cmd *cobra.Command, err error) error {
	words := cmd.Flags().Args()
	if takesArguments := strings.Contains(cmd.Use, " "); cmd.HasSubCommands() && !takesArguments && len(words) > 0 {
		return unknownCommand(cmd, words[0])
	}
	var unknown interface{ GetSpecifiedShortnames() string }
	if errors.As(err, &unknown) && slices.Contains(countCommands, cmd.Name()) && numberLike.MatchString(unknown.GetSpecifiedShortnames()) {
		subject := ""
		if len(words) > 0 {
			subject = words[0]
		}
		_, err := parseCount(cmd, subject, "-"+unknown.GetSpecifiedShortnames())
		return err
	}
	name := scope(cmd)
	if name == "" {
		name = "tvsctl"
	}
	return usagef(cmd, "cannot run %s: %s", name, oneLine(parseNoise.ReplaceAllString(err.Error(), "")))
}

// arguments accepts min to max arguments.
func arguments(min, max int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) >= min && len(args) <= max {
			return nil
		}
		want := fmt.Sprintf("%d to %d arguments", min, max)
		switch {
		case max == 0:
			want = "no argument"
		case min == max && max == 1:
			want = "one argument"
		case min == max:
			want = fmt.Sprintf("%d arguments", max)
		case max == 1:
			want = "at most one argument"
		case min == 0:
			want = fmt.Sprintf("at most %d arguments", max)
		}
		err := usagef(cmd, "cannot run %s: it takes %s, not %d", scope(cmd), want, len(args))
		err.Hint = "usage: " + cmd.UseLine()
		return err
	}
}

// helpCommand replaces cobra's, which takes an unknown topic for a success.
func helpCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "help [COMMAND]",
		Short:   "Show help for a command",
		Example: "  tvsctl help scale",
		RunE: func(cmd *cobra.Command, args []string) error {
			found, rest, err := cmd.Root().Find(args)
			if err != nil || len(rest) > 0 {
				return unknownCommand(cmd.Root(), strings.Join(args, " "))
			}
			found.InitDefaultHelpFlag()
			return found.Help()
		},
	}
}
