package daemon

import (
	"context"
	"maps"
	"slices"

	"tvsctl/systemd"
)

// reloads follows config.Reload until ctx ends.
func (d *Daemon) reloads(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-d.stopping:
			return
		case <-d.config.Reload:
			systemd.Reloading()
			d.reload()
			systemd.Ready()
		}
	}
}

// reload reads the configuration and the projects' files again, and looks at every
// project. Connections that are open and operations that run are left alone.
func (d *Daemon) reload() {
	d.activity.begin()
	defer d.activity.end()
	ruled := d.loadPolicy() == nil
	if d.configure("what was in force before stays") == nil && ruled {
		d.activity.setIdle(d.idle())
		d.log.notice(eventReloaded, "tvsctld has read its configuration again.", nil)
	}
	for _, name := range d.projectFiles() {
		_, err := readProjectConfig(d.config.ProjectDir, name)
		d.setConfigured(name, err)
	}
	d.mu.Lock()
	names := slices.Collect(maps.Keys(d.sites))
	d.mu.Unlock()
	d.lookAgain("")
	for _, name := range names {
		d.lookAgain(name)
	}
}

// projectFiles names the projects that have a file, and those that had a broken one.
func (d *Daemon) projectFiles() []string {
	names := configuredProjects(d.config.ProjectDir)
	d.mu.Lock()
	defer d.mu.Unlock()
	for name := range d.broken {
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}
