package enginetest

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"time"
)

type exec struct {
	container  *Container
	argv       []string
	stdin, tty bool
	status     int
	running    bool
}

var versionPrefix = regexp.MustCompile(`^/v1\.\d+`)

func (e *Engine) serve(w http.ResponseWriter, r *http.Request) {
	path := versionPrefix.ReplaceAllString(r.URL.Path, "")
	parts := strings.Split(strings.Trim(path, "/"), "/")
	switch {
	case path == "/_ping":
		w.Header().Set("API-Version", e.api)
	case path == "/version":
		if e.enter(w, "inspect version") {
			reply(w, http.StatusOK, map[string]any{"Version": "99.0", "ApiVersion": e.api})
		}
	case path == "/info":
		if e.enter(w, "inspect info") {
			reply(w, http.StatusOK, e.Info)
		}
	case path == "/events":
		e.events(w, r)
	case path == "/containers/json":
		e.list(w, r)
	case path == "/containers/create":
		e.create(w, r)
	case parts[0] == "images":
		e.image(w, strings.TrimSuffix(strings.TrimPrefix(path, "/images/"), "/json"))
	case parts[0] == "networks" && len(parts) == 3 && parts[2] == "connect":
		e.connect(w, r, parts[1])
	case parts[0] == "exec" && len(parts) == 3:
		_, _ = io.Copy(io.Discard, r.Body)
		if parts[2] == "resize" {
			e.enter(w, "resize "+r.FormValue("h")+"x"+r.FormValue("w"))
			return
		}
		e.exec(w, parts[1], parts[2])
	case parts[0] == "containers" && len(parts) == 3 && parts[2] == "logs" && r.FormValue("timestamps") == "1":
		e.readLogs(w, r, parts[1])
	case parts[0] == "containers" && len(parts) == 3:
		e.act(w, r, parts[1], parts[2])
	case parts[0] == "containers" && r.Method == http.MethodDelete:
		e.act(w, r, parts[1], "remove")
	default:
		refuse(w, http.StatusNotImplemented, "the fake engine knows no "+r.Method+" "+path)
	}
}

// enter notes a call and runs what was set for it. It returns false when the
// call is to fail, and has been answered.
func (e *Engine) enter(w http.ResponseWriter, call string) bool {
	e.mu.Lock()
	if !strings.HasPrefix(call, "inspect ") {
		e.calls = append(e.calls, call)
	}
	before, f := e.before[call], e.faults[call]
	e.mu.Unlock()
	if before != nil {
		before()
	}
	if f.status != 0 {
		refuse(w, f.status, f.text)
	}
	return f.status == 0
}

