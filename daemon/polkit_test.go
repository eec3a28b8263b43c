package daemon

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// table reads which verbs of which units a rule lets through.
func table(t *testing.T, rule []byte) map[string][]string {
	t.Helper()
	_, rest, _ := strings.Cut(string(rule), "var units = ")
	text, _, _ := strings.Cut(rest, ";\n")
	units := map[string][]string{}
	if err := json.Unmarshal([]byte(text), &units); err != nil {
		t.Fatalf("%v in %s", err, rule)
	}
	return units
}

func TestPolkitRule(t *testing.T) {
	dir := t.TempDir()
	before := unitDirs
	t.Cleanup(func() { unitDirs = before })
	unitDirs = []string{filepath.Join(dir, "etc"), filepath.Join(dir, "lib")}
	write := func(name, text string) {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	link := func(target, name string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Join(dir, filepath.Dir(name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	for _, unit := range []string{"lib/backup.service", "lib/nginx.service", "lib/app@.service", "lib/real.service", "lib/masked.service", "opt/linked.service"} {
		write(unit, "[Service]\n")
	}
	link("/dev/null", "etc/masked.service")
	link(dir+"/lib/real.service", "etc/alias.service")
	link(dir+"/opt/linked.service", "etc/linked.service")
	link(dir+"/lib/app@.service", "etc/app@2.service")
	write("tvsctld.toml", `[units]
"backup.service" = ["stop", "start"]
"app@1.service" = ["start"]
"app@2.service" = ["start"]
"linked.service" = ["reload"]
"gone.service" = ["start"]
"gone@1.service" = ["start"]
"masked.service" = ["start"]
"alias.service" = ["start"]
`)
	write("projects/shop.toml", "[nginx]\nbalances = \"web:80\"\n")
	config := Config{File: filepath.Join(dir, "tvsctld.toml"), ProjectDir: filepath.Join(dir, "projects")}
	rule, problems := PolkitRule(config, "tvsctld")
	want := map[string][]string{"backup.service": {"start", "stop"}, "app@1.service": {"start"}, "app@2.service": {"start"},
		"linked.service": {"reload"}, "nginx.service": {"reload"}}
	if got := table(t, rule); !reflect.DeepEqual(got, want) {
		t.Errorf("it lets %v, want %v", got, want)
	}
	if len(problems) != 4 {
		t.Errorf("problems %v", problems)
	}
	for unit, file := range map[string]string{"app@1.service": "lib/app@.service", "linked.service": "etc/linked.service"} {
		if !strings.Contains(string(rule), fmt.Sprintf("%q: %q", unit, filepath.Join(dir, file))) {
			t.Errorf("it does not look for the file of %s: %s", unit, rule)
		}
	}
	if !strings.Contains(string(rule), `subject.user !== "tvsctld"`) {
		t.Errorf("for whom?\n%s", rule)
	}

	// A unit that goes takes its entry along.
	if err := os.Remove(filepath.Join(dir, "lib/backup.service")); err != nil {
		t.Fatal(err)
	}
	if rule, _ = PolkitRule(config, "tvsctld"); table(t, rule)["backup.service"] != nil {
		t.Errorf("a unit that is gone: %s", rule)
	}

	// What cannot be trusted gives no right.
	if err := os.Chmod(config.File, 0o666); err != nil {
		t.Fatal(err)
	}
	rule, problems = PolkitRule(config, "tvsctld")
	if got := table(t, rule); !reflect.DeepEqual(got, map[string][]string{"nginx.service": {"reload"}}) || len(problems) != 1 {
		t.Errorf("from a file that anybody can write: %v, %v", got, problems)
	}
	if rule, problems := PolkitRule(Config{ProjectDir: dir + "/none", File: dir + "/none"}, "tvsctld"); len(rule) > 0 || len(problems) > 0 {
		t.Errorf("without configuration: %s, %v", rule, problems)
	}
}

// The instances of a template are listed literally, while it is there.
func TestPolkitInstances(t *testing.T) {
	dir := t.TempDir()
	before := unitDirs
	t.Cleanup(func() { unitDirs = before })
	unitDirs = []string{dir}
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, unit := range []string{"app@.service", "db.service", "nginx.service"} {
		write(unit, "[Service]\n")
	}
	if err := os.Symlink("/dev/null", filepath.Join(dir, "app@35001.service")); err != nil {
		t.Fatal(err)
	}
	write("shop.toml", "[services.web]\nunit = \"app@.service\"\nbase_port = 35000\nmax = 3\ndatabase = \"db.service\"\n[nginx]\n")
	rule, problems := PolkitRule(Config{ProjectDir: dir, File: filepath.Join(dir, "none")}, "tvsctld")
	both := []string{"start", "stop"}
	want := map[string][]string{"app@35000.service": both, "app@35002.service": both, "db.service": both, "nginx.service": {"reload"}}
	if got := table(t, rule); !reflect.DeepEqual(got, want) || len(problems) != 1 {
		t.Errorf("it lets %v, problems %v", got, problems)
	}
	if err := os.Remove(filepath.Join(dir, "app@.service")); err != nil {
		t.Fatal(err)
	}
	rule, problems = PolkitRule(Config{ProjectDir: dir, File: filepath.Join(dir, "none")}, "tvsctld")
	if got := table(t, rule); len(got) != 2 || len(problems) != 1 {
		t.Errorf("without the template it lets %v, problems %v", got, problems)
	}
}

func TestUnitsSetting(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tvsctld.toml")
	for text, want := range map[string]string{
		`"a.service" = ["start", "edit"]`:            "is not a list of start, stop, restart, reload, reset-failed",
		`"a.service" = "start"`:                      "is not a list of",
		`"a" = ["start"]`:                            `line 2: "a" is not the full name of a unit`,
		`"a*.service" = ["start"]`:                   "is not the full name",
		`"../a.service" = ["start"]`:                 "is not the full name",
		`"a@.service" = ["start"]`:                   "is not the full name",
		"\"a\\u0022]});evil.service\" = [\"start\"]": "is not the full name",
	} {
		if err := os.WriteFile(path, []byte("[units]\n"+text+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := readSettings(path, settings{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}
