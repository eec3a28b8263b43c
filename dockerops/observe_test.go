package dockerops

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/go-connections/nat"
)

func inspected(service string, number int, created string, labels map[string]string) container.InspectResponse {
	c := sibling()
	c.ID = fmt.Sprintf("%s%d%s", service, number, siblingID)
	c.Name = fmt.Sprintf("/tvs-%s-%d", service, number)
	c.Created = created
	c.Config.Labels = map[string]string{labelProject: "tvs", labelService: service, labelNumber: fmt.Sprint(number), labelConfigHash: created}
	for key, value := range labels {
		c.Config.Labels[key] = value
	}
	return c
}

func TestAssemble(t *testing.T) {
	p := assemble("tvs", []container.InspectResponse{
		inspected("webapp", 10, "2026-01-02T00:00:05.12Z", nil),
		inspected("webapp", 2, "2026-01-02T00:00:05.1Z", nil), // as text it is later than .12Z
		inspected("entry", 1, "2026-01-01T00:00:00Z", map[string]string{labelNginx: "webapp:8080,api:3000", labelDependsOn: "webapp:service_started:false", labelConfigFiles: "/srv/a.yaml"}),
	}, map[string]*Spec{"api": newSpec(inspected("api", 1, "", nil)), "webapp": {}, "nothing": nil})

	if got := []string{p.Services[0].Name, p.Services[1].Name, p.Services[2].Name}; len(p.Services) != 3 || !slices.Equal(got, []string{"api", "entry", "webapp"}) {
		t.Fatalf("services %v", got)
	}
	webapp := p.Service("webapp")
	if webapp.Replicas[0].Number != 2 || webapp.Replicas[1].Number != 10 {
		t.Errorf("replicas %v", webapp.Replicas)
	}
	if webapp.Spec.Hash() != "2026-01-02T00:00:05.12Z" {
		t.Errorf("the spec is that of %s", webapp.Spec.Hash())
	}
	if api := p.Service("api"); len(api.Replicas) != 0 || api.Spec.ReplicaName(1) != "tvs-api-1" {
		t.Errorf("api %+v", api)
	}
	if want := map[string]Backend{"webapp": {"webapp", 8080}, "api": {"api", 3000}}; !reflect.DeepEqual(p.Backends, want) {
		t.Errorf("backends %v", p.Backends)
	}
	if !slices.Equal(p.Files.Compose, []string{"/srv/a.yaml"}) || !slices.Equal(p.Service("entry").DependsOn, []string{"webapp"}) {
		t.Errorf("files %+v, entry %+v", p.Files, p.Service("entry"))
	}
	if !slices.Equal(p.ServiceNames(), []string{"api", "webapp"}) || p.Service("nothing") != nil || p.Empty() {
		t.Errorf("names %v", p.ServiceNames())
	}
}

func TestAssembleNothingBringsNothingBack(t *testing.T) {
	p := assemble("tvs", nil, map[string]*Spec{"webapp": newSpec(sibling())})
	if len(p.Services) != 0 || !p.Empty() {
		t.Errorf("services %v", p.Services)
	}
}

func TestReadFiles(t *testing.T) {
	got := readFiles(map[string]string{labelWorkingDir: "/srv/tvs", labelConfigFiles: "/srv/tvs/a.yaml,/srv/tvs/b.yaml", labelEnvFile: "/srv/.env"})
	if want := (Files{Directory: "/srv/tvs", Compose: []string{"/srv/tvs/a.yaml", "/srv/tvs/b.yaml"}, Env: []string{"/srv/.env"}}); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v", got)
	}
	if got := readFiles(nil); got.Compose != nil || got.Env != nil {
		t.Errorf("without labels %+v", got)
	}
}

func TestReadDependencies(t *testing.T) {
	for label, want := range map[string][]string{
		"": nil,
		"storage:service_started:false,cache:service_healthy:true": {"cache", "storage"},
		"migrate:service_completed_successfully:false,storage":     {"storage"},
	} {
		if got := readDependencies(label); !slices.Equal(got, want) {
			t.Errorf("%q: %v", label, got)
		}
	}
}