func (e *Engine) list(w http.ResponseWriter, r *http.Request) {
	if !e.enter(w, "inspect list") {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	list := []map[string]any{}
	for _, c := range e.containers {
		if e.matches(c, r.FormValue("filters")) {
			list = append(list, map[string]any{"Id": c.ID, "Names": []string{"/" + c.Name}, "Labels": c.Labels, "State": c.State,
				"Status": "Up (" + c.Health + ")", "NetworkSettings": e.describe(c)["NetworkSettings"]})
		}
	}
	reply(w, http.StatusOK, list)
}

func (e *Engine) create(w http.ResponseWriter, r *http.Request) {
	name := r.FormValue("name")
	var body map[string]any
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
		refuse(w, http.StatusBadRequest, err.Error())
		return
	}
	if !e.enter(w, "create "+name) {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.find(name) != nil {
		refuse(w, http.StatusConflict, "Conflict. The container name \"/"+name+"\" is already in use")
		return
	}
	c := &Container{ID: e.newID(), Name: name, State: "created", Address: "127.0.0.1", Config: body, Created: time.Now(),
		Labels: map[string]string{}, Networks: map[string]map[string]any{}}
	c.Image, _ = body["Image"].(string)
	c.HostConfig, _ = body["HostConfig"].(map[string]any)
	if c.ImageID = e.imageID(c.Image); c.ImageID == "" {
		c.ImageID = c.Image
	}
	merge(body, e.defaults[c.ImageID])
	labels, _ := body["Labels"].(map[string]any)
	for key, value := range labels {
		c.Labels[key] = fmt.Sprint(value)
	}
	if networking, ok := body["NetworkingConfig"].(map[string]any); ok {
		endpoints, _ := networking["EndpointsConfig"].(map[string]any)
		for network, endpoint := range endpoints {
			c.Networks[network], _ = endpoint.(map[string]any)
		}
	}
	delete(c.Config, "HostConfig")
	delete(c.Config, "NetworkingConfig")
	e.containers = append(e.containers, c)
	e.tell(c, "create")
	reply(w, http.StatusCreated, map[string]any{"Id": c.ID})
}

func (e *Engine) connect(w http.ResponseWriter, r *http.Request, network string) {
	var body struct {
		Container      string
		EndpointConfig map[string]any
	}
	err := json.NewDecoder(r.Body).Decode(&body)
	e.mu.Lock()
	c := e.find(body.Container)
	e.mu.Unlock()
	if err != nil || c == nil {
		refuse(w, http.StatusNotFound, "No such container")
		return
	}
	if e.enter(w, "connect "+network+" "+c.Name) {
		e.mu.Lock()
		c.Networks[network] = body.EndpointConfig
		e.mu.Unlock()
	}
}

func (e *Engine) act(w http.ResponseWriter, r *http.Request, id, verb string) {
	e.mu.Lock()
	c := e.find(id)
	e.mu.Unlock()
	if c == nil {
		refuse(w, http.StatusNotFound, "No such container: "+id)
		return
	}
	if verb == "json" {
		verb = "inspect"
	}
	if !e.enter(w, verb+" "+c.Name) {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	switch verb {
	case "inspect":
		reply(w, http.StatusOK, e.describe(c))
	case "start":
		if c.State == "running" {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		c.State, c.Started, c.ExitCode = "running", time.Now(), 0
		if e.OnStart != nil {
			e.OnStart(c)
		}
		e.tell(c, "start")
		w.WriteHeader(http.StatusNoContent)
	case "stop":
		c.State, c.Health, c.Finished = "exited", "", time.Now()
		e.tell(c, "die")
		w.WriteHeader(http.StatusNoContent)
	case "remove":
		if c.State == "running" && r.FormValue("force") != "1" {
			refuse(w, http.StatusConflict, "cannot remove a running container")
			return
		}
		if r.FormValue("v") == "1" {
			e.cleared = append(e.cleared, c.Name)
		}
		e.drop(c)
		w.WriteHeader(http.StatusNoContent)
	case "logs":
		w.Header().Set("Content-Type", "application/vnd.docker.raw-stream")
		_, _ = w.Write(frame(c.Logs))
	case "exec":
		var body struct {
			Cmd              []string
			AttachStdin, Tty bool
		}
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
			refuse(w, http.StatusBadRequest, err.Error())
			return
		}
		id := e.newID()
		e.execs[id] = &exec{container: c, argv: body.Cmd, stdin: body.AttachStdin, tty: body.Tty}
		reply(w, http.StatusCreated, map[string]any{"Id": id})
	case "update":
		e.update(w, r, c)
	default:
		refuse(w, http.StatusNotImplemented, "the fake engine cannot "+verb)
	}
}

func (e *Engine) exec(w http.ResponseWriter, id, verb string) {
	e.mu.Lock()
	x, status, running := e.execs[id], 0, false
	if x != nil {
		x.running = x.running || verb == "start"
		status, running = x.status, x.running
	}
	e.mu.Unlock()
	if x == nil {
		refuse(w, http.StatusNotFound, "No such exec instance")
		return
	}
	if verb == "json" {
		reply(w, http.StatusOK, map[string]any{"ID": id, "ExitCode": status, "Running": running})
		return
	}
	if !e.enter(w, "inspect attach") {
		return
	}
	conn, buffered, err := w.(http.Hijacker).Hijack()
	if err != nil {
		refuse(w, http.StatusInternalServerError, err.Error())
		return
	}
	defer conn.Close()
	_, _ = fmt.Fprint(conn, "HTTP/1.1 101 UPGRADED\r\nContent-Type: application/vnd.docker.raw-stream\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n")
	var input []byte
	if x.stdin {
		input, err = io.ReadAll(buffered)
	}
	output := ""
	if e.OnExec != nil && err == nil { // else the client has gone
		output, status = e.OnExec(x.container, x.argv, string(input))
	}
	e.mu.Lock()
	x.status, x.running = status, false
	e.mu.Unlock()
	if x.tty {
		_, _ = io.WriteString(conn, output)
		return
	}
	_, _ = conn.Write(frame(output))
}

// frame makes standard output of a stream without a terminal (Engine API, ContainerAttach).
func frame(text string) []byte {
	if text == "" {
		return nil
	}
	header := []byte{1, 0, 0, 0, 0, 0, 0, 0}
	binary.BigEndian.PutUint32(header[4:], uint32(len(text)))
	return append(header, text...)
}

func (e *Engine) events(w http.ResponseWriter, r *http.Request) {
	messages := make(chan []byte, 1000)
	e.mu.Lock()
	e.followers[messages] = true
	e.mu.Unlock()
	defer func() {
		e.mu.Lock()
		delete(e.followers, messages)
		e.mu.Unlock()
	}()
	w.WriteHeader(http.StatusOK)
	control := http.NewResponseController(w)
	for control.Flush() == nil {
		select {
		case message := <-messages:
			if _, err := w.Write(message); err != nil {
				return
			}
		case <-r.Context().Done():
			return
		}
	}
}

func reply(w http.ResponseWriter, status int, value any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(value)
}

func refuse(w http.ResponseWriter, status int, text string) {
	reply(w, status, map[string]string{"message": text})
}
