package daemon

import (
	"strings"
	"testing"

	"tvsctl/dockerops/enginetest"
	"tvsctl/ipc"
)

// Without the root unit there is what Docker tells, and what is missing is said.
func TestInspectWithoutAUnit(t *testing.T) {
	t.Setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nowhere/bus")
	s := newStack(t)
	s.Add("webapp", 3, func(c *enginetest.Container) { c.State, c.ExitCode, c.Finished = "exited", 7, c.Created })
	var list []ipc.Inspection
	if err := s.Get(t.Context(), "/projects/tvs/services/webapp/inspect", &list); err != nil || len(list) != 2 {
		t.Fatalf("%+v, %v", list, err)
	}
	first, stopped := list[0], list[1]
	if first.Name != "tvs-webapp-1" || first.Project != "tvs" || first.Service != "webapp" || first.State != "running" || len(first.ID) != 64 ||
		first.Networks[0].Network != "tvs_default" || len(first.Missing) != 1 || !strings.Contains(first.Missing[0], "cannot reach the system bus") {
		t.Errorf("%+v", first)
	}
	if stopped.Number != 3 || *stopped.ExitCode != 7 || len(stopped.Missing) != 1 || !strings.Contains(stopped.Missing[0], "does not run") {
		t.Errorf("%+v", stopped)
	}
	if err := s.Get(t.Context(), "/projects/-/services/webapp/inspect?number=3", &list); err != nil || len(list) != 1 || list[0].Number != 3 {
		t.Errorf("%+v, %v", list, err)
	}
	for query, code := range map[string]ipc.Code{"webapp/inspect?number=9": ipc.CodeUnknownService, "webapp/inspect?number=x": ipc.CodeBadRequest,
		"webapp/inspect?number=0": ipc.CodeBadRequest, "nothing/inspect": ipc.CodeUnknownService} {
		if err := s.Get(t.Context(), "/projects/tvs/services/"+query, &list); err == nil || describeError(err).Code != code {
			t.Errorf("%s: %v", query, err)
		}
	}
}
