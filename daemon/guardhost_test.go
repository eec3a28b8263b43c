package daemon

import (
	"slices"
	"testing"

	"tvsctl/systemd/managertest"
)

// A host's nginx that is started after its project's replicas is looked at then, and not at
// the next event of Docker.
func TestGuardFollowsTheHostsNginx(t *testing.T) {
	units := managertest.Start(t)
	units.File("nginx.service", nil)
	units.File(examinerUnit, nil)
	s := newStackWithout(t)
	projects := t.TempDir()
	writeProject(t, projects, "tvs", "[nginx]\nbalances = 'webapp:8080'\n")
	s.Client, s.d = serve(t, Config{Version: "test", StateDir: t.TempDir(), ProjectDir: projects, Log: s.journal})
	until(t, "the guard publishes to the other nginx", func() bool { return s.members() == "172.20.0.1:8080" })
	if calls := units.Calls(); len(calls) > 0 {
		t.Fatalf("nginx is down, and %q", calls)
	}
	units.Set("nginx.service", map[string]any{"ActiveState": "active", "MainPID": uint32(1)})
	until(t, "the guard asks nginx for its configuration", func() bool {
		return slices.ContainsFunc(units.Calls(), func(call string) bool { return call == "restart "+examinerUnit || call == "start "+examinerUnit })
	})
}