func TestReadReplica(t *testing.T) {
	c := sibling()
	c.State.Health = &container.Health{Status: "starting"}
	c.HostConfig.RestartPolicy.Name = "always"
	c.NetworkSettings.Ports = nat.PortMap{"80/tcp": {{HostIP: "::", HostPort: "2024"}, {HostIP: "0.0.0.0", HostPort: "2024"}},
		"53/udp": {{HostPort: "53"}}, "443/tcp": nil}
	r := readReplica(c)
	want := Replica{ID: siblingID, Name: "tvs-webapp-2", Number: 2, State: "running", Health: "starting", Restarts: true,
		Created: time.Date(2026, 1, 2, 3, 4, 5, 6e8, time.UTC), Started: time.Date(2026, 1, 2, 3, 4, 6, 0, time.UTC),
		Image: "tvs-webapp", ImageID: "sha256:aaa", Hostname: siblingID[:12], ConfigHash: "hash",
		HostPorts: []HostPort{{"0.0.0.0", 2024, 80}, {"::", 2024, 80}},
		Networks:  map[string]string{"tvs_front": "172.20.0.5", "tvs_back": "", "gone": ""}, ReadyTimeout: time.Minute}
	if !reflect.DeepEqual(r, want) {
		t.Errorf("got  %+v\nwant %+v", r, want)
	}
	c.State.Status, c.State.Health.Status, c.HostConfig.RestartPolicy.Name = "exited", "none", "no"
	if r := readReplica(c); r.Networks["tvs_front"] != "" || r.HostPorts != nil || r.Health != "" || r.Restarts {
		t.Errorf("stopped: %+v", r)
	}
}

func TestReadyTimeout(t *testing.T) {
	for _, c := range []struct {
		check *container.HealthConfig
		want  time.Duration
	}{
		{nil, time.Minute},
		{&container.HealthConfig{Interval: time.Second, Timeout: time.Second, Retries: 1}, time.Minute},
		{&container.HealthConfig{}, 4 * time.Minute}, // Docker's defaults: 30 s, 30 s, 3 times
		{&container.HealthConfig{StartPeriod: time.Minute, Interval: 10 * time.Second, Timeout: 5 * time.Second, Retries: 2}, 105 * time.Second},
	} {
		if got := readyTimeout(c.check); got != c.want {
			t.Errorf("%+v: %v, want %v", c.check, got, c.want)
		}
	}
}

func TestAddress(t *testing.T) {
	r := Replica{Networks: map[string]string{"back": "10.0.0.2", "front": "10.1.0.2", "none": ""}}
	on := func(names ...string) Replica {
		peer := Replica{Networks: map[string]string{}}
		for _, name := range names {
			peer.Networks[name] = "10.9.9.9"
		}
		return peer
	}
	for _, c := range []struct {
		name  string
		peers []Replica
		want  string
	}{
		{"no peers", nil, "10.0.0.2"},
		{"on the shared one", []Replica{on("front")}, "10.1.0.2"},
		{"of the second peer", []Replica{on("other"), on("front")}, "10.1.0.2"},
		{"nothing shared", []Replica{on("other")}, ""},
		{"shared and without an address", []Replica{on("none")}, ""},
		{"from the host's network", []Replica{{HostNetwork: true}}, "10.0.0.2"},
	} {
		if got := r.Address(c.peers); got != c.want {
			t.Errorf("%s: %q", c.name, got)
		}
	}
	// To an nginx on another network 127.0.0.1 is itself.
	host := &Replica{HostNetwork: true}
	for want, peers := range map[string][]Replica{"": {on("front")}, "127.0.0.1": {{HostNetwork: true}}} {
		if got := host.Address(peers); got != want {
			t.Errorf("on the host's network, from %v: %q", peers, got)
		}
	}
	if got := host.Address(nil); got != "127.0.0.1" {
		t.Errorf("on the host's network: %q", got)
	}
}

func TestProbe(t *testing.T) {
	stopped := sibling()
	stopped.State.Status = "exited"
	nginx := service("entry").balancing("webapp")
	nginx.Replicas = []Replica{readReplica(stopped)}
	p := project(nginx, service("webapp", "1"))
	if probe := p.Probe("webapp"); probe.Port != 8080 || len(probe.Peers) != 1 {
		t.Errorf("%+v", probe)
	}
	webapp := Replica{Networks: map[string]string{"a": "10.0.0.2", "tvs_front": "10.1.0.2"}}
	if got := webapp.Address(p.Probe("webapp").Peers); got != "10.1.0.2" {
		t.Errorf("with its nginx stopped a replica is looked for at %q", got)
	}
	if probe := p.Probe("other"); probe.Port != 0 {
		t.Errorf("unbalanced: %+v", probe)
	}
}

