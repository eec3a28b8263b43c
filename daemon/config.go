package daemon

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/BurntSushi/toml"

	"tvsctl/dockerops"
)

// projectConfig is a file /etc/tvsctld/projects/NAME.toml: what the host's
// administrator declares of a project.
//
//	directory = "/srv/shop"            # where the compose files are
//	files     = ["/srv/shop/compose.yaml"]
//	env_files = []                     # optional
//	profiles  = []                     # optional
//
//	[nginx]                            # when the nginx runs on the host
//	unit      = "nginx.service"
//	upstreams = "/run/tvs/upstreams"   # the directory that it includes
//	balances  = "webapp:8080"
//	url       = "http://127.0.0.1/"    # of the site, as this host reaches it; optional
//
// A project without containers has services instead of files (unitService); its nginx
// balances all of them unless balances names some, without a port.
type projectConfig struct {
	dockerops.Files
	Nginx    *hostNginx              `toml:"nginx"`
	Services map[string]*unitService `toml:"services"`
}

type hostNginx struct {
	Unit      string `toml:"unit"`
	Upstreams string `toml:"upstreams"`
	Balances  string `toml:"balances"`
	URL       string `toml:"url"`

	backends []dockerops.Backend
}

const hostUpstreamDir = "/run/tvs/upstreams"

// readProjectFile reads a project's file by itself.
func readProjectFile(dir, project string) (projectConfig, error) {
	path := filepath.Join(dir, project+".toml")
	var c projectConfig
	text, err := readTrusted(path)
	if errors.Is(err, fs.ErrNotExist) {
		return c, nil
	}
	if err != nil {
		return c, err
	}
	meta, err := toml.Decode(string(text), &c)
	if err != nil {
		return projectConfig{}, fmt.Errorf("cannot read %s: %v", path, err)
	}
	if unknown := meta.Undecoded(); len(unknown) > 0 {
		return projectConfig{}, fmt.Errorf("cannot read %s:%s unknown key %s", path, lineOf(string(text), unknown[0].String()), unknown[0])
	}
	if c.Directory != "" && len(c.Compose) == 0 {
		return projectConfig{}, fmt.Errorf("cannot read %s: it has a directory, but no files", path)
	}
	if len(c.Services) > 0 {
		if err := c.checkServices(); err != nil {
			return projectConfig{}, fmt.Errorf("cannot read %s: %v", path, err)
		}
	}
	if c.Nginx == nil {
		return c, nil
	}
	if c.Nginx.URL == "" {
		c.Nginx.URL = "http://127.0.0.1/"
	}
	if c.Nginx.Unit == "" {
		c.Nginx.Unit = "nginx.service"
	}
	if c.Nginx.Upstreams == "" {
		c.Nginx.Upstreams = hostUpstreamDir
	}
	if !filepath.IsAbs(c.Nginx.Upstreams) {
		return projectConfig{}, fmt.Errorf("cannot read %s: nginx.upstreams %q is not an absolute path", path, c.Nginx.Upstreams)
	}
	if len(c.Services) > 0 {
		return c, nil
	}
	if c.Nginx.backends, err = dockerops.ParseBackends(c.Nginx.Balances); err != nil {
		return projectConfig{}, fmt.Errorf("cannot read %s: nginx.balances: %v", path, err)
	}
	return c, nil
}

// ofUnits reports whether a project's file declares services of units: nothing of it is
// Docker's concern.
func (d *Daemon) ofUnits(project string) bool {
	config, err := readProjectConfig(d.config.ProjectDir, project)
	return err == nil && len(config.Services) > 0
}

// configuredProjects lists the projects that have a file.
func configuredProjects(dir string) []string {
	paths, err := filepath.Glob(filepath.Join(dir, "*.toml"))
	if err != nil {
		return nil
	}
	var names []string
	for _, path := range paths {
		if name := strings.TrimSuffix(filepath.Base(path), ".toml"); dockerops.ValidProjectName(name) {
			names = append(names, name)
		}
	}
	return names
}

// files returns where a project's compose files are, and whether that was
// declared rather than read from its containers' labels.
func (d *Daemon) files(p *dockerops.Project) (files dockerops.Files, declared bool, err error) {
	config, err := readProjectConfig(d.config.ProjectDir, p.Name)
	if err != nil {
		return dockerops.Files{}, false, err
	}
	if len(config.Compose) > 0 {
		return config.Files, true, nil
	}
	if kept := d.state.project(p.Name).Files; kept != nil {
		return *kept, true, nil
	}
	return p.Files, false, nil
}
