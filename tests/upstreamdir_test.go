//go:build e2e

package tests

import (
	"strings"
	"testing"
)

// TestUpstreamDirectory: the upstreams of the host's nginx are written to no directory
// that leads elsewhere or is another's.
func TestUpstreamDirectory(t *testing.T) {
	t.Parallel()
	m := own(t, "updir")
	if err := m.install(); err != nil {
		t.Fatal(err)
	}
	m.sh(t, "useradd bob; mkdir -p /srv/target; chown tvsctld /srv/target")
	s := hostStack(t, m)
	before := m.must(t, "cat", "/run/tvs/upstreams/webapp.conf")
	for _, c := range []struct{ name, change, mend, says string }{
		{"a link", "cp -a /run/tvs/upstreams/. /srv/target; mv /run/tvs/upstreams /run/tvs/real && ln -s /srv/target /run/tvs/upstreams", "rm /run/tvs/upstreams && mv /run/tvs/real /run/tvs/upstreams", "/run/tvs/upstreams is a symbolic link"},
		{"for everybody", "chmod 777 /run/tvs/upstreams", "chmod 755 /run/tvs/upstreams", "can be written by others than its owner (mode 0777)"},
		{"somebody's", "chown bob /run/tvs/upstreams", "chown tvsctld /run/tvs/upstreams", "belongs to uid"},
	} {
		m.sh(t, c.change)
		m.must(t, "systemctl", "restart", "tvsctld.service") // its mounts were made with the old one
		r := m.tvsctl("-p", s.name, "scale", "webapp", "3")
		if r.code == 0 || !strings.Contains(r.err, c.says) {
			t.Errorf("%s: %s", c.name, r)
		}
		if now := m.must(t, "cat", "/run/tvs/upstreams/webapp.conf"); now != before {
			t.Errorf("%s: something was written: %s", c.name, now)
		}
		m.sh(t, c.mend)
	}
	m.must(t, "systemctl", "restart", "tvsctld.service")
	m.must(t, "tvsctl", "-p", s.name, "scale", "webapp", "2")
	for range 12 { // systemd's limit for starts is not in the way of tests
		m.must(t, "tvsctl", "-p", s.name, "nginx", "test")
	}
}
