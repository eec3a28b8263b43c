package dockerops

import (
	"errors"
	"io/fs"
	"path/filepath"
	"strings"
)

// controlSockets are those by which whoever can write to them controls the host.
var controlSockets = []string{"/run/docker.sock", "/run/tvsctld.sock"}

// mounting is what a service in compose's JSON says of mounts. Their short syntax is
// written out there, and paths are absolute.
type mounting struct {
	Volumes     []struct{ Type, Source string } `json:"volumes"`
	VolumesFrom []string                        `json:"volumes_from"`
	API         bool                            `json:"use_api_socket"` // from compose 2.38 on
}

// namedVolume can be a directory of the host too.
type namedVolume struct {
	Options map[string]string `json:"driver_opts"`
}

const otherContainer = "container:"

// sources lists what of the host it mounts, and the containers whose volumes it takes over.
func (m mounting) sources(named map[string]namedVolume) []string {
	var list []string
	if m.API {
		list = append(list, controlSockets[0])
	}
	for _, v := range m.Volumes {
		switch v.Type {
		case "bind":
			list = append(list, v.Source)
		case "volume":
			list = append(list, named[v.Source].Options["device"])
		}
	}
	for _, from := range m.VolumesFrom {
		// Those of a service are that service's.
		if strings.HasPrefix(from, otherContainer) {
			list = append(list, from)
		}
	}
	return list
}

// controlling returns the source by which a container gets hold of a control socket, as it
// is to be called in a message, or "": the socket, a directory above it, or a link to one.
func controlling(sources []string) string {
	for _, source := range sources {
		if container, is := strings.CutPrefix(source, otherContainer); is {
			return "the volumes of container " + container + ", which can be any"
		}
		if !filepath.IsAbs(source) {
			continue // no path of this host
		}
		target, err := filepath.EvalSymlinks(source)
		switch {
		case err == nil && reaches(target), reaches(filepath.Clean(source)):
			return source
		case err != nil && !errors.Is(err, fs.ErrNotExist):
			return source + ", of which tvsctld may not see what it is"
		}
	}
	return ""
}

// reaches reports whether the path is a control socket or a directory above it.
func reaches(path string) bool {
	for _, socket := range controlSockets {
		for _, name := range []string{socket, "/var" + socket} {
			if path == "/" || name == path || strings.HasPrefix(name, path+"/") {
				return true
			}
		}
	}
	return false
}
