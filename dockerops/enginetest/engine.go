// Package enginetest is a Docker Engine for tests: it speaks as much of the
// Engine API as tvsctld uses, on a Unix socket, and keeps its containers in memory.
package enginetest

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// Container is one container of the engine. Change it only in Update or in a hook.
type Container struct {
	ID, Name       string // the name has no slash
	Image, ImageID string
	Labels         map[string]string
	Config         map[string]any // the rest of its configuration
	HostConfig     map[string]any
	Networks       map[string]map[string]any // endpoint settings by network
	Address        string                    // on each of its networks
	State, Health  string
	ExitCode       int
	Created        time.Time
	Started        time.Time
	Finished       time.Time
	Logs           string

	entries []entry
}

// Engine is the fake. Its hooks are set before it is used.
type Engine struct {
	// Images are the ids of the images by name. Once it is used, SetImage changes them.
	Images map[string]string
	// OnStart is called when a container has been started; by default it just runs.
	OnStart func(*Container)
	// OnExec answers an exec whose input has ended: what it writes and its exit status.
	OnExec func(c *Container, argv []string, input string) (output string, status int)
	// Info is what it says of its host. Change it before the engine is used.
	Info map[string]any

	t      testing.TB
	socket string
	api    string
	server *http.Server
	ended  chan struct{} // closed when server has ended

	mu         sync.Mutex
	containers []*Container
	defaults   map[string]map[string]any // of images, by id
	calls      []string
	faults     map[string]fault
	before     map[string]func()
	execs      map[string]*exec
	followers  map[chan []byte]bool
	number     int
	cleared    []string
	happened   chan struct{} // closed when something has
}

type fault struct {
	status int
	text   string
}

// Start starts an engine with the given API version, to which DOCKER_HOST then
// points, until the test ends.
func Start(t testing.TB, api string) *Engine {
	t.Helper()
	// Not t.TempDir(): with the test's name a socket's path gets too long.
	dir, err := os.MkdirTemp("", "engine")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	e := &Engine{t: t, api: api, socket: filepath.Join(dir, "s"), Images: map[string]string{"web": "sha256:web"},
		Info:     map[string]any{"NCPU": 4, "DockerRootDir": "/", "MemTotal": 8 << 30, "MemoryLimit": true, "SwapLimit": true, "CpuCfsQuota": true, "PidsLimit": true, "CgroupVersion": "1"},
		defaults: map[string]map[string]any{}, faults: map[string]fault{}, before: map[string]func(){}, execs: map[string]*exec{}, followers: map[chan []byte]bool{}}
	e.Up()
	t.Cleanup(e.Down)
	if setter, ok := t.(interface{ Setenv(key, value string) }); ok {
		setter.Setenv("DOCKER_HOST", "unix://"+e.socket)
		setter.Setenv("DOCKER_API_VERSION", "")
		setter.Setenv("DOCKER_TLS_VERIFY", "")
	}
	return e
}

// Up makes the engine answer again after Down.
func (e *Engine) Up() {
	listener, err := net.Listen("unix", e.socket)
	if err != nil {
		e.t.Fatal(err)
	}
	server, ended := &http.Server{Handler: http.HandlerFunc(e.serve)}, make(chan struct{})
	e.mu.Lock()
	e.server, e.ended = server, ended
	e.mu.Unlock()
	go func() {
		defer close(ended)
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			e.t.Errorf("the engine ended: %v", err)
		}
	}()
}

// Down cuts every connection and removes the socket.
func (e *Engine) Down() {
	e.mu.Lock()
	server, ended := e.server, e.ended
	e.mu.Unlock()
	server.Close()
	<-ended // the socket too: a server that has only just begun removes it itself
}

// Add puts a container of a compose service there and returns it. It runs from
// the start; change may make it another one.
func (e *Engine) Add(service string, number int, change func(*Container)) *Container {
	e.mu.Lock()
	defer e.mu.Unlock()
	name := fmt.Sprintf("tvs-%s-%d", service, number)
	c := &Container{ID: e.newID(), Name: name, Image: "web", ImageID: "sha256:web", State: "running", Address: "127.0.0.1",
		Config: map[string]any{}, HostConfig: map[string]any{"NetworkMode": "tvs_default"},
		Networks: map[string]map[string]any{"tvs_default": {"Aliases": []string{name, service}}},
		Created:  time.Now(), Started: time.Now(),
		Labels: map[string]string{"com.docker.compose.project": "tvs", "com.docker.compose.service": service,
			"com.docker.compose.container-number": fmt.Sprint(number), "com.docker.compose.oneoff": "False",
			"com.docker.compose.config-hash": "hash-" + service}}
	if change != nil {
		change(c)
	}
	e.containers = append(e.containers, c)
	return c
}

