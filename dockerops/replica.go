package dockerops

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/docker/docker/api/types/container"
)

func readReplica(c container.InspectResponse) Replica {
	number, _ := strconv.Atoi(c.Config.Labels[labelNumber])
	r := Replica{
		ID: c.ID, Name: strings.TrimPrefix(c.Name, "/"), Number: number,
		State: string(c.State.Status), ExitCode: c.State.ExitCode,
		Created: readTime(c.Created), Started: readTime(c.State.StartedAt), Finished: readTime(c.State.FinishedAt),
		Image: c.Config.Image, ImageID: c.Image, Hostname: c.Config.Hostname,
		ConfigHash: c.Config.Labels[labelConfigHash], Networks: map[string]string{},
		HostNetwork:  c.HostConfig.NetworkMode.IsHost(),
		Restarts:     c.HostConfig.RestartPolicy.Name != "" && !c.HostConfig.RestartPolicy.IsNone(),
		ReadyTimeout: readyTimeout(c.Config.Healthcheck),
		Limits:       readLimits(c.HostConfig.Resources),
	}
	if c.State.Health != nil && c.State.Health.Status != "none" {
		r.Health = string(c.State.Health.Status)
	}
	for name, endpoint := range c.NetworkSettings.Networks {
		if r.Networks[name] = ""; endpoint != nil && r.Running() {
			r.Networks[name] = endpoint.IPAddress
		}
	}
	if !r.Running() {
		return r
	}
	for port, bindings := range c.NetworkSettings.Ports {
		for _, binding := range bindings {
			if n, err := strconv.Atoi(binding.HostPort); err == nil && port.Proto() == "tcp" {
				r.HostPorts = append(r.HostPorts, HostPort{IP: binding.HostIP, Port: n, Container: port.Int()})
			}
		}
	}
	slices.SortFunc(r.HostPorts, func(a, b HostPort) int {
		return cmp.Or(cmp.Compare(a.Container, b.Container), cmp.Compare(a.Port, b.Port), cmp.Compare(a.IP, b.IP))
	})
	return r
}

// readyTimeout is how long a replica may take to become ready: the larger of 60 s
// and what its health check needs, whose first probe comes after one interval.
func readyTimeout(check *container.HealthConfig) time.Duration {
	const least = 60 * time.Second
	if check == nil {
		return least
	}
	// Docker's own defaults, for what the image or service left out.
	interval, timeout, retries := cmp.Or(check.Interval, 30*time.Second), cmp.Or(check.Timeout, 30*time.Second), cmp.Or(check.Retries, 3)
	return max(least, check.StartPeriod+time.Duration(retries+1)*(interval+timeout))
}

// readTime reads a time of the Engine API; the zero time stands for never.
func readTime(text string) time.Time {
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil || t.Year() < 2 {
		return time.Time{}
	}
	return t
}

// ErrGone means that a container is no longer there.
var ErrGone = errors.New("the container is gone")

// Look observes one container.
func (e *Engine) Look(ctx context.Context, id string) (Replica, error) {
	if err := e.negotiate(ctx); err != nil {
		return Replica{}, explain(err)
	}
	c, err := e.api.ContainerInspect(ctx, id)
	if isNotFound(err) {
		return Replica{}, ErrGone
	}
	if err != nil {
		return Replica{}, explain(err)
	}
	return readReplica(c), nil
}

// SpecOf returns what a container is made from.
func (e *Engine) SpecOf(ctx context.Context, id string) (*Spec, error) {
	if err := e.negotiate(ctx); err != nil {
		return nil, explain(err)
	}
	c, err := e.api.ContainerInspect(ctx, id)
	if err != nil {
		return nil, explain(err)
	}
	return newSpec(c), nil
}
