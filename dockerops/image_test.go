package dockerops

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/strslice"
	"github.com/docker/go-connections/nat"
)

// What a container has of its image goes; what the service set stays.
func TestSubtract(t *testing.T) {
	type config = container.Config
	check := func(test string, interval, timeout, start, between time.Duration, retries int) *container.HealthConfig {
		c := &container.HealthConfig{Interval: interval, Timeout: timeout, StartPeriod: start, StartInterval: between, Retries: retries}
		if test != "" {
			c.Test = strings.Fields(test)
		}
		return c
	}
	argv := func(words ...string) strslice.StrSlice { return words }
	for _, c := range []struct {
		name              string
		config, old, want config
	}{
		{"environment, by entry", config{Env: []string{"PATH=/bin", "MODE=fast", "MINE=1", "EMPTY="}}, config{Env: []string{"PATH=/bin", "MODE=slow"}},
			config{Env: []string{"MODE=fast", "MINE=1", "EMPTY="}}},
		{"labels, by value, and none of compose's", config{Labels: map[string]string{"vendor": "a", "tvs.drain": "9s", "mine": "x", labelService: "webapp"}},
			config{Labels: map[string]string{"vendor": "a", "tvs.drain": "30s", labelService: "webapp", "gone": "x"}},
			config{Labels: map[string]string{"tvs.drain": "9s", "mine": "x", labelService: "webapp"}}},
		{"ports and volumes", config{ExposedPorts: nat.PortSet{"80/tcp": {}, "81/tcp": {}}, Volumes: map[string]struct{}{"/data": {}, "/mine": {}}},
			config{ExposedPorts: nat.PortSet{"80/tcp": {}}, Volumes: map[string]struct{}{"/data": {}}},
			config{ExposedPorts: nat.PortSet{"81/tcp": {}}, Volumes: map[string]struct{}{"/mine": {}}}},
		{"user, directory and signal", config{User: "app", WorkingDir: "/app", StopSignal: "SIGQUIT"}, config{User: "app", WorkingDir: "/app", StopSignal: "SIGQUIT"}, config{}},
		{"the service's own", config{User: "me", WorkingDir: "/me", StopSignal: "SIGINT"}, config{User: "app", WorkingDir: "/app", StopSignal: "SIGQUIT"},
			config{User: "me", WorkingDir: "/me", StopSignal: "SIGINT"}},
		{"what the image lacks", config{User: "me", Env: []string{"A=1"}, Cmd: argv("x")}, config{}, config{User: "me", Env: []string{"A=1"}, Cmd: argv("x")}},
		{"entrypoint and command of the image", config{Entrypoint: argv("/start"), Cmd: argv("serve")}, config{Entrypoint: argv("/start"), Cmd: argv("serve")}, config{}},
		{"a command of the service", config{Entrypoint: argv("/start"), Cmd: argv("work")}, config{Entrypoint: argv("/start"), Cmd: argv("serve")}, config{Cmd: argv("work")}},
		{"a command alone", config{Cmd: argv("serve")}, config{Cmd: argv("serve")}, config{}},
		{"an entrypoint of the service keeps its command, whatever the image's is", config{Entrypoint: argv("/mine"), Cmd: argv("serve")},
			config{Entrypoint: argv("/start"), Cmd: argv("serve")}, config{Entrypoint: argv("/mine"), Cmd: argv("serve")}},
		{"an entrypoint of the service without a command", config{Entrypoint: argv("/mine")}, config{Entrypoint: argv("/start"), Cmd: argv("serve")}, config{Entrypoint: argv("/mine")}},
		{"the image's entrypoint, but not its command", config{Entrypoint: argv("/start")}, config{Entrypoint: argv("/start"), Cmd: argv("serve")}, config{Entrypoint: argv("/start")}},
		{"an entrypoint that the service takes away", config{Entrypoint: strslice.StrSlice{}, Cmd: argv("serve")}, config{Entrypoint: argv("/start"), Cmd: argv("serve")}, config{Entrypoint: strslice.StrSlice{}}},
		{"the image's health check", config{Healthcheck: check("CMD a", 1, 2, 3, 4, 5)}, config{Healthcheck: check("CMD a", 1, 2, 3, 4, 5)}, config{}},
		{"the test of the service", config{Healthcheck: check("CMD b", 1, 2, 3, 4, 5)}, config{Healthcheck: check("CMD a", 1, 2, 3, 4, 5)}, config{Healthcheck: check("CMD b", 0, 0, 0, 0, 0)}},
		{"times of the service", config{Healthcheck: check("CMD a", 9, 2, 8, 4, 7)}, config{Healthcheck: check("CMD a", 1, 2, 3, 4, 5)}, config{Healthcheck: check("", 9, 0, 8, 0, 7)}},
		{"other times of the service", config{Healthcheck: check("CMD a", 1, 9, 3, 8, 5)}, config{Healthcheck: check("CMD a", 1, 2, 3, 4, 5)}, config{Healthcheck: check("", 0, 9, 0, 8, 0)}},
		{"switched off by the service", config{Healthcheck: check("NONE", 0, 0, 0, 0, 0)}, config{Healthcheck: check("CMD a", 0, 0, 0, 0, 0)}, config{Healthcheck: check("NONE", 0, 0, 0, 0, 0)}},
		{"a health check that only the service has", config{Healthcheck: check("CMD a", 1, 0, 0, 0, 0)}, config{}, config{Healthcheck: check("CMD a", 1, 0, 0, 0, 0)}},
		{"one that only the image has", config{}, config{Healthcheck: check("CMD a", 1, 0, 0, 0, 0)}, config{}},
	} {
		before, image := asJSON(t, c.config), asJSON(t, c.old)
		got := c.config
		subtract(&got, &c.old)
		if text, want := asJSON(t, got), asJSON(t, c.want); text != want {
			t.Errorf("%s:\ngot  %s\nwant %s", c.name, text, want)
		}
		if asJSON(t, c.config) != before || asJSON(t, c.old) != image {
			t.Errorf("%s: what it was made from has changed", c.name)
		}
	}
}

