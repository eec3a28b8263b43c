package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"tvsctl/ipc"
)

// unitPrefix tells a unit from a service.
const unitPrefix = "unit:"

// logFlags are the options of logs.
type logFlags struct {
	follow, timestamps, noPrefix bool
	tail, since, until           string
}

func (a *app) logsCommand() *cobra.Command {
	var f logFlags
	cmd := &cobra.Command{
		Use:   "logs [SERVICE[.N] | unit:NAME]...",
		Short: "Show or follow the logs of replicas and units, in time order",
		Long: `Show what replicas wrote, and the journal of units, merged in time order: a service's
replicas, only its Nth, or a unit of the host. Without a name those of the balanced
services. To follow goes on with the replicas that come, also over restarts of tvsctld and
of Docker. A time is how long ago (10m), RFC 3339, "2026-01-02 15:04", 15:04, today or yesterday.
With --json each line is an object.`,
		Example: `  tvsctl logs -f
  tvsctl logs -n 100 webapp.2
  tvsctl logs --since 10m webapp unit:nginx.service
  tvsctl logs --since "2026-01-02 15:04" --until 15:10 -t`,
		Args:              cobra.ArbitraryArgs,
		ValidArgsFunction: a.completeServices(1 << 10),
		RunE: func(cmd *cobra.Command, args []string) error {
			request, err := a.logRequest(cmd, &f, args)
			if err != nil {
				return err
			}
			return a.logs(cmd.Context(), request, &f)
		},
	}
	flags := cmd.Flags()
	flags.BoolVarP(&f.follow, "follow", "f", false, "go on with what comes")
	flags.StringVarP(&f.tail, "tail", "n", "all", "at most the last `N` lines of each")
	flags.StringVar(&f.since, "since", "", "from that `TIME` on")
	flags.StringVar(&f.until, "until", "", "up to that `TIME`")
	flags.BoolVarP(&f.timestamps, "timestamps", "t", false, "print the time before each line")
	flags.BoolVar(&f.noPrefix, "no-log-prefix", false, "leave out the name before each line")
	return cmd
}

func (a *app) logRequest(cmd *cobra.Command, f *logFlags, args []string) (ipc.LogRequest, error) {
	request := ipc.LogRequest{Project: a.project, Follow: f.follow, Tail: -1}
	if f.tail != "all" {
		n, err := strconv.ParseUint(f.tail, 10, 32)
		if err != nil || n > ipc.MaxTail {
			return request, usagef(cmd, "cannot show the last %q lines: it is not a number up to %d, or all", f.tail, ipc.MaxTail)
		}
		request.Tail = int(n)
	}
	var err error
	if request.Since, err = a.when(cmd, "since", f.since); err != nil {
		return request, err
	}
	if request.Until, err = a.when(cmd, "until", f.until); err != nil {
		return request, err
	}
	if f.follow && f.until != "" {
		return request, usagef(cmd, "cannot follow until a time: leave out --follow or --until")
	}
	for _, arg := range args {
		name, unit := strings.CutPrefix(arg, unitPrefix)
		switch {
		case name == "" || name == "." || name == "..":
			return request, usagef(cmd, "cannot show the log of %q: it is not a name", arg)
		case unit:
			request.Units = append(request.Units, name)
		default:
			request.Services = append(request.Services, name)
		}
	}
	return request, nil
}

// when reads a time that an option gives; without one it is zero.
func (a *app) when(cmd *cobra.Command, flag, text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	t, err := parseWhen(a.now(), text)
	if err != nil {
		return t, usagef(cmd, "cannot use --%s: %v", flag, err)
	}
	return t, nil
}

// logs prints what is asked for. What is followed goes on when tvsctld is lost.
func (a *app) logs(ctx context.Context, request ipc.LogRequest, f *logFlags) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	p := logPrinter{app: a, flags: f, last: map[string]time.Time{}, colours: map[string]string{}}
	show := func(line ipc.LogLine) {
		p.print(line)
		if a.stdout.err != nil {
			stop() // nobody reads any more
		}
	}
	start := a.now()
	err := a.client().Logs(ctx, request, show)
	for failures := 0; request.Follow && failures < reconnects && errors.Is(err, ipc.ErrLost); {
		fmt.Fprintln(a.stderr, "tvsctl: lost tvsctld; following again")
		switch {
		case !p.newest.IsZero():
			request.Since, request.Tail = p.newest.Add(-reorder), -1
		case request.Tail == 0:
			request.Since, request.Tail = start, -1
		}
		p.skip = maps.Clone(p.last) // what was printed comes again
		began := a.now()
		if err = a.client().Logs(ctx, request, show); a.now().Sub(began) > time.Second {
			failures = 0
		}
		failures++
	}
	switch {
	case a.stdout.err != nil:
		return nil // finish says what there is to say
	case err == nil && p.failed:
		return exitStatus(ipc.ExitFailure)
	}
	return err
}

// reorder is how much older a line may be than one that was printed before it.
const reorder = time.Second

// logPrinter prints the lines of several logs.
type logPrinter struct {
	*app
	flags   *logFlags
	newest  time.Time
	last    map[string]time.Time // by name: of the line printed last
	skip    map[string]time.Time // by name: up to there lines were printed before
	width   int
	colours map[string]string
	failed  bool // a log could not be read
}

// logColours are those of docker compose, which tell replicas apart on dark and light.
var logColours = []string{"36", "33", "32", "35", "34", "96", "93", "92", "95", "94"}

func (p *logPrinter) print(line ipc.LogLine) {
	if line.Error != nil {
		p.failed = true
		if p.json {
			writeJSONLine(p.stdout, line)
		} else {
			fmt.Fprintf(p.stderr, "tvsctl: %s\n", oneLine(line.Error.Message))
			writeDetail(p.stderr, line.Error)
		}
		return
	}
	if until, printed := p.skip[line.Name]; printed && !line.Time.After(until) {
		return
	}
	p.last[line.Name] = line.Time
	if line.Time.After(p.newest) {
		p.newest = line.Time
	}
	if p.json {
		writeJSONLine(p.stdout, line)
		return
	}
	_, _, terminal := p.stdoutSize()
	for text := range strings.SplitSeq(line.Line, "\n") {
		if terminal {
			text = clean(sequences.ReplaceAllString(text, ""))
		}
		if p.flags.timestamps {
			text = line.Time.Local().Format("2006-01-02T15:04:05.000000Z07:00") + " " + text
		}
		fmt.Fprintln(p.out(), p.prefix(line.Name)+text)
	}
}

// prefix is a log's name, as wide as the widest so far.
func (p *logPrinter) prefix(name string) string {
	if p.flags.noPrefix {
		return ""
	}
	p.width = max(p.width, len(name))
	text := fmt.Sprintf("%-*s | ", p.width, clean(name))
	if !p.colour() {
		return text
	}
	if p.colours[name] == "" {
		p.colours[name] = logColours[len(p.colours)%len(logColours)]
	}
	return "\x1b[" + p.colours[name] + "m" + text + "\x1b[0m"
}

// sequences are what a program writes to colour its text or to move the cursor (ECMA-48,
// 5.4 and 5.6).
var sequences = regexp.MustCompile("\x1b(?:\\[[0-?]*[ -/]*[@-~]|\\][^\x07\x1b]*(?:\x07|\x1b\\\\)?)")

func writeJSONLine(w *output, v any) {
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	// Only writing can fail, and output remembers that.
	_ = encoder.Encode(v)
}
