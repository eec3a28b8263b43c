package daemon

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"tvsctl/nginx"
)

// readProjectConfig reads a project's file; without one, the configuration is empty. One
// that would write an upstream file of another project's nginx is as wrong as a broken one.
func readProjectConfig(dir, project string) (projectConfig, error) {
	c, err := readProjectFile(dir, project)
	if err != nil {
		return c, err
	}
	for _, path := range c.upstreamFiles() {
		if owner := ownerOf(dir, path, project); owner != project {
			return projectConfig{}, fmt.Errorf("cannot read %s: its nginx would have the same %s as that of %s; rename the service of one, or give it an nginx and a directory of its own",
				filepath.Join(dir, project+".toml"), path, filepath.Join(dir, owner+".toml"))
		}
	}
	return c, nil
}

// upstreamFiles are those that the host's nginx of the project includes.
func (c projectConfig) upstreamFiles() (paths []string) {
	if c.Nginx == nil {
		return nil
	}
	for _, backend := range c.Nginx.backends {
		paths = append(paths, filepath.Join(c.Nginx.Upstreams, nginx.Upstream{Name: backend.Service}.File()))
	}
	return paths
}

// ownerOf returns which project an upstream file belongs to, of those whose files want it:
// the one that it was written for, else the first by name, so that a project's file that is
// new takes nothing from one that works.
func ownerOf(dir, path, project string) string {
	claims := []string{project}
	for _, other := range configuredProjects(dir) {
		if c, err := readProjectFile(dir, other); err == nil && other != project && slices.Contains(c.upstreamFiles(), path) {
			claims = append(claims, other)
		}
	}
	if len(claims) == 1 {
		return project
	}
	text, err := os.ReadFile(path)
	if owner := nginx.WrittenFor(text); err == nil && slices.Contains(claims, owner) {
		return owner
	}
	return slices.MinFunc(claims, strings.Compare)
}