func TestWithImage(t *testing.T) {
	spec := newSpec(sibling())
	spec.Config.Env, spec.Config.Labels[labelImage] = []string{"A=1", "B=2"}, "sha256:aaa"
	before := asJSON(t, spec)
	old, next := &Image{ID: "sha256:aaa", config: &container.Config{Env: []string{"A=1"}}}, &Image{ID: "sha256:bbb", config: &container.Config{Env: []string{"C=3"}}}
	for _, c := range []struct {
		name, hash, wantHash string
		old                  *Image
		env                  []string
	}{
		{"another hash", "other", "other", old, []string{"B=2"}},
		{"the hash stays", "", "hash", old, []string{"B=2"}},
		{"the old image is gone", "other", "other", nil, []string{"A=1", "B=2"}},
	} {
		got := spec.WithImage("app:2", c.old, next, c.hash)
		if got.Config.Image != "app:2" || got.ImageID != "sha256:bbb" || got.Config.Labels[labelImage] != "sha256:bbb" || got.Hash() != c.wantHash ||
			!slices.Equal(got.Config.Env, c.env) || got.Config.Labels["mine"] != "kept" || got.Project != "tvs" || got.HostConfig != spec.HostConfig {
			t.Errorf("%s: %+v %+v", c.name, got, got.Config)
		}
		if asJSON(t, spec) != before {
			t.Fatalf("%s: what it was made from has changed", c.name)
		}
		if !got.Same(got) || got.Same(spec) || got.Same(nil) || spec.Same(got) {
			t.Errorf("%s: it is the same as before", c.name)
		}
	}
}

// The engine publishes only ports that are exposed.
func TestWithImageKeepsPublishedPorts(t *testing.T) {
	spec := newSpec(sibling())
	spec.Config.ExposedPorts, spec.HostConfig.PortBindings = nat.PortSet{"80/tcp": {}, "81/tcp": {}}, nat.PortMap{"80/tcp": {{HostPort: "8080-8090"}}}
	old := &Image{ID: "sha256:aaa", config: &container.Config{ExposedPorts: nat.PortSet{"80/tcp": {}, "81/tcp": {}}}}
	if got := spec.WithImage("app:2", old, old, "").Config.ExposedPorts; !reflect.DeepEqual(got, nat.PortSet{"80/tcp": {}}) {
		t.Errorf("it exposes %v", got)
	}
}

func TestSameAndMadeFrom(t *testing.T) {
	spec := newSpec(sibling())
	r := Replica{Image: "tvs-webapp", ImageID: "sha256:aaa", ConfigHash: "hash"}
	if !spec.MadeFrom(r) || !spec.Same(newSpec(sibling())) {
		t.Error("it is not its own")
	}
	renamed := newSpec(sibling())
	if renamed.Config.Image = "sha256:aaa"; renamed.Same(spec) {
		t.Error("another name of the image makes no difference")
	}
	for name, change := range map[string]func(*Replica){"image": func(r *Replica) { r.Image = "sha256:aaa" },
		"id": func(r *Replica) { r.ImageID = "sha256:bbb" }, "hash": func(r *Replica) { r.ConfigHash = "" }} {
		other := r
		if change(&other); spec.MadeFrom(other) {
			t.Errorf("another %s makes no difference", name)
		}
	}
}

