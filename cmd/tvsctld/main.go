// Command tvsctld is the control plane of a host's docker compose stacks. systemd
// holds its socket and starts it when a client connects.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
	"time"

	"tvsctl/daemon"
	"tvsctl/policy"
	"tvsctl/systemd"
)

// version is set when the program is built.
var version = "devel"

const (
	exitFailure = 1
	exitUsage   = 2
)

func main() { os.Exit(run(os.Args[1:], os.Stderr)) }

// subcommands are what tvsctld does besides being the daemon: policy is for people, the
// others are what units of their own run as root, for a daemon that may not.
var subcommands = map[string]func(args []string, stdout, stderr io.Writer) int{
	"policy":      policyCommand,
	"polkit-rule": writePolkitRule,
	"unit-file": func(args []string, stdout, stderr io.Writer) int {
		return unitFile(args, systemd.UnitFileList, stdout, stderr)
	},
	"look":   helper(lookInto),
	"hangup": helper(hangUp),
}

func run(args []string, stderr io.Writer) int {
	if len(args) > 0 && subcommands[args[0]] != nil {
		return subcommands[args[0]](args[1:], os.Stdout, stderr)
	}
	// First of all: a reload that comes early must not end the program.
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	flags := flag.NewFlagSet("tvsctld", flag.ContinueOnError)
	flags.SetOutput(stderr)
	listen := flags.String("listen", "", "serve on a socket at `PATH`, without systemd (for development)")
	state := flags.String("state", stateDir(), "keep the state in `DIR`")
	config := daemon.Config{Version: version, Log: stderr, Reload: hangups}
	configured(flags, &config)
	idle := flags.Duration("idle", 0, "end after `DURATION` without anything to do; 0 means $TVSCTLD_IDLE, else what the configuration says, by default 60s, and never with --listen")
	printVersion := flags.Bool("version", false, "print the version and exit")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return 0
		}
		return exitUsage
	}
	if *printVersion {
		fmt.Println("tvsctld", version)
		return 0
	}
	if flags.NArg() > 0 {
		fmt.Fprintf(stderr, "tvsctld: unexpected argument %q; see tvsctld -help\n", flags.Arg(0))
		return exitUsage
	}
	limitMemory()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	config.StateDir = *state
	if err := serve(ctx, config, *listen, *idle); err != nil {
		fmt.Fprintf(stderr, "tvsctld: %v\n", err)
		return exitFailure
	}
	return 0
}

// configured adds the flags that say where the configuration is.
func configured(flags *flag.FlagSet, config *daemon.Config) {
	flags.StringVar(&config.ProjectDir, "projects", "/etc/tvsctld/projects", "read the projects' NAME.toml from `DIR`")
	flags.StringVar(&config.PolicyFile, "policy", policy.File, "read who may do what from `FILE`")
	flags.StringVar(&config.PolicyDir, "policies", policy.DropIns, "and from *.toml in `DIR`")
	flags.StringVar(&config.File, "config", "/etc/tvsctld/tvsctld.toml", "read the daemon's own configuration from `FILE`")
}

func serve(ctx context.Context, config daemon.Config, path string, idle time.Duration) error {
	listener, err := listen(path)
	if err != nil {
		return err
	}
	defer listener.Close()
	if config.Idle, config.IdleGiven = idle, true; path == "" {
		if config.Idle, config.IdleGiven, err = idleTime(idle); err != nil {
			// Ending for this would make systemd start it again and again.
			fmt.Fprintf(config.Log, "tvsctld: %v\n", err)
		}
	}
	return daemon.New(config).Run(ctx, listener)
}

func listen(path string) (*net.UnixListener, error) {
	if path == "" {
		listener, err := systemd.Listener()
		if errors.Is(err, systemd.ErrNotActivated) {
			return nil, fmt.Errorf("%v: systemctl start tvsctld.socket, or use --listen PATH", err)
		}
		return listener, err
	}
	// What an earlier run left behind; a socket that still answers is another daemon's.
	if conn, err := net.Dial("unix", path); err == nil {
		conn.Close()
		return nil, fmt.Errorf("cannot listen on %s: another tvsctld does", path)
	}
	if info, err := os.Lstat(path); err == nil && info.Mode()&os.ModeSocket != 0 {
		if err := os.Remove(path); err != nil {
			return nil, err
		}
	}
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, err
	}
	return listener, os.Chmod(path, 0o660)
}

const defaultIdle = 60 * time.Second

// idleTime returns the idle time, and whether the flag or the environment gives it.
func idleTime(flag time.Duration) (idle time.Duration, given bool, err error) {
	if flag > 0 {
		return flag, true, nil
	}
	text := os.Getenv("TVSCTLD_IDLE")
	if text == "" {
		return defaultIdle, false, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d <= 0 {
		return defaultIdle, false, fmt.Errorf("TVSCTLD_IDLE=%s is not a duration such as 60s: it is ignored", text)
	}
	return d, true, nil
}

func stateDir() string {
	if dir := os.Getenv("STATE_DIRECTORY"); dir != "" {
		return dir
	}
	return "/var/lib/tvsctld"
}

// limitMemory makes the collector work for a small resident size: the daemon
// mostly waits.
func limitMemory() {
	const soft = 24 << 20
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(soft)
	}
}
