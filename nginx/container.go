package nginx

import (
	"bytes"
	"context"
	_ "embed"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"tvsctl/fault"
)

// Executor starts programs where the nginx is.
type Executor interface {
	Start(ctx context.Context, argv []string) (Process, error)
}

// Process is a started program. What is written to it is its standard input; Wait
// ends the input and returns the program's output and exit status.
type Process interface {
	io.Writer
	Wait(ctx context.Context) (output string, status int, err error)
	Close() // for one that is not needed
}

// Container is an nginx in a container whose image has a POSIX shell. Everything
// happens in one exec, beside the nginx: writing works on any file system, and the
// workers can be watched in its own /proc.
type Container struct {
	Label string // for messages: the replica's name
	Dir   string // absolute
	Exec  Executor

	mu       sync.Mutex
	prepared chan Process // gets one value, nil when it could not be started
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
	// firstLook is how long it may take to serve when it is first asked for its
	// facts; whoever asks tries again.
	firstLook = time.Second
	// startDeadline bounds the start of a program in the container.
	startDeadline = 10 * time.Second
	// tick is how often control.sh looks at the workers.
	tick = 10 * time.Millisecond
)

func (c *Container) start(ctx context.Context) (Process, error) {
	ctx, cancel := context.WithTimeout(ctx, startDeadline)
	defer cancel()
	return c.Exec.Start(ctx, []string{"sh", "-c", control})
}

// Prepare starts what the next call needs and lets it wait: to start a program in
// a container takes longer than the reload itself. It is only a help, so its
// errors are left to the call.
func (c *Container) Prepare(ctx context.Context) {
	c.Release()
	next := make(chan Process, 1)
	c.mu.Lock()
	c.prepared = next
	c.mu.Unlock()
	go func() {
		p, err := c.start(ctx)
		if err != nil {
			p = nil
		}
		next <- p
	}()
}

// Release ends what Prepare started, if no call has used it.
func (c *Container) Release() {
	if p := c.take(); p != nil {
		p.Close()
	}
}

func (c *Container) take() Process {
	c.mu.Lock()
	next := c.prepared
	c.prepared = nil
	c.mu.Unlock()
	if next == nil {
		return nil
	}
	return <-next
}

func (c *Container) run(ctx context.Context, args ...string) (string, int, error) {
	if p := c.take(); p != nil {
		if _, err := p.Write(encode(args)); err == nil {
			return c.finish(ctx, p)
		}
		p.Close() // it died while it waited: the container was restarted
	}
	p, err := c.start(ctx)
	if err != nil {
		return "", 0, err
	}
	if _, err := p.Write(encode(args)); err != nil {
		p.Close()
		return "", 0, err
	}
	return c.finish(ctx, p)
}

func (c *Container) finish(ctx context.Context, p Process) (string, int, error) {
	output, status, err := p.Wait(ctx)
	if err == nil && (status == 126 || status == 127) {
		err = fmt.Errorf("%s: its image has no shell or no nginx program to work with: %s", c.Label, strings.TrimSpace(output))
	}
	return output, status, err
}

// encode writes the arguments of control.sh: how many there are, then each as its
// number of lines and the lines.
func encode(args []string) []byte {
	var b bytes.Buffer
	fmt.Fprintln(&b, len(args))
	for _, arg := range args {
		text := strings.TrimSuffix(arg, "\n")
		fmt.Fprintf(&b, "%d\n%s\n", 1+strings.Count(text, "\n"), text)
	}
	return b.Bytes()
}

func ticks(d time.Duration) string { return strconv.Itoa(int(max(d, tick) / tick)) }

// Facts asks the nginx for its version and configuration, when it serves.
func (c *Container) Facts(ctx context.Context) (Facts, error) {
	output, status, err := c.run(ctx, "facts", ticks(firstLook))
	if err != nil {
		return Facts{}, err
	}
	if status != 0 {
		return Facts{}, c.outcome(status, complaints(output))
	}
	return readFacts(output, c.Dir), nil
}

// Publish writes the files into the directory, tests, reloads, and returns when
// only workers of the new configuration accept connections. On a ConfigError the
// files are as before.
func (c *Container) Publish(ctx context.Context, files map[string][]byte) error {
	args := []string{"publish", ticks(takeUp), c.Dir}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		args = append(args, name, string(files[name]))
	}
	return fault.Do("nginx publish", func() error {
		output, status, err := c.run(ctx, args...)
		if err != nil {
			return err
		}
		return c.outcome(status, output)
	})
}

// Reload tests and reloads without a change of ours.
func (c *Container) Reload(ctx context.Context) error { return c.Publish(ctx, nil) }

// Test runs nginx -t.
func (c *Container) Test(ctx context.Context) (ok bool, output []string, err error) {
	text, status, err := c.run(ctx, "test")
	return status == 0, lines(text), err
}

// Writable returns an error when no file can be written into the directory.
func (c *Container) Writable(ctx context.Context) error {
	output, status, err := c.run(ctx, "writable", c.Dir)
	if err != nil {
		return err
	}
	return c.outcome(status, output)
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
		statusRefused:   refusedText,
		statusReload:    "cannot be reloaded",
		statusNotTaken:  "did not take up the new configuration; its log says why",
		statusNoWorkers: "has no workers",
	}
	switch text, known := texts[status]; {
	case status == 0:
		return nil
	case known:
		return &ConfigError{Nginx: c.Label, Text: text, Refused: status == statusRefused, Output: lines(output)}
	}
	return &ConfigError{Nginx: c.Label, Text: fmt.Sprintf("cannot be configured (status %d)", status), Output: lines(output)}
}
