package daemon

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"tvsctl/dockerops"
	"tvsctl/dockerops/enginetest"
	"tvsctl/ipc"
	"tvsctl/systemd"
	"tvsctl/systemd/managertest"
)

// FuzzRead: a body is what was asked for, or refused as bad in one line.
func FuzzRead(f *testing.F) {
	for _, body := range []string{"", "null", `{"services":{"webapp":3},"dry_run":true}`, `{"service":"webapp","by":-1}`, `{"count":2}`, `{"service":"webapp","image":"x:2","pause_after":1}`,
		`{"service":"webapp","memory":1,"cpus":0.5}`, `{"service":"webapp","command":["sh"],"size":{"rows":65536}}`, `{"no_block":true}`, `{"directory":"/","files":[null]}`,
		`{"services":{"a":1e400}}`, `{"services":{"a":1,"a":2}}`, `[]`, `{}{}`, `{"` + "\xff" + `":1}`, `{"services":` + strings.Repeat("[", 5000)} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, into := range []any{&ipc.ScaleRequest{}, &ipc.AdjustRequest{}, &ipc.ResetRequest{}, &ipc.StartRequest{}, &ipc.StopRequest{}, &ipc.RolloutRequest{},
			&ipc.ContinueRequest{}, &ipc.RollbackRequest{}, &ipc.RestartRequest{}, &ipc.UpRequest{}, &ipc.DownRequest{},
			&ipc.LimitRequest{}, &ipc.ExecRequest{}, &ipc.UnitRequest{}, &ipc.Declaration{}} {
			err := read(httptest.NewRequest(http.MethodPost, "/", strings.NewReader(string(body))), into)
			if refused, ok := err.(*ipc.Error); err != nil && (!ok || refused.Code != ipc.CodeBadRequest || strings.Contains(refused.Message, "\n")) {
				t.Errorf("%T: %v", into, err)
			}
			if err == nil && !json.Valid(body) {
				t.Errorf("%T: %+v was read from what is not JSON", into, into)
			}
		}
	})
}

// FuzzRoutes asks every route with any path, query and body of a daemon whose state
// cannot be written, so that changes are decided and not made. There is no request at
// which the daemon itself fails, and every refusal has the one form.
func FuzzRoutes(f *testing.F) {
	f.Setenv("PATH", f.TempDir()) // no docker compose
	engine := enginetest.Start(f, "1.45")
	engine.Add("entry", 1, func(c *enginetest.Container) { c.Labels["tvs.nginx"] = "webapp:8080" })
	engine.Add("webapp", 1, func(c *enginetest.Container) { c.Health, c.Address = "healthy", "172.20.0.1" })
	units := managertest.Start(f)
	units.File("a.service", map[string]any{"CanIsolate": true})
	units.File("b@.service", map[string]any{"ActiveState": "failed", "Result": "exit-code"})
	file := filepath.Join(f.TempDir(), "state")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		f.Fatal(err)
	}
	d := New(Config{Version: "test", StateDir: file, ProjectDir: f.TempDir(), Log: &journalBuffer{}})
	d.log = &logbook{out: &journalBuffer{}}
	d.life, d.activity = f.Context(), newActivity(0)
	handler := d.handler()

	for i, r := range routes {
		f.Add(i, "tvs", "1", "project=tvs", `{}`)
		f.Add(i, "-", "../x", "follow=1&project=..", `{"services":{"webapp":3},"dry_run":true}`)
		f.Add(i, "%2e%2e/..", "\x00", "a=%zz;b", `{"service":"webapp","image":"web:2","dry_run":true}`)
		f.Add(i, "tvs", "a.service", "lines=1&for=active&reverse=true&pattern=a*", `{"dry_run":true}`)
		f.Add(i, "tvs", "b@1", "tail=1&since=2026-01-01T00:00:00Z", `{"no_block":true}`)
		f.Add(i, "tvs", "a\n\xf4`", "project=tvs", "}}")
		f.Add(i, "tvs", "webapp", "number=1", `{"service":"webapp","memory":16777216}`)
		if r.method == http.MethodPut {
			f.Add(i, "tvs", "", "", `{"directory":"/srv","files":["compose.yaml"]}`)
		}
	}
	f.Add(-1, "/v1//projects/./tvs", "", "", "")
	f.Add(-1, "*", "", "", "")
	f.Fuzz(func(t *testing.T, i int, project, name, query, body string) {
		method, path := http.MethodPost, project
		if i >= 0 && i < len(routes) {
			method, path = routes[i].method, strings.NewReplacer("{project}", project, "{id}", name, "{unit}", name, "{service}", name).Replace(routes[i].path)
			if strings.HasSuffix(routes[i].path, "events") || strings.HasSuffix(routes[i].path, "wait") {
				return // they answer when something happens
			}
		}
		ctx, cancel := context.WithTimeout(withPeer(t.Context(), peer{}), 3*time.Second) // a log can be followed
		defer cancel()
		r, err := http.NewRequestWithContext(ctx, method, "http://tvsctld/", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.URL.Path, r.URL.RawQuery = path, query
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		if w.Code < 400 {
			return
		}
		var reply ipc.ErrorReply
		if err := json.Unmarshal(w.Body.Bytes(), &reply); err != nil || reply.Error == nil {
			t.Fatalf("%s %q: %d, %s", method, path, w.Code, w.Body)
		}
		if reply.Error.Code == ipc.CodeInternal || strings.ContainsAny(reply.Error.Message, "\n") || reply.Error.Code.HTTPStatus() != w.Code {
			t.Errorf("%s %q with %q: %d, %+v", method, path, body, w.Code, reply.Error)
		}
	})
}