// A service rolled out to another image is what compose would have made with it.
func TestRolledOutIsAsMade(t *testing.T) {
	r := newRig(t, "1.45", 1)
	check := func(test string, interval int) map[string]any {
		return map[string]any{"Test": []string{"CMD", test}, "Interval": interval, "Retries": 2}
	}
	r.SetImage("app:1", "sha256:1", map[string]any{"User": "one", "WorkingDir": "/one", "StopSignal": "SIGINT", "Env": []string{"PATH=/1", "ONE=1"},
		"Entrypoint": []string{"/one"}, "Cmd": []string{"1"}, "Labels": map[string]string{"v": "1", "only": "1"}, "Healthcheck": check("one", 1e9),
		"ExposedPorts": map[string]any{"1/tcp": struct{}{}}, "Volumes": map[string]any{"/one": struct{}{}}})
	r.SetImage("app:2", "sha256:2", map[string]any{"User": "two", "Env": []string{"PATH=/2", "TWO=2"}, "Entrypoint": []string{"/two"}, "Cmd": []string{"2"},
		"Labels": map[string]string{"v": "2"}, "Healthcheck": check("two", 2e9), "ExposedPorts": map[string]any{"2/tcp": struct{}{}}})
	for name, own := range map[string]container.Config{
		"nothing of its own": {},
		"all of its own": {User: "me", WorkingDir: "/me", StopSignal: "SIGQUIT", Env: []string{"PATH=/me", "ME=1"}, Entrypoint: []string{"/me"}, Cmd: []string{"me"},
			Healthcheck: &container.HealthConfig{Test: []string{"NONE"}}, ExposedPorts: nat.PortSet{"9/tcp": {}}, Volumes: map[string]struct{}{"/me": {}}},
		"a command":           {Cmd: []string{"me"}},
		"an entrypoint":       {Entrypoint: []string{"/me"}},
		"the same entrypoint": {Entrypoint: []string{"/one"}},
		"no entrypoint":       {Entrypoint: []string{}},
		"an interval alone":   {Healthcheck: &container.HealthConfig{Interval: 9e9}},
	} {
		t.Run(name, func(t *testing.T) {
			own.Labels = map[string]string{labelProject: "tvs", labelService: "job", labelOneOff: "False", "mine": "x"}
			spec := &Spec{Project: "tvs", Service: "job", Separator: "-", Config: &own, HostConfig: &container.HostConfig{}}
			create := func(s *Spec, number int, image string) container.Config {
				id, err := r.client.create(t.Context(), s, number, image)
				if err != nil {
					t.Fatal(err)
				}
				defer r.Remove(s.ReplicaName(number))
				c, err := r.client.api.ContainerInspect(t.Context(), id)
				if err != nil {
					t.Fatal(err)
				}
				made := *newSpec(c).Config
				made.Labels[labelImage] = ""
				return made
			}
			first := create(spec, 1, "app:1")
			old, _ := r.client.Image(t.Context(), "app:1")
			next, err := r.client.Image(t.Context(), "app:2")
			if err != nil {
				t.Fatal(err)
			}
			running := *spec
			running.Config = &first
			got, want := create(running.WithImage("app:2", old, next, ""), 2, "app:2"), create(spec, 3, "app:2")
			if !reflect.DeepEqual(got, want) {
				t.Errorf("got  %s\nwant %s", asJSON(t, got), asJSON(t, want))
			}
		})
	}
}

func TestImage(t *testing.T) {
	r := newRig(t, "1.45", 1)
	r.SetImage("app:2", "sha256:2", map[string]any{"Env": []string{"A=1"}, "ExposedPorts": map[string]any{"80/tcp": struct{}{}}})
	for _, name := range []string{"app:2", "sha256:2"} {
		image, err := r.client.Image(t.Context(), name)
		if err != nil || image == nil || image.ID != "sha256:2" || !slices.Equal(image.config.Env, []string{"A=1"}) || len(image.config.ExposedPorts) != 1 {
			t.Errorf("%s: %+v, %v", name, image, err)
		}
	}
	if image, err := r.client.Image(t.Context(), "web"); err != nil || image.ID != "sha256:web" || image.config == nil {
		t.Errorf("without a configuration: %+v, %v", image, err)
	}
	if image, err := r.client.Image(t.Context(), "none"); image != nil || err != nil {
		t.Errorf("of none: %+v, %v", image, err)
	}
	r.Fail("inspect image app:2", http.StatusInternalServerError, "broken store")
	if _, err := r.client.Image(t.Context(), "app:2"); err == nil || err.Error() != "broken store" {
		t.Errorf("err %v", err)
	}
}

