package nginx

import (
	"context"
	_ "embed"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Executor runs a program where the nginx is, and returns its output and exit status.
type Executor interface {
	Exec(ctx context.Context, argv []string) (output string, status int, err error)
}

// Container is an nginx in a container whose image has a POSIX shell. Everything
// happens in one exec, beside the nginx: writing works on any file system, and the
// workers can be watched in its own /proc.
type Container struct {
	Label string // for messages: the replica's name
	Dir   string // absolute
	Exec  Executor
}

//go:embed control.sh
var control string

// Exit statuses of control.sh.
const (
	statusNoDir      = 20
	statusWrite      = 21
	statusRefused    = 22
	statusReload     = 23
	statusNotTaken   = 24
	statusNoWorkers  = 25
	statusStillThere = 26
)

const (
	// takeUp is how long new workers may take to appear after a reload, or after
	// the start of nginx.
	takeUp = 10 * time.Second
	// tick is how often control.sh looks at the workers.
	tick = 20 * time.Millisecond
)

func (c *Container) run(ctx context.Context, verb string, args ...string) (string, int, error) {
	argv := append([]string{"sh", "-c", control, "tvsctld", verb}, args...)
	output, status, err := c.Exec.Exec(ctx, argv)
	if err != nil {
		return output, status, err
	}
	if status == 126 || status == 127 {
		return output, status, fmt.Errorf("%s: its image has no shell or no nginx program to work with: %s", c.Label, strings.TrimSpace(output))
	}
	return output, status, nil
}

func ticks(d time.Duration) string { return strconv.Itoa(int(max(d, tick) / tick)) }

// Facts asks the nginx for its version and configuration, when it serves.
func (c *Container) Facts(ctx context.Context) (Facts, error) {
	output, status, err := c.run(ctx, "facts", ticks(takeUp))
	if err != nil {
		return Facts{}, err
	}
	if status == statusNoWorkers {
		return Facts{}, c.outcome(status, "")
	}
	return readFacts(output, c.Dir), nil
}

// Publish writes the files into the directory, tests, reloads, and returns when
// only workers of the new configuration accept connections. On a ConfigError the
// files are as before.
func (c *Container) Publish(ctx context.Context, files map[string][]byte) error {
	args := []string{ticks(takeUp), c.Dir}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		args = append(args, name, string(files[name]))
	}
	output, status, err := c.run(ctx, "publish", args...)
	if err != nil {
		return err
	}
	return c.outcome(status, output)
}

// Reload tests and reloads without a change of ours.
func (c *Container) Reload(ctx context.Context) error { return c.Publish(ctx, nil) }

// Test runs nginx -t.
func (c *Container) Test(ctx context.Context) (ok bool, output []string, err error) {
	text, status, err := c.run(ctx, "test")
	return status == 0, lines(text), err
}

// Drain returns when no worker that is shutting down is left, or when ctx ends.
func (c *Container) Drain(ctx context.Context) error {
	limit := time.Hour
	if deadline, ok := ctx.Deadline(); ok {
		limit = time.Until(deadline)
	}
	_, status, err := c.run(ctx, "drain", ticks(limit))
	if err == nil && status == statusStillThere {
		return context.DeadlineExceeded
	}
	return err
}

func (c *Container) outcome(status int, output string) error {
	texts := map[int]string{
		statusNoDir:     "has no directory " + c.Dir,
		statusWrite:     "cannot write to " + c.Dir,
		statusRefused:   "does not accept the configuration",
		statusReload:    "cannot be reloaded",
		statusNotTaken:  "did not take up the new configuration; its log says why",
		statusNoWorkers: "has no workers",
	}
	switch text, known := texts[status]; {
	case status == 0:
		return nil
	case known:
		return &ConfigError{Nginx: c.Label, Text: text, Output: lines(output)}
	}
	return &ConfigError{Nginx: c.Label, Text: fmt.Sprintf("cannot be configured (status %d)", status), Output: lines(output)}
}
