package dockerops

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"tvsctl/fault"
)

// ComposeError is a failure of the compose plugin.
type ComposeError struct {
	Missing bool // it is not installed
	// Untrusted is set when the files can be written by somebody who must not.
	Untrusted bool
	Text      string
	Output    []string // its last lines
}

func (e *ComposeError) Error() string { return e.Text }

// Compose runs the installed compose plugin for one project.
type Compose struct {
	Project string
	Files   Files
	// Declared is whether root vouched for the files and for who owns them.
	Declared bool
	// Line gets what the plugin writes, line by line.
	Line func(string)
	// Override is the text of one more compose file, which comes last.
	Override string
}

// Up creates and starts what is missing and recreates what has changed, with the
// given counts.
func (c Compose) Up(ctx context.Context, build bool, counts map[string]int) error {
	args := []string{"up", "--detach"}
	if build {
		args = append(args, "--build")
	}
	for _, service := range slices.Sorted(maps.Keys(counts)) {
		args = append(args, "--scale", service+"="+strconv.Itoa(counts[service]))
	}
	return c.run(ctx, args...)
}

// Down stops and removes the project's containers and networks.
func (c Compose) Down(ctx context.Context) error { return c.run(ctx, "down") }

// Scale lets compose create and start the missing replicas of one service and
// touch nothing else.
func (c Compose) Scale(ctx context.Context, service string, count int) error {
	return c.run(ctx, "up", "--detach", "--no-deps", "--no-recreate", "--scale", service+"="+strconv.Itoa(count), service)
}

// Create lets compose create the missing replicas of one service, without starting
// them, and touch nothing else.
func (c Compose) Create(ctx context.Context, service string, count int) error {
	return c.run(ctx, "up", "--no-start", "--no-deps", "--no-recreate", "--scale", service+"="+strconv.Itoa(count), service)
}

// ServiceConfig is what tvsctld needs to know of a service in the compose files.
type ServiceConfig struct {
	Image string
	// Replicas is whether the file itself has deploy.replicas.
	Replicas bool
	// ComposeOnly says why a clone would not carry everything, or "".
	ComposeOnly string
	// Sockets says what it mounts that controls the host, "" for nothing.
	Sockets string
}

// Config asks compose what the files say, by service.
func (c Compose) Config(ctx context.Context) (map[string]ServiceConfig, error) {
	output, err := c.read(ctx, "config", "--format", "json")
	if err != nil {
		return nil, err
	}
	var project struct {
		Services map[string]struct {
			Image  string `json:"image"`
			Deploy *struct {
				Replicas *int `json:"replicas"`
			} `json:"deploy"`
			Configs   []struct{ Source string } `json:"configs"`
			Secrets   []struct{ Source string } `json:"secrets"`
			PostStart []any                     `json:"post_start"`
			mounting
		} `json:"services"`
		Configs map[string]injected    `json:"configs"`
		Secrets map[string]injected    `json:"secrets"`
		Volumes map[string]namedVolume `json:"volumes"`
	}
	if err := json.Unmarshal(output, &project); err != nil {
		return nil, &ComposeError{Text: fmt.Sprintf("docker compose config printed no JSON: %v", err)}
	}
	services := map[string]ServiceConfig{}
	for name, s := range project.Services {
		config := ServiceConfig{Image: s.Image, Replicas: s.Deploy != nil && s.Deploy.Replicas != nil}
		if len(s.PostStart) > 0 {
			config.ComposeOnly = "it has post_start hooks"
		}
		for _, use := range s.Configs {
			if project.Configs[use.Source].isInjected() {
				config.ComposeOnly = "compose writes the config " + use.Source + " into its containers"
			}
		}
		for _, use := range s.Secrets {
			if project.Secrets[use.Source].isInjected() {
				config.ComposeOnly = "compose writes the secret " + use.Source + " into its containers"
			}
		}
		sources := s.sources(project.Volumes)
		for _, use := range s.Configs {
			sources = append(sources, project.Configs[use.Source].File)
		}
		for _, use := range s.Secrets {
			sources = append(sources, project.Secrets[use.Source].File)
		}
		if what := controlling(sources); what != "" {
			config.Sockets = name + " mounts " + what
		}
		services[name] = config
	}
	return services, nil
}

// injected is a config or secret that compose copies into a container after it
// was created, so that the container's configuration does not show it.
type injected struct {
	File        string `json:"file"`
	Content     string `json:"content"`
	Environment string `json:"environment"`
}

