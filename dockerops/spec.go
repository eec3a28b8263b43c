package dockerops

import (
	"context"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/mount"
	"github.com/docker/docker/api/types/network"

	"tvsctl/fault"
)

// Spec is what a replica is created from: a sibling's configuration without
// what belongs to that one container. It is kept as JSON in the daemon's state.
type Spec struct {
	Project string `json:"project"`
	Service string `json:"service"`
	// Separator stands between the parts of the name: "-", or "_" with
	// COMPOSE_COMPATIBILITY. Empty: the service sets container_name.
	Separator  string                               `json:"separator"`
	Config     *container.Config                    `json:"config"`
	HostConfig *container.HostConfig                `json:"host_config"`
	Networks   map[string]*network.EndpointSettings `json:"networks"`
	ImageID    string                               `json:"image_id"`
}

// anonymousVolume is how Docker names a volume that nobody named.
var anonymousVolume = regexp.MustCompile(`^[0-9a-f]{64}$`)

// newSpec takes the create spec from a container. What it drops and why follows
// what compose puts into a create request (docker/compose pkg/compose/create.go).
func newSpec(c container.InspectResponse) *Spec {
	config, host := *c.Config, *c.HostConfig
	name, shortID := strings.TrimPrefix(c.Name, "/"), c.ID[:min(12, len(c.ID))]

	config.Labels = maps.Clone(config.Labels)
	if config.Labels == nil {
		config.Labels = map[string]string{}
	}
	number := config.Labels[labelNumber]
	delete(config.Labels, labelReplace)
	delete(config.Labels, labelNumber)
	if config.Hostname == shortID {
		config.Hostname = ""
	}
	if host.NetworkMode.IsContainer() {
		// The engine filled these in, and refuses to be given them.
		config.Hostname, config.Domainname, config.ExposedPorts = "", "", nil
	}
	config.MacAddress = ""
	host.Mounts = withoutAnonymous(host.Mounts)
	host.Binds = slices.DeleteFunc(slices.Clone(host.Binds), func(bind string) bool {
		source, _, _ := strings.Cut(bind, ":")
		return anonymousVolume.MatchString(source)
	})

	spec := &Spec{
		Project: config.Labels[labelProject], Service: config.Labels[labelService],
		Config: &config, HostConfig: &host, ImageID: c.Image,
		Networks: map[string]*network.EndpointSettings{},
	}
	for _, separator := range []string{"-", "_"} {
		if name == strings.Join([]string{spec.Project, spec.Service, number}, separator) {
			spec.Separator = separator
		}
	}
	if c.NetworkSettings == nil {
		return spec
	}
	for net, endpoint := range c.NetworkSettings.Networks {
		if endpoint == nil {
			continue
		}
		// The operational part is the sibling's own; so are the aliases that are its name and id.
		spec.Networks[net] = &network.EndpointSettings{
			IPAMConfig: endpoint.IPAMConfig, Links: endpoint.Links,
			DriverOpts: endpoint.DriverOpts, GwPriority: endpoint.GwPriority,
			Aliases: slices.DeleteFunc(slices.Clone(endpoint.Aliases), func(alias string) bool {
				return alias == name || alias == shortID
			}),
		}
	}
	return spec
}

// withoutAnonymous turns mounts of a sibling's anonymous volumes into new ones.
func withoutAnonymous(mounts []mount.Mount) []mount.Mount {
	mounts = slices.Clone(mounts)
	for i := range mounts {
		if mounts[i].Type == mount.TypeVolume && anonymousVolume.MatchString(mounts[i].Source) {
			mounts[i].Source = ""
		}
	}
	return mounts
}

// ReplicaName returns the name that compose gives the replica of that number.
func (s *Spec) ReplicaName(number int) string {
	return strings.Join([]string{s.Project, s.Service, strconv.Itoa(number)}, s.Separator)
}

// Hash is compose's hash of the service's configuration.
func (s *Spec) Hash() string { return s.Config.Labels[labelConfigHash] }

