package daemon

import (
	"bytes"
	"context"
	"maps"
	"os"
	"slices"
	"strings"

	"tvsctl/systemd"
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

// ownUnits must be enabled and run. The others are started when they are needed.
var ownUnits = []string{"tvsctld.socket", "tvsctld.service"}

const installAgain = "install again: as root scripts/install.sh, or the package"

func checkUnits(ctx context.Context, d *Daemon, r *report) {
	for _, file := range units.Names() {
		// A template has no state; any instance tells how its file is.
		name := strings.Replace(file, "@.", "@doctor.", 1)
		u, err := d.units.Unit(ctx, name)
		if err != nil {
			return // said of systemd already
		}
		before := len(r.findings)
		if needed := slices.Contains(ownUnits, file); checkUnitFile(r, file, u) && needed {
			checkOwnUnit(r, u)
		}
		if len(r.findings) == before {
			r.ok("%s is as it should be", file)
		}
	}
}

// checkUnitFile looks at a unit's files. It reports whether systemd could load them.
func checkUnitFile(r *report, file string, u *systemd.Unit) bool {
	switch u.LoadState {
	case "loaded":
	case "masked":
		r.wrong("as root: systemctl unmask "+file, "%s is masked", file)
		return false
	default:
		r.wrong(installAgain, "%s is %s", file, u.LoadState)
		return false
	}
	if u.NeedReload {
		r.wrong("as root: systemctl daemon-reload, then systemctl restart tvsctld.service", "the files of %s have changed since systemd read them", file)
	}
	if text, err := os.ReadFile(u.Fragment); err == nil && changedUnit(file, string(text)) {
		r.warn(installAgain+"; what is to stay different belongs into a drop-in: systemctl edit "+file, "%s is not as it was shipped", u.Fragment)
	}
	for _, dropIn := range u.DropIns {
		r.warn("see systemctl cat "+file, "%s changes %s", dropIn, file)
	}
	return true
}

func checkOwnUnit(r *report, u *systemd.Unit) {
	if u.FileState != "enabled" {
		r.wrong("as root: systemctl enable --now "+u.ID, "%s is %s: it does not come up at boot", u.ID, u.FileState)
	}
	if u.ActiveState != "active" && u.ActiveState != "reloading" {
		r.wrong("as root: systemctl restart "+u.ID, "%s is %s (%s)", u.ID, u.ActiveState, u.Result)
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
