package daemon

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tvsctl/dockerops"
	"tvsctl/systemd"
)

func TestReadInstance(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, c := range []struct {
		name          string
		unit          systemd.Unit
		state, health string
		code          int
		stands        bool
	}{
		{"active", systemd.Unit{ActiveState: "active", Type: "exec"}, "running", "", 0, true},
		{"active and notified", systemd.Unit{ActiveState: "active", Type: "notify"}, "running", "healthy", 0, true},
		{"reloading", systemd.Unit{ActiveState: "reloading", Type: "notify-reload"}, "running", "healthy", 0, true},
		{"starting", systemd.Unit{ActiveState: "activating", SubState: "start", Type: "notify"}, "running", "starting", 0, true},
		{"to be started again", systemd.Unit{ActiveState: "activating", SubState: "auto-restart", ExitCode: 1, ExitStatus: 3}, "restarting", "", 3, true},
		{"stopping", systemd.Unit{ActiveState: "deactivating"}, "stopping", "", 0, true},
		{"failed", systemd.Unit{ActiveState: "failed", ExitCode: 2, ExitStatus: 9, InactiveSince: at}, "exited", "", 137, true},
		{"stopped", systemd.Unit{ActiveState: "inactive", InactiveSince: at}, "exited", "", 0, false},
		{"never started", systemd.Unit{ActiveState: "inactive"}, "created", "", 0, false},
	} {
		r := readInstance(dockerops.Replica{State: "created"}, &c.unit)
		if r.State != c.state || r.Health != c.health || r.ExitCode != c.code || stands(r) != c.stands {
			t.Errorf("%s: %+v", c.name, r)
		}
	}
}

func TestServicesConfig(t *testing.T) {
	dir := t.TempDir()
	read := func(text string) (projectConfig, error) {
		if err := os.WriteFile(filepath.Join(dir, "shop.toml"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return readProjectConfig(dir, "shop")
	}
	c, err := read(shopFile)
	if err != nil || c.Services["web"].Max != 16 || c.Services["web"].drain != dockerops.DefaultDrain || c.Nginx.Unit != "nginx.service" || fmt.Sprint(c.Nginx.backends) != "[{web 0}]" {
		t.Errorf("%+v, %v", c, err)
	}
	for unit, want := range map[string]bool{"app@25000.service": true, "app@25015.service": true, "app@25016.service": false, "app@24999.service": false,
		"app@025000.service": false, "app@x.service": false, "app.service": false, "db.service": true, "nginx.service": true, "other@25000.service": false} {
		if c.concerns(unit) != want {
			t.Errorf("concerns(%s) = %v", unit, !want)
		}
	}
	web := func(lines string) string {
		return "[services.web]\nunit = \"app@.service\"\nbase_port = 25000\n" + lines
	}
	for text, want := range map[string]string{
		"[services.web]\nunit = \"app.service\"\nbase_port = 1":      `services.web.unit: "app.service" is not the name of a template`,
		"[services.web]\nunit = \"app@1.service\"\nbase_port = 1":    `is not the name of a template`,
		"[services.web]\nunit = \"app@.service\"":                    "services.web.base_port: 0 is not a port with room for 16 instances",
		"[services.web]\nunit = \"app@.service\"\nbase_port = 65530": "65530 is not a port with room for 16",
		"[services.\"a b\"]\nunit = \"app@.service\"\nbase_port = 1": `"a b" is not the name of a service`,
		web("max = 2000"):                 "services.web.max: 2000 is not a number of instances from 1 to 1000",
		web("min = 17"):                   "services.web.min: 17 is not a number of instances from 0 to 16",
		web("database = \"db\""):          `services.web.database: "db" is not the full name of a unit`,
		web("database = \"web.service\""): "services.web.database: web is also the name of a service",
		web("drain = \"2h\""):             `services.web.drain: "2h" is not a duration`,
		web("ready_timeout = \"x\""):      `services.web.ready_timeout: "x" is not a duration`,
		web("match = \"(\""):              "services.web.match",
		web("image = \"x\""):              "unknown key services.web.image",
		web("[services.api]\nunit = \"api@.service\"\nbase_port = 25015"): "services api and web have ports in common",
		web("[nginx]\nbalances = \"web:80\""):                             `nginx.balances: there is no service "web:80"; the port is that of each instance`,
		"directory = \"/srv\"\nfiles = [\"/srv/c.yaml\"]\n" + web(""):     "a project has compose files or services of units, not both",
	} {
		if _, err := read(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s\n%v, want %q", text, err, want)
		}
	}
}
