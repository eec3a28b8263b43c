//go:build e2e

package tests

import (
	"regexp"
	"strings"
	"testing"
)

// TestCatalog: journalctl -x explains what tvsctld wrote, with the fields filled in, and
// no longer once tvsctld is uninstalled.
func TestCatalog(t *testing.T) {
	m := own(t, "catalog1")
	if err := m.install(); err != nil {
		t.Fatal(err)
	}
	s := &stack{m: m, name: "explained", port: 3051}
	s.up(t)
	s.tvsctl(t, "scale", "webapp", "2")
	m.tvsctl("-p", "explained", "scale", "webapp", "100000")
	m.sh(t, "useradd -G tvs ann; runuser -u ann -- tvsctl -p explained down || true")
	m.must(t, "systemctl", "reload", "tvsctld.service")
	out := m.journalctl(t, "-x", "-u", "tvsctld")
	for _, want := range []string{
		"░░ Subject: tvsctld serves its socket",
		"░░ Subject: root asks for a change: scale ",
		"░░ Subject: ann may not down ",
		"░░ Subject: nginx serves other replicas of webapp",
		"░░ Subject: A request was refused",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("journalctl -x does not say %q", want)
		}
	}
	id := regexp.MustCompile(`tvsctl ops ([0-9a-z-]+) --follow`).FindStringSubmatch(out)
	if id == nil || m.tvsctl("ops", id[1]).code != 0 {
		t.Errorf("the explanation names no operation that there is: %q", id)
	}
	// A field that an entry does not have stays as its name.
	for line := range strings.Lines(out) {
		if strings.HasPrefix(line, "░") && strings.Contains(line, "TVS_") && !strings.Contains(line, "journalctl TVS_") {
			t.Errorf("a field is missing: %s", line)
		}
	}
	m.must(t, "/srv/tvs/scripts/install.sh", "--uninstall")
	if out := m.journalctl(t, "-x", "-u", "tvsctld"); strings.Contains(out, "Defined-By: tvsctld") {
		t.Error("the catalog still has what was uninstalled")
	}
	m.must(t, "test", "!", "-e", "/usr/local/lib/systemd")
}