func TestMoved(t *testing.T) {
	r := newRig(t, "1.45", 1)
	p, err := r.client.Observe(t.Context(), "tvs", nil)
	if err != nil {
		t.Fatal(err)
	}
	spec := p.Service("webapp").Spec
	if moved, err := r.client.Moved(t.Context(), spec); moved != nil || err != nil {
		t.Errorf("of one that has not: %+v, %v", moved, err)
	}
	r.SetImage("web", "sha256:next", nil)
	moved, err := r.client.Moved(t.Context(), spec)
	if err != nil || moved == nil || moved.ImageID != "sha256:next" || moved.Config.Image != "web" || moved.Hash() != spec.Hash() || moved.Same(spec) {
		t.Errorf("%+v, %v", moved, err)
	}
	r.Fail("inspect image sha256:web", http.StatusInternalServerError, "broken store")
	if _, err := r.client.Moved(t.Context(), spec); err == nil || err.Error() != "cannot look at the image of webapp: broken store" {
		t.Errorf("err %v", err)
	}
	spec.Config.Image = "untagged"
	if moved, err := r.client.Moved(t.Context(), spec); moved != nil || err != nil {
		t.Errorf("of a name that means nothing: %+v, %v", moved, err)
	}
}

func TestValidImage(t *testing.T) {
	for name, want := range map[string]bool{"app": true, "app:2": true, "registry.example:5000/team/app@sha256:0123": true, "sha256:0123": true, "": false,
		"-v": false, "--privileged": false, "app 2": false, "app\n": false, "a;b": false, "$(a)": false, strings.Repeat("a", 512): true, strings.Repeat("a", 513): false} {
		if ValidImage(name) != want {
			t.Errorf("%q: %v", name, !want)
		}
	}
}

func TestRepository(t *testing.T) {
	id := "sha256:" + strings.Repeat("0", 64)
	for name, want := range map[string]string{"app": "app", "app:2": "app", "team/app:2": "team/app", "registry:5000/app": "registry:5000/app",
		"registry:5000/team/app:2": "registry:5000/team/app", "app@sha256:0123": "app", "app:2@sha256:0123": "app", id: id} {
		if got := Repository(name); got != want {
			t.Errorf("%s: %s, not %s", name, got, want)
		}
	}
}

func TestPull(t *testing.T) {
	arguments := fakeDocker(t, "echo Pulling; echo Done >&2")
	var lines []string
	if err := Pull(t.Context(), "app:2", func(line string) { lines = append(lines, line) }); err != nil || !slices.Equal(lines, []string{"Pulling", "Done"}) {
		t.Errorf("%q, %v", lines, err)
	}
	if got := arguments(); !slices.Equal(got[:3], []string{"pull", "--", "app:2"}) {
		t.Errorf("arguments %q", got)
	}
	fakeDocker(t, "echo 'manifest unknown' >&2; exit 1")
	var failed *ComposeError
	if err := Pull(t.Context(), "app:2", nil); !errors.As(err, &failed) || err.Error() != "docker pull failed (exit status 1): manifest unknown" {
		t.Errorf("err %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	fakeDocker(t, "trap 'exit 3' TERM; echo begun; while :; do sleep 0.01; done")
	if err := Pull(ctx, "app:2", func(string) { cancel() }); err == nil {
		t.Error("it goes on")
	}
	t.Setenv("PATH", t.TempDir())
	if err := Pull(t.Context(), "app:2", nil); err == nil || !strings.Contains(err.Error(), "docker") {
		t.Errorf("err %v", err)
	}
}

func TestRolloutSurvivesJSON(t *testing.T) {
	s := service("webapp", "1", "2 exited")
	r := NewRollout(&s)
	r.Spec, r.Creator, r.Hold, r.Settled = newSpec(sibling()), ByComposeFirst, 1, 1
	var again Rollout
	if err := json.Unmarshal([]byte(asJSON(t, r)), &again); err != nil || asJSON(t, again) != asJSON(t, r) || !reflect.DeepEqual(again.Old, r.Old) || !again.Spec.Same(r.Spec) {
		t.Errorf("%s, %v", asJSON(t, again), err)
	}
}