// FuzzProjectConfig: a project's file is read, or refused with its path.
func FuzzProjectConfig(f *testing.F) {
	for _, text := range []string{"", "directory = '/srv/shop'\nfiles = ['/srv/shop/compose.yaml']\nprofiles = ['a']\n[nginx]\nunit = 'nginx.service'\nbalances = 'webapp:8080'\n",
		shopFile, shopFile + "[services.api]\nunit = 'api@.service'\nbase_port = 25020\nmatch = '('\ndrain = '1h'\nready_timeout = '0s'\n",
		"[services.a]\nunit = 'a@.service'\nbase_port = 65535\nmax = 1\n[nginx]\nbalances = 'a, b'", "[services]\na = 1",
		"[nginx]\nbalances = 'x'", "[nginx]\nupstreams = 'run'\nbalances = 'a:1'", "directory = 3", "nginx = 'x'", "[nginx]\n", "\xff"} {
		f.Add([]byte(text))
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, text []byte) {
		path := filepath.Join(dir, "shop.toml")
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := readProjectConfig(dir, "shop")
		if err != nil {
			if !strings.HasPrefix(err.Error(), "cannot read "+path+":") {
				t.Error(err)
			}
			return
		}
		if c.Nginx != nil && (c.Nginx.Unit == "" || !filepath.IsAbs(c.Nginx.Upstreams) || len(c.Nginx.backends) == 0 || slices.Contains(c.Nginx.backends, dockerops.Backend{})) {
			t.Errorf("%+v", c.Nginx)
		}
		for name, u := range c.Services {
			of := dockerops.Units{Unit: u.Unit, Base: u.BasePort}
			first, last := of.Name(u.BasePort), of.Name(u.last())
			if u.BasePort < 1 || u.last() > 65535 || u.Min > u.Max || u.instance(first) != u.BasePort || u.instance(last) != u.last() {
				t.Errorf("%s: %+v", name, u)
			}
			if u.drain < 0 || u.drain > maxInstanceDuration || u.readyTimeout <= 0 || u.readyTimeout > maxInstanceDuration {
				t.Errorf("%s: %+v", name, u)
			}
		}
	})
}

// FuzzSettings: the daemon's own file gives settings within their bounds, or none.
func FuzzSettings(f *testing.F) {
	for _, text := range []string{"", "idle = '60s'\nmax_connections = 3\nmax_connections_per_user = 65536\nmax_operations = 1\n", "idle = 60", "max_operations = 0", "max_operations = 1e3",
		"[units]\n'a.service' = ['start', 'reset-failed']\n'b@1.socket' = []\n", "[units]\n'a*.service' = ['start']", "[units]\n'.a.service' = []", "[units]\n'a.service' = ['enable']", "units = 1",
		"[idle]\nx = 1", "idle = '9999999h'", "x = 1\n[x]"} {
		f.Add([]byte(text))
	}
	usual := settings{Idle: idleTime(time.Minute), MaxConnections: 1024, MaxConnectionsPerUser: 64, MaxOperations: 256}
	path := filepath.Join(f.TempDir(), "tvsctld.toml")
	f.Fuzz(func(t *testing.T, text []byte) {
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := readSettings(path, usual)
		if err != nil {
			if !strings.HasPrefix(err.Error(), "cannot read "+path+":") {
				t.Error(err)
			}
			return
		}
		if idle := time.Duration(s.Idle); idle < time.Second || idle > 24*time.Hour {
			t.Errorf("idle %s", idle)
		}
		for _, n := range []bound{s.MaxConnections, s.MaxConnectionsPerUser, s.MaxOperations} {
			if n < 1 || n > 65536 {
				t.Errorf("%+v", s)
			}
		}
		for unit, verbs := range s.Units {
			if full, err := systemd.UnitName(unit); err != nil || full != unit || systemd.Template(unit) {
				t.Errorf("%q is listed: %q, %v", unit, full, err)
			}
			for _, verb := range verbs {
				if !slices.Contains(managedVerbs, verb) {
					t.Errorf("%s: %q is listed", unit, verb)
				}
			}
		}
	})
}
