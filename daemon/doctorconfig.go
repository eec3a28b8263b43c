package daemon

import (
	"context"
	"os"
	"path/filepath"
	"reflect"
	"strings"
)

func checkState(_ context.Context, d *Daemon, r *report) {
	if err := d.state.usable(); err != nil {
		r.wrong("make room or mend the directory; tvsctld tries again by itself", "%v: changes are refused", err)
		return
	}
	r.ok("the state in %s is usable", d.config.StateDir)
}

// checkSettings reads the file as it is now: nobody may have said yet to read it.
func checkSettings(_ context.Context, d *Daemon, r *report) {
	const reload = "as root: systemctl reload tvsctld"
	now, err := readSettings(d.config.File, d.defaults())
	if d.config.IdleGiven {
		now.Idle = d.settings.Load().Idle
	}
	switch {
	case err != nil:
		r.wrong("mend it, then "+reload, "%v", err)
	case !reflect.DeepEqual(now, *d.settings.Load()):
		r.warn(reload, "%s has changed and was not read again", d.config.File)
	default:
		if _, err := os.Stat(d.config.File); missing(err) {
			r.ok("no %s: the defaults are in force", d.config.File)
			return
		}
		r.ok("%s is in force", d.config.File)
	}
}

// checkPolicy reads the policy's files as they are now, and tells what the daemon as a
// whole complains of and no other check says.
func checkPolicy(_ context.Context, d *Daemon, r *report) {
	if now, err := d.readPolicy(); err == nil && now.Hash() != d.policy().Hash() {
		r.warn("as root: systemctl reload tvsctld", "the policy has changed and was not read again")
	} else if err != nil && !d.isLawless() {
		r.wrong("mend it, then as root: systemctl reload tvsctld", "the policy is broken, and will not be read: %v", err)
	}
	told := []string{d.config.File, d.config.ProjectDir}
	if err := d.state.usable(); err != nil {
		told = append(told, err.Error())
	}
	for _, problem := range d.problems() {
		known := false
		for _, text := range told {
			known = known || text != "" && strings.Contains(problem, text)
		}
		if !known {
			r.wrong("mend it, then as root: systemctl reload tvsctld", "%s", problem)
		}
	}
	r.fine("tvsctld has no complaint of its own")
}

func checkProjectFiles(_ context.Context, d *Daemon, r *report) {
	paths, err := filepath.Glob(filepath.Join(d.config.ProjectDir, "*"))
	if err != nil {
		return // no pattern of ours is wrong
	}
	names := configuredProjects(d.config.ProjectDir)
	for _, path := range paths {
		if !strings.HasSuffix(path, ".toml") {
			r.warn("name it PROJECT.toml, or move it away", "%s is not read", path)
		}
	}
	for _, name := range names {
		config, err := readProjectConfig(d.config.ProjectDir, name)
		if err != nil {
			r.wrong("mend it, then as root: systemctl reload tvsctld", "%v", err)
			continue
		}
		if len(config.Compose) > 0 {
			if err := config.Files.Untrusted(true); err != nil {
				r.wrong("tvsctl up, down and rollouts refuse them until that is mended", "the compose files of project %s: %v", name, err)
			}
		}
	}
	r.fine("%d project %s in %s", len(names), plural(len(names), "file"), d.config.ProjectDir)
}