func (i injected) isInjected() bool { return i.Content != "" || i.Environment != "" }

// Hash returns compose's hash of a service's configuration as the files have it.
func (c Compose) Hash(ctx context.Context, service string) (string, error) {
	output, err := c.read(ctx, "config", "--hash", service)
	if err != nil {
		return "", err
	}
	fields := strings.Fields(string(output))
	if len(fields) != 2 {
		return "", &ComposeError{Text: fmt.Sprintf("docker compose config --hash printed %q", output)}
	}
	return fields[1], nil
}

// run runs compose with all that Docker lets the daemon, on files that only those may write who may have that.
func (c Compose) run(ctx context.Context, args ...string) error {
	if err := c.Files.Untrusted(c.Declared); err != nil {
		return &ComposeError{Untrusted: true, Text: err.Error()}
	}
	return fault.Do("compose "+args[0], func() error { return c.start(ctx, nil, args...) })
}

// read runs compose only to interpret the files. They may name other files, whose
// contents its errors show: those that this process may read, which is no more than a
// nobody where it runs as it should.
func (c Compose) read(ctx context.Context, args ...string) ([]byte, error) {
	if err := c.Files.Unreadable(); err != nil {
		return nil, &ComposeError{Text: err.Error()}
	}
	var output bytes.Buffer
	quiet := c
	quiet.Line = nil
	err := quiet.start(ctx, &output, args...)
	return output.Bytes(), err
}

// start runs compose. Its standard output goes to output, or with its standard error to
// Line.
func (c Compose) start(ctx context.Context, output io.Writer, args ...string) error {
	docker, err := exec.LookPath("docker")
	if err != nil {
		return &ComposeError{Missing: true, Text: "the docker command is not installed"}
	}
	whole := []string{"compose", "--project-name", c.Project, "--ansi", "never"}
	if c.Files.Directory != "" {
		whole = append(whole, "--project-directory", c.Files.Directory)
	}
	for _, part := range []struct {
		flag   string
		values []string
	}{{"--file", c.Files.Compose}, {"--env-file", c.Files.Env}, {"--profile", c.Files.Profiles}} {
		for _, value := range part.values {
			whole = append(whole, part.flag, value)
		}
	}
	if c.Override != "" {
		whole = append(whole, "--file", "-")
	}
	command := exec.CommandContext(ctx, docker, append(whole, args...)...)
	command.Dir = c.Files.Directory
	command.Stdin = strings.NewReader(c.Override)
	err = runDocker(command, "compose "+args[0], output, c.Line)
	// Without the plugin the docker command complains of flags that it does not know.
	if err != nil && exec.CommandContext(ctx, docker, "compose", "version").Run() != nil && ctx.Err() == nil {
		return &ComposeError{Missing: true, Text: "the docker compose plugin is not installed"}
	}
	return err
}

// runDocker runs the docker command. Its standard output goes to output, or with its
// standard error to line.
func runDocker(command *exec.Cmd, verb string, output io.Writer, line func(string)) error {
	// A stop is asked for first: compose then finishes the call it is in.
	command.Cancel = func() error { return command.Process.Signal(syscall.SIGTERM) }
	reader, writer := io.Pipe()
	command.Stderr = writer
	command.Stdout = writer
	if output != nil {
		command.Stdout = output
		// Who only reads has nothing to finish, and may wait for ever for a file that the
		// project's files name: all of it is ended.
		command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		command.Cancel = func() error { return syscall.Kill(-command.Process.Pid, syscall.SIGKILL) }
	}
	tail := make(chan []string)
	go func() { tail <- follow(reader, line) }()
	err := command.Run()
	writer.Close()
	last := <-tail
	if err == nil {
		return nil
	}
	text := fmt.Sprintf("docker %s failed (%v)", verb, err)
	if len(last) > 0 {
		text += ": " + last[len(last)-1]
	}
	return &ComposeError{Text: text, Output: last}
}

// follow passes lines on and returns the last ones.
func follow(reader *io.PipeReader, pass func(string)) []string {
	var last []string
	scanner := bufio.NewScanner(reader)
	scanner.Buffer(nil, 1<<20)
	for scanner.Scan() {
		line := strings.TrimRight(scanner.Text(), " \r")
		if line == "" {
			continue
		}
		if pass != nil {
			pass(line)
		}
		if last = append(last, line); len(last) > lastLines {
			last = last[1:]
		}
	}
	// A line over the buffer's size ends the scan; the child must not block on the rest.
	_, _ = io.Copy(io.Discard, reader)
	return last
}
