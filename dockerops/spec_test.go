package dockerops

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/mount"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/go-connections/nat"
)

const (
	siblingID = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	anonymous = "fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210"
)

// sibling is what the engine says of tvs-webapp-2, as compose 2.26 made it.
func sibling() container.InspectResponse {
	return container.InspectResponse{
		ContainerJSONBase: &container.ContainerJSONBase{
			ID: siblingID, Name: "/tvs-webapp-2", Image: "sha256:aaa", Created: "2026-01-02T03:04:05.6Z",
			State: &container.State{Status: "running", StartedAt: "2026-01-02T03:04:06Z", FinishedAt: "0001-01-01T00:00:00Z"},
			HostConfig: &container.HostConfig{NetworkMode: "tvs_front",
				Binds: []string{"tvs_data:/data:rw", anonymous + ":/cache:rw", "/srv/pages:/pages:ro"},
				Mounts: []mount.Mount{{Type: mount.TypeVolume, Source: anonymous, Target: "/tmp/a"},
					{Type: mount.TypeVolume, Source: "tvs_shared", Target: "/tmp/b"},
					{Type: mount.TypeBind, Source: "/srv", Target: "/tmp/c"}}},
		},
		Config: &container.Config{Hostname: siblingID[:12], Image: "tvs-webapp", MacAddress: "02:42:ac:11:00:02", Env: []string{"A=1"},
			Labels: map[string]string{labelProject: "tvs", labelService: "webapp", labelNumber: "2", labelOneOff: "False",
				labelConfigHash: "hash", labelReplace: "oldest", "mine": "kept"}},
		NetworkSettings: &container.NetworkSettings{Networks: map[string]*network.EndpointSettings{
			"tvs_front": {Aliases: []string{"tvs-webapp-2", "webapp", siblingID[:12], "www"}, IPAddress: "172.20.0.5",
				NetworkID: "net", EndpointID: "end", MacAddress: "02:42:ac:11:00:02", DNSNames: []string{"x"},
				DriverOpts: map[string]string{"o": "v"}, GwPriority: 3, Links: []string{"db:db"}},
			"tvs_back": {Aliases: []string{"webapp"}, IPAMConfig: &network.EndpointIPAMConfig{}},
			"gone":     nil,
		}},
	}
}

