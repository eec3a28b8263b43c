package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"tvsctl/systemd"
)

// followRetry is how long a bus that cannot be reached is left alone.
const followRetry = 2 * time.Second

// followUnits returns channels that get a value when a unit of which concerns says so has
// changed, until ctx ends: changed at every change, worse where it may have ended.
func (d *Daemon) followUnits(ctx context.Context, concerns func(unit string) bool) (changed, worse <-chan struct{}) {
	all, ends := make(chan struct{}, 1), make(chan struct{}, 1)
	tell := func(unit, state string) {
		if unit != "" && !concerns(unit) {
			return
		}
		select {
		case all <- struct{}{}:
		default: // it has not yet looked since the last time
		}
		if state == "active" || state == "activating" {
			return
		}
		select {
		case ends <- struct{}{}:
		default:
		}
	}
	go func() {
		for {
			// What cannot be reached is tried again; the looks in between say so.
			_ = d.units.Follow(ctx, tell)
			if !pause(ctx, followRetry) {
				return
			}
		}
	}()
	return all, ends
}

// declared are the projects that have a file, by what it declares.
type declaredProjects struct {
	hostNginx map[string]string        // of containers, behind the host's nginx: its unit
	units     map[string]projectConfig // of units
}

// readDeclared reads the projects' files, and says in the journal which are broken.
func (d *Daemon) readDeclared() declaredProjects {
	found := declaredProjects{hostNginx: map[string]string{}, units: map[string]projectConfig{}}
	for _, name := range d.projectFiles() {
		config, err := readProjectConfig(d.config.ProjectDir, name)
		d.setConfigured(name, err)
		switch {
		case err != nil:
		case len(config.Services) > 0:
			found.units[name] = config
		case config.Nginx != nil:
			found.hostNginx[name] = config.Nginx.Unit
		}
	}
	return found
}

// concerns reports whether any project of units looks different when a unit changes.
func (p declaredProjects) concerns(unit string) bool {
	for _, config := range p.units {
		if config.concerns(unit) {
			return true
		}
	}
	return false
}

// runningUnits returns those projects of units of which an instance runs, with what their
// guards follow. One that cannot be looked at is guarded, which says why it cannot.
func (d *Daemon) runningUnits(ctx context.Context, units map[string]projectConfig) map[string]string {
	ctx, cancel := context.WithTimeout(ctx, guardDeadline)
	defer cancel()
	running := map[string]string{}
	for name, config := range units {
		p, err := d.observeUnits(ctx, name, config, d.state.project(name))
		_, n := instanceCounts(p)
		if err != nil || n > 0 {
			running[name] = followed(config)
		}
	}
	return running
}

// followed names what the guard of a project follows.
func followed(c projectConfig) string {
	var parts []string
	for name, u := range c.Services {
		parts = append(parts, fmt.Sprint(name, *u))
	}
	if c.Nginx != nil {
		parts = append(parts, c.Nginx.Unit)
	}
	return strings.Join(parts, " ")
}

// askPatience is how long Docker, or systemd about Docker, is asked where there is
// something to say without it.
var askPatience = 5 * time.Second

// withoutDocker reports whether the host has no Docker that could be used. Where systemd
// does not tell in time, it has.
func (d *Daemon) withoutDocker(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, askPatience)
	defer cancel()
	docker, err := d.units.Unit(ctx, "docker.service")
	return err == nil && docker.Missing()
}

// dockerRests reports whether the host has no Docker, or somebody stopped it: then there is
// no other project that somebody who names none could mean.
func (d *Daemon) dockerRests(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, askPatience)
	defer cancel()
	docker, err := d.units.Unit(ctx, "docker.service")
	return err == nil && (docker.Missing() || docker.ActiveState == "inactive")
}

// needsNoDocker reports whether the host has no Docker, and projects of units alone.
func (d *Daemon) needsNoDocker(ctx context.Context) bool {
	files := d.readDeclared()
	return len(files.units) > 0 && len(files.hostNginx) == 0 && d.withoutDocker(ctx)
}

// bootID names the present life of the machine.
func bootID() string {
	text, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}

// restoreUnits starts, after a start of the machine, the instances that are desired and
// that nobody stopped by tvsctl. systemd brings none back, unless somebody enabled it.
func (d *Daemon) restoreUnits(ctx context.Context, units map[string]projectConfig) (done bool) {
	ctx, cancel := context.WithTimeout(ctx, restoreDeadline)
	defer cancel()
	boot := bootID()
	if d.state.lastBoot() == boot {
		return true
	}
	done = true
	for name := range units {
		if len(d.state.project(name).Desired) == 0 {
			continue
		}
		if err := d.restoreProject(ctx, name); err != nil {
			d.log.error(eventRestore, fmt.Sprintf("Cannot restore %s: %v.", name, err), fields{"TVS_PROJECT": name})
			done = done && !errors.Is(err, systemd.ErrUnavailable)
		}
	}
	if !done {
		return false
	}
	if err := d.state.keepBoot(boot); err != nil {
		d.log.error(eventState, "Cannot keep that the machine was started: "+err.Error()+".", nil)
	}
	return true
}
