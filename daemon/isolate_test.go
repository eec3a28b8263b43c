package daemon

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"tvsctl/ipc"
	"tvsctl/policy"
	"tvsctl/systemd/managertest"
)

// The dry run of isolate, which tvsctl asks for before it asks the user, is on record and
// leaves the rate to what follows.
func TestDryRunOfIsolateSpendsNoRate(t *testing.T) {
	t.Setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
	units := managertest.Start(t)
	units.File("quiet.target", map[string]any{"CanIsolate": true})
	units.Set("quiet.target", nil)
	units.Set("noise.service", map[string]any{"LoadState": "loaded", "ActiveState": "active", "SubState": "running"})
	journal := &journalBuffer{}
	_, d := serve(t, Config{Version: "test", StateDir: t.TempDir(), ProjectDir: t.TempDir(), Log: journal})
	p, err := policy.Parse("test.toml", []byte("[[rule]]\nname = 'once'\ngroups = [990]\nrole = 'admin'\nunits = ['quiet.target']\nrate = '1/1h'\n"))
	if err != nil {
		t.Fatal(err)
	}
	d.rules.Store(p)
	handler := d.handler()
	isolate := func(body string, group uint32) (status int, text string) {
		r := httptest.NewRequest(http.MethodPost, "/v1"+ipc.UnitPath("quiet.target", "isolate"), strings.NewReader(body))
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r.WithContext(withPeer(t.Context(), peer{UID: stranger, GID: group, PID: 1})))
		return w.Code, w.Body.String()
	}
	for _, c := range []struct {
		name, body string
		group      uint32
		want       int
		has        string
	}{
		{"a dry run", `{"dry_run":true}`, 990, http.StatusOK, `"noise.service"`},
		{"that of somebody else", `{"dry_run":true}`, 991, http.StatusForbidden, `"forbidden"`},
		{"isolate", `{"no_block":true}`, 990, http.StatusAccepted, `"isolate"`},
		{"isolate again", `{"no_block":true}`, 990, http.StatusTooManyRequests, `"busy"`},
	} {
		if status, text := isolate(c.body, c.group); status != c.want || !strings.Contains(text, c.has) {
			t.Errorf("%s: %d %s", c.name, status, text)
		}
	}
	text := journal.String()
	if n := strings.Count(text, "to see what isolate quiet.target would stop, by rule once."); n != 1 || strings.Count(text, "TVS_DECISION=allow") != 2 {
		t.Errorf("the dry run has %d entries:\n%s", n, text)
	}
	until(t, "it ends", func() bool { return !d.operating() })
}
