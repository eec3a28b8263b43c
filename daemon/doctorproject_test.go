package daemon

import (
	"errors"
	"slices"
	"testing"

	"tvsctl/dockerops"
	"tvsctl/ipc"
	"tvsctl/nginx"
)

// TestRemedyOfAReadOnlyDirectory: labels are for an nginx in a container; the host's needs
// a directory that is tvsctld's and that its unit lets it write.
func TestRemedyOfAReadOnlyDirectory(t *testing.T) {
	entry := &dockerops.Project{Services: []dockerops.Service{{Name: "entry", Settings: dockerops.Settings{UpstreamDir: "/u"}}}}
	for _, c := range []struct {
		x    patient
		name string
		want string
	}{
		{patient{p: entry}, "entry", "make /u a directory that can be written, or set label tvs.nginx.upstreams"},
		{patient{p: &dockerops.Project{}, host: &hostNginx{Upstreams: hostUpstreamDir + "/"}}, "", "as root: install -d -o tvsctld /run/tvs/upstreams"},
		{patient{p: &dockerops.Project{}, host: &hostNginx{Upstreams: "/srv/u"}}, "",
			"as root: install -d -o tvsctld /srv/u; systemctl edit tvsctld, with ReadWritePaths=/srv/u under [Service]; systemctl restart tvsctld"},
	} {
		c.x.nginx = []*examined{{balancer: &balancer{service: c.name}, facts: nginx.Facts{Includes: true}, readOnly: errors.New("cannot write")}}
		r := &report{}
		checkNginx(t.Context(), &c.x, r)
		if !slices.ContainsFunc(r.findings, func(f ipc.Finding) bool { return f.Text == "cannot write" && f.Remedy == c.want }) {
			t.Errorf("%+v, not %q", r.findings, c.want)
		}
	}
}