// Unscalable returns why there cannot be a second replica of the service, or "".
func (s *Spec) Unscalable() string {
	if s.Separator == "" {
		return "container_name is set"
	}
	for port, bindings := range s.HostConfig.PortBindings {
		for _, b := range bindings {
			if b.HostPort != "" && b.HostPort != "0" && !strings.Contains(b.HostPort, "-") {
				return fmt.Sprintf("port %s is published on the fixed host port %s", port, b.HostPort)
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(s.Networks)) {
		if ipam := s.Networks[name].IPAMConfig; ipam != nil && (ipam.IPv4Address != "" || ipam.IPv6Address != "") {
			return fmt.Sprintf("it has the static address %s%s on network %s", ipam.IPv4Address, ipam.IPv6Address, name)
		}
	}
	return ""
}

// writes returns a volume or directory of the host that the replicas write to, or "".
func (s *Spec) writes() string {
	for _, m := range s.HostConfig.Mounts {
		if !m.ReadOnly && m.Source != "" && (m.Type == mount.TypeVolume || m.Type == mount.TypeBind) {
			return m.Source
		}
	}
	for _, bind := range s.HostConfig.Binds {
		parts := strings.Split(bind, ":")
		if len(parts) > 1 && !slices.Contains(strings.Split(parts[len(parts)-1], ","), "ro") {
			return parts[0]
		}
	}
	return ""
}

// request is one call to create a container.
type request struct {
	config   *container.Config
	host     *container.HostConfig
	networks map[string]*network.EndpointSettings
}

// request makes the create call of the replica with that number. image is the
// reference to create from.
func (s *Spec) request(number int, image string) request {
	config := *s.Config
	config.Image = image
	config.Labels = maps.Clone(s.Config.Labels)
	config.Labels[labelNumber] = strconv.Itoa(number)
	networks := map[string]*network.EndpointSettings{}
	for name, endpoint := range s.Networks {
		own := endpoint.Copy()
		if !s.HostConfig.NetworkMode.IsHost() && !s.HostConfig.NetworkMode.IsNone() {
			own.Aliases = append([]string{s.ReplicaName(number)}, own.Aliases...)
		}
		networks[name] = own
	}
	host := *s.HostConfig // the client writes into it
	return request{config: &config, host: &host, networks: networks}
}

// imageRef returns the image's name while it still means the sibling's image:
// compose ps shows a bare id otherwise, and a moved tag must not slip in.
func (e *Engine) imageRef(ctx context.Context, s *Spec) (string, error) {
	named, err := e.api.ImageInspect(ctx, s.Config.Image)
	switch {
	case err == nil && named.ID == s.ImageID:
		return s.Config.Image, nil
	case err != nil && !isNotFound(err):
		return "", explain(err)
	}
	return s.ImageID, nil
}

// create makes the replica of that number and returns its id, also when it could
// then not be connected to all its networks.
func (e *Engine) create(ctx context.Context, s *Spec, number int, image string) (string, error) {
	r := s.request(number, image)
	first, later := r.networks, map[string]*network.EndpointSettings(nil)
	if !e.atLeast("1.44") && len(r.networks) > 1 {
		primary := string(r.host.NetworkMode)
		if r.networks[primary] == nil {
			primary = slices.Sorted(maps.Keys(r.networks))[0]
		}
		first = map[string]*network.EndpointSettings{primary: r.networks[primary]}
		later = maps.Clone(r.networks)
		delete(later, primary)
	}
	name := s.ReplicaName(number)
	var made container.CreateResponse
	err := fault.Do("docker create", func() (err error) {
		made, err = e.api.ContainerCreate(ctx, r.config, r.host, &network.NetworkingConfig{EndpointsConfig: first}, nil, name)
		return err
	})
	if err != nil {
		return made.ID, explain(err)
	}
	for _, net := range slices.Sorted(maps.Keys(later)) {
		err := fault.Do("docker connect", func() error { return e.api.NetworkConnect(ctx, net, made.ID, later[net]) })
		if err != nil {
			return made.ID, explain(err)
		}
	}
	return made.ID, nil
}
