package daemon

import (
	"context"
	"os"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"

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

// polkitRule is what lets tvsctld manage the units that its configuration lists.
const polkitRule = "/etc/polkit-1/rules.d/60-tvsctld.rules"

// checkPolkit compares the units that tvsctld.toml lists, the rule and the units that are
// there: from systemd 257 on a listed name without a unit is one that could be made.
func checkPolkit(ctx context.Context, d *Daemon, r *report) {
	var listed struct {
		Units []string `toml:"units"`
	}
	if text, err := os.ReadFile(d.config.File); err == nil {
		// What is wrong with the file is said of the settings.
		_, _ = toml.Decode(string(text), &listed)
	}
	for _, name := range listed.Units {
		u, err := d.units.Unit(ctx, name)
		if err != nil {
			return // said of systemd already
		}
		switch {
		case u.LoadState == "not-found" && !strings.Contains(name, "@"):
			r.wrong("take it out of units in "+d.config.File+", then systemctl restart tvsctld", "unit %s is listed, and there is none", name)
		case u.ActiveState == "failed":
			r.wrong("see systemctl status "+name+"; then tvsctl unit restart "+name, "unit %s has failed (%s)", name, u.Result)
		}
	}
	_, err := os.Stat(polkitRule)
	switch {
	case len(listed.Units) > 0 && missing(err):
		r.wrong("as root: systemctl restart tvsctld, which writes it", "units are listed, and %s is not there", polkitRule)
	case len(listed.Units) == 0 && err == nil:
		r.warn("as root: systemctl restart tvsctld, which removes it", "no units are listed, and %s is still there", polkitRule)
	case len(listed.Units) == 0:
		r.fine("no units are listed")
	default:
		r.fine("%d %s listed", len(listed.Units), plural(len(listed.Units), "unit"))
	}
}
