package dockerops

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// ComposeError is a failure of the compose plugin.
type ComposeError struct {
	Missing bool // it is not installed
	Text    string
	Output  []string // its last lines
}

func (e *ComposeError) Error() string { return e.Text }

// Compose runs the installed compose plugin for one project.
type Compose struct {
	Project string
	Files   Files
	// Line gets what the plugin writes, line by line.
	Line func(string)
}

// Up creates and starts what is missing and recreates what has changed, with the
// given counts.
func (c Compose) Up(ctx context.Context, build bool, counts map[string]int) error {
	args := []string{"up", "--detach"}
	if build {
		args = append(args, "--build")
	}
	for service, count := range counts {
		args = append(args, "--scale", service+"="+strconv.Itoa(count))
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

// ServiceConfig is what tvsctld needs to know of a service in the compose files.
type ServiceConfig struct {
	// Replicas is whether the file itself has deploy.replicas.
	Replicas bool
	// ComposeOnly says why a clone would not carry everything, or "".
	ComposeOnly string
}

// Config asks compose what the files say, by service.
func (c Compose) Config(ctx context.Context) (map[string]ServiceConfig, error) {
	var output bytes.Buffer
	quiet := c
	quiet.Line = nil
	if err := quiet.start(ctx, &output, "config", "--format", "json"); err != nil {
		return nil, err
	}
	var project struct {
		Services map[string]struct {
			Deploy *struct {
				Replicas *int `json:"replicas"`
			} `json:"deploy"`
			Configs   []struct{ Source string } `json:"configs"`
			Secrets   []struct{ Source string } `json:"secrets"`
			PostStart []any                     `json:"post_start"`
		} `json:"services"`
		Configs map[string]injected `json:"configs"`
		Secrets map[string]injected `json:"secrets"`
	}
	if err := json.Unmarshal(output.Bytes(), &project); err != nil {
		return nil, &ComposeError{Text: fmt.Sprintf("docker compose config printed no JSON: %v", err)}
	}
	services := map[string]ServiceConfig{}
	for name, s := range project.Services {
		config := ServiceConfig{Replicas: s.Deploy != nil && s.Deploy.Replicas != nil}
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
		services[name] = config
	}
	return services, nil
}

// injected is a config or secret that compose copies into a container after it
// was created, so that the container's configuration does not show it.
type injected struct {
	Content     string `json:"content"`
	Environment string `json:"environment"`
}

func (i injected) isInjected() bool { return i.Content != "" || i.Environment != "" }

func (c Compose) run(ctx context.Context, args ...string) error { return c.start(ctx, nil, args...) }

// start runs compose. Its standard output goes to output, or with its standard
// error to Line.
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
	command := exec.CommandContext(ctx, docker, append(whole, args...)...)
	command.Dir = c.Files.Directory
	// A stop is asked for first: compose then finishes the call it is in.
	command.Cancel = func() error { return command.Process.Signal(syscall.SIGTERM) }
	reader, writer := io.Pipe()
	command.Stderr = writer
	command.Stdout = writer
	if output != nil {
		command.Stdout = output
	}
	tail := make(chan []string)
	go func() { tail <- c.follow(reader) }()
	err = command.Run()
	writer.Close()
	last := <-tail
	if err == nil {
		return nil
	}
	// Without the plugin the docker command complains of flags that it does not know.
	if exec.CommandContext(ctx, docker, "compose", "version").Run() != nil && ctx.Err() == nil {
		return &ComposeError{Missing: true, Text: "the docker compose plugin is not installed"}
	}
	text := fmt.Sprintf("docker compose %s failed (%v)", args[0], err)
	if len(last) > 0 {
		text += ": " + last[len(last)-1]
	}
	return &ComposeError{Text: text, Output: last}
}

// follow passes lines on and returns the last ones.
func (c Compose) follow(reader *io.PipeReader) []string {
	var last []string
	scanner := bufio.NewScanner(reader)
	scanner.Buffer(nil, 1<<20)
	for scanner.Scan() {
		line := strings.TrimRight(scanner.Text(), " \r")
		if line == "" {
			continue
		}
		if c.Line != nil {
			c.Line(line)
		}
		if last = append(last, line); len(last) > lastLines {
			last = last[1:]
		}
	}
	// A line over the buffer's size ends the scan; the child must not block on the rest.
	_, _ = io.Copy(io.Discard, reader)
	return last
}

// Untrusted returns why the compose files must not be used, or nil: whoever can
// write them, or rename a directory above them, owns the host. They may be written
// by root and by the owner of the project's directory.
func (f Files) Untrusted() error {
	if !filepath.IsAbs(f.Directory) {
		return fmt.Errorf("the project directory %q is not an absolute path", f.Directory)
	}
	info, err := os.Stat(f.Directory)
	if err != nil {
		return fmt.Errorf("cannot use the project directory: %v", err)
	}
	owner := info.Sys().(*syscall.Stat_t).Uid
	if len(f.Compose) == 0 {
		return errors.New("no compose file is named")
	}
	if info.Mode().Perm()&0o022 != 0 {
		return fmt.Errorf("%s can be written by others than its owner (mode %04o): chmod go-w it", f.Directory, info.Mode().Perm())
	}
	paths := append(append([]string{f.Directory}, f.Compose...), f.Env...)
	// Compose reads that one without being told.
	if unasked := filepath.Join(f.Directory, ".env"); exists(unasked) {
		paths = append(paths, unasked)
	}
	for _, path := range paths {
		if !filepath.IsAbs(path) {
			return fmt.Errorf("%q is not an absolute path", path)
		}
		real, err := filepath.EvalSymlinks(path)
		if err != nil {
			return fmt.Errorf("cannot use %s: %v", path, err)
		}
		for _, start := range []string{filepath.Clean(path), real} {
			for at := start; ; at = filepath.Dir(at) {
				if err := writableByOthers(at, owner); err != nil {
					return err
				}
				if at == "/" {
					break
				}
			}
		}
	}
	return nil
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

func writableByOthers(path string, owner uint32) error {
	info, err := os.Lstat(path)
	if err != nil {
		return fmt.Errorf("cannot use %s: %v", path, err)
	}
	if uid := info.Sys().(*syscall.Stat_t).Uid; uid != 0 && uid != owner {
		return fmt.Errorf("%s belongs to neither root nor the owner of the project's directory", path)
	}
	// In a sticky directory nobody can rename or replace what is another's.
	if sticky := info.IsDir() && info.Mode()&os.ModeSticky != 0; sticky || info.Mode()&os.ModeSymlink != 0 {
		return nil
	}
	if info.Mode().Perm()&0o022 != 0 {
		return fmt.Errorf("%s can be written by others than its owner (mode %04o): chmod go-w it", path, info.Mode().Perm())
	}
	return nil
}
