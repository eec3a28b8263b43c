package daemon

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"tvsctl/dockerops"
)

// unitDirs are where a unit's file must lie to be managed, as systemd searches them
// (systemd.unit(5)). Not those of generated and transient units: what anybody can make
// at run time proves nothing.
var unitDirs = []string{"/etc/systemd/system", "/run/systemd/system", "/usr/local/lib/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"}

const (
	daemonUser = "tvsctld"
	// PolkitCopy is the rule that was written, where the daemon can read it.
	PolkitCopy = "/run/tvs/polkit.rules"
)

// PolkitRule returns the polkit rule that lets the daemon's user manage the configured
// units and no others, empty when there are none, and what is wrong with the
// configuration. A unit without a file is left out, and the rule looks whether it still
// has that when it is asked: from systemd 257 on, who may start a name that is free may
// define what it runs, as root (StartTransientUnit).
func PolkitRule(c Config, user string) (rule []byte, problems []error) {
	units, files := map[string][]string{}, map[string]string{}
	add := func(unit string, verbs ...string) {
		file, err := unitFile(unit)
		if err != nil {
			problems = append(problems, err)
			return
		}
		files[unit] = file
		for _, verb := range verbs {
			if !slices.Contains(units[unit], verb) {
				units[unit] = append(units[unit], verb)
			}
		}
	}
	s, err := readSettings(c.File, settings{})
	if err != nil {
		problems = append(problems, err)
		s = settings{} // what may be wrong gives nobody a right
	}
	for unit, verbs := range s.Units {
		add(unit, verbs...)
	}
	for _, name := range configuredProjects(c.ProjectDir) {
		project, err := readProjectConfig(c.ProjectDir, name)
		if err != nil {
			problems = append(problems, err)
			continue
		}
		if project.Nginx != nil {
			add(project.Nginx.Unit, "reload")
		}
		for _, service := range project.Services {
			addInstances(service, add, &problems)
		}
	}
	if len(units) == 0 {
		return nil, problems
	}
	for _, verbs := range units {
		slices.Sort(verbs)
	}
	table, err := json.MarshalIndent(units, "  ", "  ") // JSON is JavaScript, with sorted keys
	if err != nil {
		return nil, append(problems, err)
	}
	places, err := json.MarshalIndent(files, "  ", "  ")
	if err != nil {
		return nil, append(problems, err)
	}
	name, err := json.Marshal(user)
	if err != nil {
		return nil, append(problems, err)
	}
	return fmt.Appendf(nil, polkitRule, table, places, name), problems
}

// addInstances lists the instances that a service may have while its template is there,
// and what they depend on.
func addInstances(s *unitService, add func(unit string, verbs ...string), problems *[]error) {
	if s.Database != "" {
		add(s.Database, "start", "stop")
	}
	if _, err := unitFile(s.Unit); err != nil {
		*problems = append(*problems, err)
		return
	}
	instances := dockerops.Units{Unit: s.Unit, Base: s.BasePort}
	for port := s.BasePort; port <= s.last(); port++ {
		add(instances.Name(port), "start", "stop")
	}
}

// The service is compared where polkit tells it, from 124 on.
const polkitRule = `// Written by tvsctld at its start, from /etc/tvsctld. Changes here are lost.
(function () {
  var units = %s;
  var files = %s;
  polkit.addRule(function (action, subject) {
    if (action.id !== "org.freedesktop.systemd1.manage-units" || subject.user !== %s)
      return polkit.Result.NOT_HANDLED;
    if ("system_unit" in subject && subject.system_unit !== "tvsctld.service")
      return polkit.Result.NOT_HANDLED;
    var unit = action.lookup("unit"), verb = action.lookup("verb");
    if (!Object.prototype.hasOwnProperty.call(units, unit) || units[unit].indexOf(verb) < 0)
      return polkit.Result.NOT_HANDLED;
    try {
      polkit.spawn(["/usr/bin/test", "-f", files[unit]]);
    } catch (gone) {
      return polkit.Result.NOT_HANDLED;
    }
    return polkit.Result.YES;
  });
})();
`

// unitFile returns the file of a unit that can be listed. It must have one under its own
// name: what an alias leads to is not what somebody listed.
func unitFile(unit string) (string, error) {
	for _, dir := range unitDirs {
		path := filepath.Join(dir, unit)
		target, err := filepath.EvalSymlinks(path)
		if err != nil {
			continue
		}
		info, err := os.Stat(target)
		switch {
		case err != nil:
			return "", fmt.Errorf("cannot let tvsctld manage %s: %v", unit, err)
		case filepath.Base(target) != unit && filepath.Base(target) != templateOf(unit):
			return "", fmt.Errorf("cannot let tvsctld manage %s: it is masked or another name of %s", unit, filepath.Base(target))
		case !info.Mode().IsRegular():
			return "", fmt.Errorf("cannot let tvsctld manage %s: %s is no file", unit, target)
		}
		return path, nil
	}
	if template := templateOf(unit); template != "" && template != unit {
		return unitFile(template)
	}
	return "", fmt.Errorf("cannot let tvsctld manage %s: there is no such unit file", unit)
}

// templateOf returns the template of an instance's name, or "".
func templateOf(unit string) string {
	name, rest, found := strings.Cut(unit, "@")
	if !found {
		return ""
	}
	return name + "@" + filepath.Ext(rest)
}