func asJSON(t *testing.T, value any) string {
	t.Helper()
	text, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestRequestMakesASibling(t *testing.T) {
	original := sibling()
	r := newSpec(original).request(7, "tvs-webapp")
	if r.config.Hostname != "" || r.config.MacAddress != "" || r.config.Image != "tvs-webapp" || !slices.Equal(r.config.Env, []string{"A=1"}) {
		t.Errorf("config %+v", r.config)
	}
	labels := map[string]string{labelProject: "tvs", labelService: "webapp", labelNumber: "7", labelOneOff: "False", labelConfigHash: "hash", "mine": "kept"}
	if !reflect.DeepEqual(r.config.Labels, labels) {
		t.Errorf("labels %v", r.config.Labels)
	}
	if want := []string{"tvs_data:/data:rw", "/srv/pages:/pages:ro"}; !slices.Equal(r.host.Binds, want) {
		t.Errorf("binds %v", r.host.Binds)
	}
	if m := r.host.Mounts; len(m) != 3 || m[0].Source != "" || m[0].Target != "/tmp/a" || m[1].Source != "tvs_shared" || m[2].Source != "/srv" {
		t.Errorf("mounts %v", m)
	}
	want := map[string]*network.EndpointSettings{
		"tvs_front": {Aliases: []string{"tvs-webapp-7", "webapp", "www"}, DriverOpts: map[string]string{"o": "v"}, GwPriority: 3, Links: []string{"db:db"}},
		"tvs_back":  {Aliases: []string{"tvs-webapp-7", "webapp"}, IPAMConfig: &network.EndpointIPAMConfig{}},
	}
	if got, want := asJSON(t, r.networks), asJSON(t, want); got != want {
		t.Errorf("networks %s\nwant %s", got, want)
	}
	if !reflect.DeepEqual(original, sibling()) {
		t.Error("the inspected container was changed")
	}
}

func TestRequestsAreIndependent(t *testing.T) {
	spec := newSpec(sibling())
	first, second := spec.request(3, "x"), spec.request(4, "x")
	if first.config.Labels[labelNumber] != "3" || first.networks["tvs_front"].Aliases[0] != "tvs-webapp-3" || second.networks["tvs_back"].Aliases[0] != "tvs-webapp-4" {
		t.Error("one request changed the other")
	}
	if _, has := spec.Config.Labels[labelNumber]; has || spec.Config.Image != "tvs-webapp" {
		t.Error("a request changed the spec")
	}
}

func TestSpecSurvivesJSON(t *testing.T) {
	c := sibling()
	c.HostConfig.PortBindings = nat.PortMap{"80/tcp": {{HostPort: "8080-8090"}}}
	spec := newSpec(c)
	var again Spec
	if err := json.Unmarshal([]byte(asJSON(t, spec)), &again); err != nil {
		t.Fatal(err)
	}
	was, is := spec.request(9, "i"), again.request(9, "i")
	for _, pair := range [][2]any{{was.config, is.config}, {was.host, is.host}, {was.networks, is.networks}} {
		if before, after := asJSON(t, pair[0]), asJSON(t, pair[1]); before != after {
			t.Errorf("got\n%s\nwant\n%s", after, before)
		}
	}
	if again.ImageID != "sha256:aaa" || again.Unscalable() != "" || again.ReplicaName(9) != "tvs-webapp-9" {
		t.Errorf("got %+v", again)
	}
}

func TestSpecNames(t *testing.T) {
	for _, c := range []struct{ name, hostname, separator, next, nextHostname string }{
		{"/tvs-webapp-2", siblingID[:12], "-", "tvs-webapp-9", ""},
		{"/tvs_webapp_2", "front", "_", "tvs_webapp_9", "front"},
		{"/special", siblingID[:12], "", "", ""},
		{"/tvs-webapp-3", siblingID[:12], "", "", ""}, // renamed: not the name of its number
	} {
		inspected := sibling()
		inspected.Name, inspected.Config.Hostname = c.name, c.hostname
		spec := newSpec(inspected)
		if spec.Separator != c.separator || spec.Config.Hostname != c.nextHostname {
			t.Errorf("%s: separator %q, hostname %q", c.name, spec.Separator, spec.Config.Hostname)
		}
		if c.separator != "" && spec.ReplicaName(9) != c.next {
			t.Errorf("%s: the next is %s", c.name, spec.ReplicaName(9))
		}
		if c.separator == "" && spec.Unscalable() != "container_name is set" {
			t.Errorf("%s: %q", c.name, spec.Unscalable())
		}
	}
}

func TestSpecNetworkModes(t *testing.T) {
	for mode, aliases := range map[container.NetworkMode]int{"host": 0, "none": 0, "tvs_front": 1} {
		c := sibling()
		c.HostConfig.NetworkMode = mode
		c.NetworkSettings.Networks = map[string]*network.EndpointSettings{string(mode): {}}
		if got := newSpec(c).request(3, "x").networks[string(mode)].Aliases; len(got) != aliases {
			t.Errorf("%s: aliases %v", mode, got)
		}
	}
	c := sibling()
	c.HostConfig.NetworkMode, c.NetworkSettings = "container:abc", nil
	c.Config.Hostname, c.Config.ExposedPorts = "other", nat.PortSet{"80/tcp": {}}
	r := newSpec(c).request(3, "x")
	if len(r.networks) != 0 || r.config.Hostname != "" || len(r.config.ExposedPorts) != 0 {
		t.Errorf("container: %v %+v", r.networks, r.config)
	}
}

func TestUnscalable(t *testing.T) {
	for want, change := range map[string]func(*container.InspectResponse){
		"": func(c *container.InspectResponse) {
			c.HostConfig.PortBindings = nat.PortMap{"80/tcp": {{HostPort: "8080-8090"}, {HostPort: ""}, {HostPort: "0"}}}
		},
		"port 80/tcp is published on the fixed host port 8080": func(c *container.InspectResponse) {
			c.HostConfig.PortBindings = nat.PortMap{"80/tcp": {{HostPort: "0"}, {HostPort: "8080"}}}
		},
		"it has the static address 172.20.0.9 on network tvs_back": func(c *container.InspectResponse) {
			c.NetworkSettings.Networks["tvs_back"].IPAMConfig.IPv4Address = "172.20.0.9"
		},
		"it has the static address fd00::9 on network tvs_back": func(c *container.InspectResponse) {
			c.NetworkSettings.Networks["tvs_back"].IPAMConfig.IPv6Address = "fd00::9"
		},
	} {
		c := sibling()
		change(&c)
		if got := newSpec(c).Unscalable(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestSpecWithoutLabels(t *testing.T) {
	c := sibling()
	c.Config.Labels, c.ID = nil, "short"
	if spec := newSpec(c); spec.Config.Labels == nil || spec.Hash() != "" || !strings.Contains(spec.Unscalable(), "container_name") {
		t.Errorf("%+v", spec)
	}
}
