package daemon

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tvsctl/dockerops/enginetest"
	"tvsctl/ipc"
	"tvsctl/units"
)

// findings asks doctor, and returns what is not in order of the checks that are named.
func (s *stack) findings(t *testing.T, checks ...string) (list []string) {
	t.Helper()
	var all []ipc.Finding
	if err := s.Get(t.Context(), "/doctor", &all); err != nil {
		t.Fatal(err)
	}
	for _, f := range all {
		for _, name := range checks {
			if f.Check == name && f.State != ipc.FindingOK {
				list = append(list, string(f.State)+" "+f.Check+": "+f.Text+" → "+f.Remedy)
			}
		}
		if f.State != ipc.FindingOK && f.Remedy == "" {
			t.Errorf("%s says no remedy: %s", f.Check, f.Text)
		}
	}
	return list
}

func TestDoctorOfAProject(t *testing.T) {
	s := newStack(t)
	mine := []string{"state", "settings", "projects", "policy", "docker", "cgroup", "labels", "nginx", "upstreams", "replicas"}
	s.do(t, "scale", scaleRequest(2))
	if list := s.findings(t, mine...); len(list) > 0 {
		t.Errorf("on a healthy host: %q", list)
	}
	change := func(label, value string) func() {
		return func() { s.Update("tvs-webapp-2", "update", func(c *enginetest.Container) { c.Labels[label] = value }) }
	}
	for _, c := range []struct {
		name  string
		plant func()
		want  string
		mend  func()
	}{
		{"an unknown label", change("tvs.drains", "9s"), "warning labels: project tvs: service webapp: there is no label tvs.drains", nil},
		{"a stale address", func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.files["webapp.conf"] = "upstream webapp {\n    server 172.20.0.9:8080; # tvs-webapp-9\n}\n"
		}, "problem upstreams: project tvs: tvs-entry-1 sends requests to 172.20.0.9:8080, where no replica of webapp runs", func() { s.do(t, "nginx/reload", struct{}{}) }},
		{"a dead replica", func() {
			s.Update("tvs-webapp-2", "die", func(c *enginetest.Container) { c.State, c.ExitCode = "exited", 3 })
			until(t, "it leaves nginx", func() bool { return s.members() == "172.20.0.1:8080" })
		}, "problem replicas: project tvs: tvs-webapp-2 exited with code 3", func() {
			s.Update("tvs-webapp-2", "start", func(c *enginetest.Container) { c.State = "running" })
			until(t, "it is back", func() bool { return strings.Contains(s.members(), "172.20.0.2") })
		}},
		{"drift", func() { s.Add("webapp", 3, func(c *enginetest.Container) { c.State = "created" }) },
			"problem replicas: project tvs: drift: 3 replicas of webapp, where 2 are desired → tvsctl scale -p tvs webapp 2", func() { s.Remove("tvs-webapp-3") }},
	} {
		c.plant()
		if list := s.findings(t, mine...); !strings.Contains(strings.Join(list, "\n"), c.want) {
			t.Errorf("%s: %q", c.name, list)
		}
		if c.mend != nil {
			c.mend()
		}
	}
	if list := s.findings(t, mine...); len(list) != 1 || !strings.Contains(list[0], "tvs.drains") {
		t.Errorf("when all but the label is mended: %q", list)
	}
	s.Down()
	if list := s.findings(t, mine...); len(list) != 1 || !strings.HasPrefix(list[0], "problem docker: the Docker Engine cannot be reached") {
		t.Errorf("without Docker: %q", list)
	}
	s.Up()
}

func TestDoctorOfTheConfiguration(t *testing.T) {
	dir := t.TempDir()
	file, projects := filepath.Join(dir, "tvsctld.toml"), filepath.Join(dir, "projects")
	if err := os.Mkdir(projects, 0o755); err != nil {
		t.Fatal(err)
	}
	s := newStackWithout(t)
	s.Client, s.d = serve(t, Config{StateDir: t.TempDir(), ProjectDir: projects, File: file, Log: s.journal})
	for _, c := range []struct{ path, text, want string }{
		{file, "max_operations = 7", "warning settings: " + file + " has changed and was not read again"},
		{file, "max_operations = 0", "problem settings: cannot read " + file},
		{filepath.Join(projects, "shop.toml"), "nginks = 1", "problem projects: cannot read " + projects + "/shop.toml: line 1: unknown key nginks"},
		{filepath.Join(projects, "shop.conf"), "", "warning projects: " + projects + "/shop.conf is not read"},
		{filepath.Join(projects, "shop.toml"), "directory = \"/none\"\nfiles = [\"/none/x\"]", "problem projects: the compose files of project shop: cannot use the project directory"},
	} {
		if err := os.WriteFile(c.path, []byte(c.text), 0o644); err != nil {
			t.Fatal(err)
		}
		if list := s.findings(t, "settings", "projects"); len(list) != 1 || !strings.HasPrefix(list[0], c.want) {
			t.Errorf("%q: %q", c.text, list)
		}
		if err := os.Remove(c.path); err != nil {
			t.Fatal(err)
		}
	}
	if list := s.findings(t, "settings", "projects", "policy"); len(list) > 0 {
		t.Errorf("mended: %q", list)
	}
	// What the daemon complains of and no check knows is said all the same.
	s.d.mu.Lock()
	s.d.lawless = errors.New("the policy of yesterday is in force")
	s.d.mu.Unlock()
	if list := s.findings(t, "policy"); len(list) != 1 || !strings.Contains(list[0], "the policy of yesterday") {
		t.Errorf("%q", list)
	}
}

// A file is as it was shipped wherever the programs are, and whatever comments it has.
func TestChangedUnit(t *testing.T) {
	shipped, err := units.Files.ReadFile("tvsctld.service")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		old, new string
		changed  bool
	}{
		{"", "", false},
		{"/opt/isel/tvs/", "/usr/lib/", false},
		{"[Unit]", "# ours\n\n[Unit]", false},
		{"KillMode=mixed", "KillMode=process", true},
		{"NoNewPrivileges=yes\n", "", true},
		{"WatchdogSec=60", "WatchdogSec=60\nNice=5", true},
	} {
		if got := changedUnit("tvsctld.service", strings.Replace(string(shipped), c.old, c.new, 1)); got != c.changed {
			t.Errorf("%q for %q: changed is %v", c.new, c.old, got)
		}
	}
}

func TestClock(t *testing.T) {
	var r report
	// A clock that says a time before this program was made.
	checkClock(t.Context(), &Daemon{born: time.Unix(0, 0)}, &r)
	if len(r.findings) != 1 || r.findings[0].State != ipc.FindingProblem || !strings.Contains(r.findings[0].Text, "1970-01-01") {
		t.Errorf("%+v", r.findings)
	}
}