// Update changes the named container, and tells those who follow events that it
// was the action.
func (e *Engine) Update(name, action string, change func(*Container)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	c := e.find(name)
	if c == nil {
		e.t.Errorf("there is no container %s", name)
		return
	}
	change(c)
	e.tell(c, action)
}

// Remove makes a container vanish.
func (e *Engine) Remove(name string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if c := e.find(name); c != nil {
		e.drop(c)
	}
}

// Fail makes a call fail from now on: "create NAME", "start NAME", "connect NAME", …
func (e *Engine) Fail(call string, status int, text string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.faults[call] = fault{status, text}
}

// Before runs a function when a call comes, before it is carried out.
func (e *Engine) Before(call string, do func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.before[call] = do
}

// Calls returns the changes that were asked for so far.
func (e *Engine) Calls() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.calls)
}

// Cleared returns the containers that were removed with their anonymous volumes.
func (e *Engine) Cleared() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.cleared)
}

// Names returns the containers as "NAME STATE", sorted.
func (e *Engine) Names() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	var names []string
	for _, c := range e.containers {
		names = append(names, c.Name+" "+c.State)
	}
	slices.Sort(names)
	return names
}

// Container returns a copy of the named container.
func (e *Engine) Container(name string) Container {
	e.mu.Lock()
	defer e.mu.Unlock()
	if c := e.find(name); c != nil {
		return *c
	}
	e.t.Errorf("there is no container %s", name)
	return Container{}
}

// Followers returns how many connections follow events.
func (e *Engine) Followers() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.followers)
}

func (e *Engine) newID() string {
	e.number++
	return fmt.Sprintf("%012x%052x", e.number, 0xfeed)
}

func (e *Engine) find(nameOrID string) *Container {
	for _, c := range e.containers {
		if c.Name == nameOrID || c.ID == nameOrID {
			return c
		}
	}
	return nil
}

func (e *Engine) drop(c *Container) {
	e.containers = slices.DeleteFunc(e.containers, func(other *Container) bool { return other == c })
	e.tell(c, "destroy")
}

func (e *Engine) tell(c *Container, action string) {
	attributes := map[string]string{"name": c.Name}
	for key, value := range c.Labels {
		attributes[key] = value
	}
	message, err := json.Marshal(map[string]any{"Type": "container", "Action": action,
		"Actor": map[string]any{"ID": c.ID, "Attributes": attributes}})
	if err != nil {
		e.t.Error(err)
	}
	for follower := range e.followers {
		follower <- message
	}
	e.wake()
}

func (e *Engine) describe(c *Container) map[string]any {
	state := map[string]any{"Status": c.State, "Running": c.State == "running", "ExitCode": c.ExitCode,
		"StartedAt": c.Started.Format(time.RFC3339Nano), "FinishedAt": c.Finished.Format(time.RFC3339Nano)}
	if c.Health != "" {
		state["Health"] = map[string]any{"Status": c.Health}
	}
	config := map[string]any{}
	for key, value := range c.Config {
		config[key] = value
	}
	config["Labels"], config["Image"] = c.Labels, c.Image
	if config["Hostname"] == nil || config["Hostname"] == "" {
		config["Hostname"] = c.ID[:12]
	}
	networks := map[string]map[string]any{}
	for name, endpoint := range c.Networks {
		networks[name] = map[string]any{}
		for key, value := range endpoint {
			networks[name][key] = value
		}
		if c.State == "running" {
			networks[name]["IPAddress"] = c.Address
		}
	}
	return map[string]any{"Id": c.ID, "Name": "/" + c.Name, "Image": c.ImageID, "Created": c.Created.Format(time.RFC3339Nano),
		"State": state, "Config": config, "HostConfig": c.HostConfig, "NetworkSettings": map[string]any{"Networks": networks}}
}

func (e *Engine) matches(c *Container, filters string) bool {
	var wanted struct{ Label map[string]bool }
	if filters != "" && json.Unmarshal([]byte(filters), &wanted) != nil {
		return false
	}
	for label := range wanted.Label {
		key, value, exact := strings.Cut(label, "=")
		if got, has := c.Labels[key]; !has || exact && got != value {
			return false
		}
	}
	return true
}
