package dockerops

import (
	"context"
	"fmt"
	"maps"
	"os/exec"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/go-connections/nat"

	"tvsctl/fault"
)

// Image is an image that this host has.
type Image struct {
	ID     string
	config *container.Config // the defaults that it gives to its containers
}

// imageReference is what an image may be called: a name with registry, tag or digest,
// or an id (distribution/reference, in short).
var imageReference = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9._:/@-]{0,511}$`)

// ValidImage reports whether an image could be called so.
func ValidImage(reference string) bool { return imageReference.MatchString(reference) }

// Repository is an image's name without its tag and digest. An id is its own.
func Repository(reference string) string {
	if strings.HasPrefix(reference, "sha256:") {
		return reference
	}
	name, _, _ := strings.Cut(reference, "@")
	if colon := strings.LastIndex(name, ":"); colon > strings.LastIndex(name, "/") {
		name = name[:colon]
	}
	return name
}

// Image returns the image of that name or id, or nil when this host does not have it.
func (e *Engine) Image(ctx context.Context, reference string) (*Image, error) {
	if err := e.negotiate(ctx); err != nil {
		return nil, explain(err)
	}
	found, err := e.api.ImageInspect(ctx, reference)
	if isNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, explain(err)
	}
	return &Image{ID: found.ID, config: defaults(found)}, nil
}

// defaults reads what an image gives to its containers.
func defaults(i image.InspectResponse) *container.Config {
	if i.Config == nil {
		return &container.Config{}
	}
	c := i.Config
	config := &container.Config{User: c.User, Env: c.Env, Entrypoint: c.Entrypoint, Cmd: c.Cmd, Volumes: c.Volumes, WorkingDir: c.WorkingDir,
		Labels: c.Labels, StopSignal: c.StopSignal, Healthcheck: c.Healthcheck, Shell: c.Shell, ExposedPorts: nat.PortSet{}}
	for port := range c.ExposedPorts {
		config.ExposedPorts[nat.Port(port)] = struct{}{}
	}
	return config
}

// Pull gets an image from its registry with the docker command, which knows how to log
// in there. What it writes goes to line.
func Pull(ctx context.Context, reference string, line func(string)) error {
	return fault.Do("docker pull", func() error {
		return runDocker(exec.CommandContext(ctx, "docker", "pull", "--", reference), "pull", nil, line)
	})
}

// WithImage returns the spec of the same service made from another image. What the
// container has from its old image's defaults gives way to those of the new one; what
// the service itself set to the same value cannot be told apart, and does too. hash is
// compose's hash of the service with that image; empty: it stays.
func (s *Spec) WithImage(reference string, old, new *Image, hash string) *Spec {
	next, config := *s, *s.Config
	config.Image, next.ImageID = reference, new.ID
	if old != nil {
		subtract(&config, old.config)
		for port := range s.HostConfig.PortBindings { // the engine publishes only what is exposed
			if config.ExposedPorts == nil {
				config.ExposedPorts = nat.PortSet{}
			}
			config.ExposedPorts[port] = struct{}{}
		}
	}
	config.Labels = maps.Clone(config.Labels)
	config.Labels[labelImage] = new.ID
	if hash != "" {
		config.Labels[labelConfigHash] = hash
	}
	next.Config = &config
	return &next
}

// subtract takes from a container's configuration what the engine merged into it from
// its image (moby daemon/commit.go, merge).
func subtract(config, image *container.Config) {
	config.Env = slices.DeleteFunc(slices.Clone(config.Env), func(entry string) bool { return slices.Contains(image.Env, entry) })
	config.Labels = maps.Clone(config.Labels)
	maps.DeleteFunc(config.Labels, func(key, value string) bool {
		inherited, there := image.Labels[key]
		return there && inherited == value && !strings.HasPrefix(key, labelPrefix)
	})
	config.ExposedPorts = maps.Clone(config.ExposedPorts)
	maps.DeleteFunc(config.ExposedPorts, func(port nat.Port, _ struct{}) bool { _, there := image.ExposedPorts[port]; return there })
	config.Volumes = maps.Clone(config.Volumes)
	maps.DeleteFunc(config.Volumes, func(path string, _ struct{}) bool { _, there := image.Volumes[path]; return there })
	// A command is the image's only with its entrypoint, or with none: with another one the
	// image's command does not count. One that is missing tells that the entrypoint is
	// the service's own, though it is the same.
	own := !slices.Equal(config.Entrypoint, image.Entrypoint) || len(config.Cmd) == 0 && len(image.Cmd) > 0
	if (!own || len(config.Entrypoint) == 0) && slices.Equal(config.Cmd, image.Cmd) {
		config.Cmd = nil
	}
	if !own {
		config.Entrypoint = nil
	}
	for value, inherited := range map[*string]string{&config.User: image.User, &config.WorkingDir: image.WorkingDir, &config.StopSignal: image.StopSignal} {
		if *value == inherited {
			*value = ""
		}
	}
	if slices.Equal(config.Shell, image.Shell) {
		config.Shell = nil
	}
	config.Healthcheck = subtractCheck(config.Healthcheck, image.Healthcheck)
}

// subtractCheck does so for a health check, which is merged part by part.
func subtractCheck(check, image *container.HealthConfig) *container.HealthConfig {
	if check == nil || image == nil {
		return check
	}
	own := *check
	if slices.Equal(own.Test, image.Test) {
		own.Test = nil
	}
	own.Interval = unless(own.Interval, image.Interval)
	own.Timeout = unless(own.Timeout, image.Timeout)
	own.StartPeriod = unless(own.StartPeriod, image.StartPeriod)
	own.StartInterval = unless(own.StartInterval, image.StartInterval)
	own.Retries = unless(own.Retries, image.Retries)
	if reflect.ValueOf(own).IsZero() {
		return nil
	}
	return &own
}

// unless returns a value unless it is the inherited one.
func unless[T comparable](value, inherited T) T {
	if value == inherited {
		var none T
		return none
	}
	return value
}

// Same reports whether replicas of both specs are the same but for their age.
func (s *Spec) Same(other *Spec) bool {
	return other != nil && s.ImageID == other.ImageID && s.Hash() == other.Hash() && s.Config.Image == other.Config.Image
}

// MadeFrom reports whether a replica is what the spec makes now.
func (s *Spec) MadeFrom(r Replica) bool {
	return r.ImageID == s.ImageID && r.ConfigHash == s.Hash() && r.Image == s.Config.Image
}

// Moved is the spec with the image that its name means by now, or nil when that is
// the one it has, or none.
func (e *Engine) Moved(ctx context.Context, s *Spec) (*Spec, error) {
	now, err := e.Image(ctx, s.Config.Image)
	if err != nil || now == nil || now.ID == s.ImageID {
		return nil, err
	}
	before, err := e.Image(ctx, s.ImageID)
	if err != nil {
		return nil, fmt.Errorf("cannot look at the image of %s: %w", s.Service, err)
	}
	return s.WithImage(s.Config.Image, before, now, ""), nil
}
