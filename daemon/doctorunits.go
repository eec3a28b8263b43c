package daemon

import (
	"bytes"
	"context"
	"maps"
	"os"
	"slices"
	"strings"

	"tvsctl/units"
)

// leastSystemd is the oldest version that knows all that the units say.
const leastSystemd = 249

func checkSystemd(ctx context.Context, d *Daemon, r *report) {
	if _, err := os.Stat("/run/systemd/system"); err != nil {
		r.wrong("run tvsctld on a host with systemd as PID 1; --listen is for development", "systemd does not run on this host")
		return
	}
	version, err := d.units.Version(ctx)
	switch {
	case err != nil:
		r.wrong("as root: systemctl start dbus", "cannot talk to systemd: %v", err)
	case version < leastSystemd:
		r.wrong("upgrade: Debian 12, Ubuntu 22.04 and later have it", "systemd is %d, and %d is needed", version, leastSystemd)
	default:
		r.ok("systemd %d", version)
	}
}

// ownUnits must be installed, enabled and run.
var ownUnits = []string{"tvsctld.socket", "tvsctld.service"}

const installAgain = "install again: as root scripts/install.sh, or the package"

func checkUnits(ctx context.Context, d *Daemon, r *report) {
	for _, name := range ownUnits {
		u, err := d.units.Unit(ctx, name)
		if err != nil {
			return // said of systemd already
		}
		switch u.LoadState {
		case "loaded":
		case "masked":
			r.wrong("as root: systemctl unmask "+name, "%s is masked", name)
			continue
		default:
			r.wrong(installAgain, "%s is %s", name, u.LoadState)
			continue
		}
		before := len(r.findings)
		if u.NeedReload {
			r.wrong("as root: systemctl daemon-reload, then systemctl restart "+name, "the files of %s have changed since systemd read them", name)
		}
		if text, err := os.ReadFile(u.Fragment); err == nil && changedUnit(name, string(text)) {
			r.warn(installAgain+"; what is to stay different belongs into a drop-in: systemctl edit "+name, "%s is not as it was shipped", u.Fragment)
		}
		for _, file := range u.DropIns {
			r.warn("see systemctl cat "+name, "%s changes %s", file, name)
		}
		if u.FileState != "enabled" {
			r.wrong("as root: systemctl enable --now "+name, "%s is %s: it does not come up at boot", name, u.FileState)
		}
		if u.ActiveState != "active" && u.ActiveState != "reloading" {
			r.wrong("as root: systemctl restart "+name, "%s is %s (%s)", name, u.ActiveState, u.Result)
		}
		if len(r.findings) == before {
			r.ok("%s is enabled and runs", name)
		}
	}
}

// changedUnit reports whether a unit file says something else than the shipped one,
// the place of the programs aside.
func changedUnit(name, text string) bool {
	shipped, err := units.Files.ReadFile(name)
	return err == nil && !slices.Equal(directives(string(shipped)), directives(text))
}

func directives(text string) []string {
	var list []string
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line != "" && line[0] != '#' && line[0] != ';' && !strings.HasPrefix(line, "Exec") {
			list = append(list, line)
		}
	}
	return list
}

// checkPolkit compares the units that the configuration lists, the rule and the units that
// are there.
func checkPolkit(ctx context.Context, d *Daemon, r *report) {
	s, err := readSettings(d.config.File, settings{})
	if err != nil {
		return // said of the settings
	}
	rule, problems := PolkitRule(d.config, daemonUser)
	for _, err := range problems {
		if strings.Contains(err.Error(), d.config.ProjectDir) {
			continue // said of the projects' files
		}
		r.wrong("mend "+d.config.File+", or install the unit; then as root: systemctl reload tvsctld", "%v", err)
	}
	if written, err := os.ReadFile(PolkitCopy); err != nil && !missing(err) {
		r.warn("as root: systemctl restart tvsctld-polkit.service", "cannot tell what polkit's rule says: %v", err)
	} else if !bytes.Equal(written, rule) {
		r.wrong("as root: systemctl restart tvsctld-polkit.service", "polkit's rule for tvsctld is not what the configuration says")
	}
	for _, name := range slices.Sorted(maps.Keys(s.Units)) {
		if u, err := d.units.Unit(ctx, name); err == nil && u.ActiveState == "failed" {
			r.wrong("see tvsctl unit status "+name+"; then tvsctl unit restart "+name, "unit %s has failed (%s)", name, u.Result)
		}
	}
	r.fine("%d %s listed", len(s.Units), plural(len(s.Units), "unit"))
}