func TestCheck(t *testing.T) {
	limited := service("webapp", "1", "2")
	limited.Settings.Min, limited.Settings.Max = 2, 4
	fixed := service("fixed", "1")
	fixed.Spec.HostConfig.PortBindings = nat.PortMap{"80/tcp": {{HostPort: "80"}}}
	named := service("named")
	named.Spec.Separator = ""
	static := service("static", "1")
	static.Spec.Networks = map[string]*network.EndpointSettings{"n": {IPAMConfig: &network.EndpointIPAMConfig{IPv4Address: "10.0.0.9"}}}
	p := project(service("entry", "1").balancing("webapp"), fixed, service("free", "1"), limited, named, service("pair", "1", "2").balancing("free"), static)
	for _, c := range []struct {
		service string
		goal    Goal
		reason  Reason
		text    string
	}{
		{"free", Goal{3, true}, 0, ""},
		{"free", Goal{10, true}, 0, ""},
		{"free", Goal{0, true}, 0, ""},
		{"free", Goal{11, true}, OutOfRange, "11 is not a number of replicas from 0 to 10"},
		{"free", Goal{-1, true}, OutOfRange, "-1 is not a number of replicas from 0 to 10"},
		{"webapp", Goal{4, true}, 0, ""},
		{"webapp", Goal{0, true}, 0, ""},
		{"webapp", Goal{-1, true}, OutOfRange, "-1 is not a number of replicas from 0 to 4"},
		{"webapp", Goal{5, true}, OutOfRange, "5 is above its tvs.scale.max of 4"},
		{"webapp", Goal{1, true}, OutOfRange, "1 is below its tvs.scale.min of 2"},
		{"unknown", Goal{1, true}, UnknownService, "project tvs has no such service"},
		{"entry", Goal{2, true}, NotScalable, "it is the nginx of the project"},
		{"entry", Goal{0, true}, NotScalable, "it is the nginx of the project"},
		{"entry", Goal{1, true}, 0, ""},
		{"pair", Goal{2, true}, 0, ""}, // a restore starts as many as there are
		{"fixed", Goal{2, true}, NotScalable, "port 80/tcp is published on the fixed host port 80"},
		{"fixed", Goal{1, true}, 0, ""},
		{"static", Goal{2, true}, NotScalable, "it has the static address 10.0.0.9 on network n"},
		{"named", Goal{1, true}, NotScalable, "container_name is set"},
		{"named", Goal{0, true}, 0, ""},
	} {
		err := Check(p, map[string]Goal{c.service: c.goal}, 10)
		refused, _ := err.(*RefusedError)
		if c.reason == 0 && err != nil || c.reason != 0 && (refused == nil || refused.Reason != c.reason || err.Error() != "cannot scale "+c.service+": "+c.text) {
			t.Errorf("%s %v: %v", c.service, c.goal, err)
		}
	}
}

func TestCheckLetsStopWhatIsThere(t *testing.T) {
	for _, replicas := range [][]string{{"1"}, {"1", "2", "3", "4", "5"}} {
		s := service("webapp", replicas...)
		s.Settings.Min, s.Settings.Max = 2, 4
		if err := Check(project(entry, s), map[string]Goal{"webapp": {Count: len(replicas)}}, 10); err != nil {
			t.Errorf("%d replicas: %v", len(replicas), err)
		}
	}
}

func TestTwoNginxWithTwoPorts(t *testing.T) {
	const created = "2026-01-01T00:00:00Z"
	p := assemble("tvs", []container.InspectResponse{
		inspected("a", 1, created, map[string]string{labelNginx: "webapp:8080"}),
		inspected("b", 1, created, map[string]string{labelNginx: "webapp:9090"}),
	}, nil)
	if got := p.Service("b").Settings.Problems; len(got) != 1 || !strings.HasPrefix(got[0], "another nginx has port 8080 of webapp, and this one 9090") {
		t.Errorf("%q", got)
	}
}
