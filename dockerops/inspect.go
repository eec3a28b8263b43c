package dockerops

import (
	"cmp"
	"context"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/docker/docker/api/types/container"
)

// Details are what the engine knows of one container.
type Details struct {
	Replica
	Pid           int // 0 while it does not run
	RestartCount  int // by its restart policy
	RestartPolicy string
	OOMKilled     bool
	Storage       Storage
	Endpoints     []Endpoint
	Mounts        []Mount
	Checks        []HealthCheck // the last ones, oldest first
}

// Storage is where a container's files are on the host.
type Storage struct {
	Driver string
	// Lower are the layers of the image, the uppermost first; Upper holds what the container
	// wrote. They are empty with a driver that has no such directories.
	Lower               []string
	Upper, Work, Merged string
	// Written is the size of what the container wrote, Size with its image, in bytes.
	Written, Size int64
}

// Endpoint is a container's place in a network.
type Endpoint struct {
	Network           string
	Address, Address6 string // with the length of the prefix; empty while it does not run
	Gateway, MAC      string
	Aliases           []string
}

// Mount is a directory or file that comes from elsewhere.
type Mount struct {
	Type   string // bind, volume, tmpfs, …
	Name   string // of a volume
	Source string // on the host
	Target string
	Write  bool
}

// HealthCheck is one run of a health check.
type HealthCheck struct {
	Start, End time.Time
	ExitCode   int
	Output     string
}

// Inspect returns all that the engine knows of a container. It measures what was
// written, which takes long where that are many files.
func (e *Engine) Inspect(ctx context.Context, id string) (Details, error) {
	if err := e.negotiate(ctx); err != nil {
		return Details{}, explain(err)
	}
	c, _, err := e.api.ContainerInspectWithRaw(ctx, id, true)
	if isNotFound(err) {
		return Details{}, ErrGone
	}
	if err != nil {
		return Details{}, explain(err)
	}
	d := Details{Replica: readReplica(c), Pid: c.State.Pid, RestartCount: c.RestartCount, OOMKilled: c.State.OOMKilled,
		RestartPolicy: string(cmp.Or(c.HostConfig.RestartPolicy.Name, container.RestartPolicyDisabled)), Storage: readStorage(c)}
	for name, endpoint := range c.NetworkSettings.Networks {
		if endpoint == nil {
			continue
		}
		d.Endpoints = append(d.Endpoints, Endpoint{Network: name, Gateway: endpoint.Gateway, MAC: endpoint.MacAddress, Aliases: endpoint.Aliases,
			Address: prefix(endpoint.IPAddress, endpoint.IPPrefixLen), Address6: prefix(endpoint.GlobalIPv6Address, endpoint.GlobalIPv6PrefixLen)})
	}
	slices.SortFunc(d.Endpoints, func(a, b Endpoint) int { return cmp.Compare(a.Network, b.Network) })
	for _, m := range c.Mounts {
		d.Mounts = append(d.Mounts, Mount{Type: string(m.Type), Name: m.Name, Source: m.Source, Target: m.Destination, Write: m.RW})
	}
	slices.SortFunc(d.Mounts, func(a, b Mount) int { return cmp.Compare(a.Target, b.Target) })
	if c.State.Health != nil {
		for _, check := range c.State.Health.Log {
			d.Checks = append(d.Checks, HealthCheck{Start: check.Start, End: check.End, ExitCode: check.ExitCode, Output: check.Output})
		}
	}
	return d, nil
}

func readStorage(c container.InspectResponse) Storage {
	s := Storage{Driver: c.GraphDriver.Name, Upper: c.GraphDriver.Data["UpperDir"], Work: c.GraphDriver.Data["WorkDir"], Merged: c.GraphDriver.Data["MergedDir"]}
	if lower := c.GraphDriver.Data["LowerDir"]; lower != "" {
		s.Lower = strings.Split(lower, ":")
	}
	if c.SizeRw != nil {
		s.Written = *c.SizeRw
	}
	if c.SizeRootFs != nil {
		s.Size = *c.SizeRootFs
	}
	return s
}

// prefix joins an address and the length of its prefix; it returns "" where there is none.
func prefix(address string, bits int) string {
	a, err := netip.ParseAddr(address)
	if err != nil {
		return ""
	}
	return netip.PrefixFrom(a, bits).String()
}
