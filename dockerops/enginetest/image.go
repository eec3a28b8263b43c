package enginetest

import (
	"maps"
	"net/http"
	"slices"
	"strings"
)

// SetImage makes a name mean an image from now on, whose configuration gives its
// containers those defaults: "Env", "Cmd", "Labels", ….
func (e *Engine) SetImage(name, id string, defaults map[string]any) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.Images = maps.Clone(e.Images)
	e.Images[name] = id
	e.defaults[id] = defaults
}

// RemoveImage removes an image that SetImage made, and its names.
func (e *Engine) RemoveImage(id string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.defaults, id)
	e.Images = maps.Clone(e.Images)
	maps.DeleteFunc(e.Images, func(_, named string) bool { return named == id })
}

// imageID returns the id of an image by its name or id, or "". mu is held. One that has
// lost its name is still there.
func (e *Engine) imageID(name string) string {
	if _, there := e.defaults[name]; there {
		return name
	}
	return e.Images[name]
}

func (e *Engine) image(w http.ResponseWriter, name string) {
	if !e.enter(w, "inspect image "+name) {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if id := e.imageID(name); id != "" {
		reply(w, http.StatusOK, map[string]any{"Id": id, "Config": e.defaults[id]})
	} else {
		refuse(w, http.StatusNotFound, "No such image: "+name)
	}
}

// merge gives a container's configuration the defaults of its image (moby
// daemon/commit.go, merge).
func merge(config, image map[string]any) {
	for _, key := range []string{"User", "WorkingDir", "StopSignal"} {
		if config[key] == nil || config[key] == "" {
			config[key] = image[key]
		}
	}
	for _, key := range []string{"ExposedPorts", "Labels", "Volumes"} {
		own := object(config[key])
		for name, value := range object(image[key]) {
			if _, has := own[name]; !has {
				own[name] = value
			}
		}
		config[key] = own
	}
	env := list(config["Env"])
	for _, entry := range list(image["Env"]) {
		key, _, _ := strings.Cut(entry, "=")
		if !slices.ContainsFunc(env, func(own string) bool { return strings.HasPrefix(own, key+"=") }) {
			env = append(env, entry)
		}
	}
	config["Env"] = env
	if len(list(config["Entrypoint"])) == 0 {
		if len(list(config["Cmd"])) == 0 {
			config["Cmd"] = image["Cmd"]
		}
		if config["Entrypoint"] == nil {
			config["Entrypoint"] = image["Entrypoint"]
		}
	}
	check, inherited := object(config["Healthcheck"]), object(image["Healthcheck"])
	for part, value := range inherited {
		if own := check[part]; own == nil || own == 0.0 || part == "Test" && len(list(own)) == 0 {
			check[part] = value
		}
	}
	if len(check) > 0 {
		config["Healthcheck"] = check
	}
}

// object returns a copy of what a test or a request calls an object.
func object(value any) map[string]any {
	own := map[string]any{}
	switch value := value.(type) {
	case map[string]any:
		maps.Copy(own, value)
	case map[string]string:
		for key, text := range value {
			own[key] = text
		}
	}
	return own
}

// list does so for a list of strings.
func list(value any) (texts []string) {
	switch value := value.(type) {
	case []string:
		texts = slices.Clone(value)
	case []any:
		for _, item := range value {
			if text, ok := item.(string); ok {
				texts = append(texts, text)
			}
		}
	}
	return texts
}
