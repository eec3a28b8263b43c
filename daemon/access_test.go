package daemon

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"tvsctl/dockerops"
	"tvsctl/ipc"
	"tvsctl/policy"
)

const stranger = 4000000000 // neither root nor who runs the test, and without a name

// ruled is a daemon under some rules, and its journal.
func ruled(t *testing.T, rules string) (*Daemon, *bytes.Buffer) {
	t.Helper()
	p, err := policy.Parse("test.toml", []byte(rules))
	if err != nil {
		t.Fatal(err)
	}
	journal := &bytes.Buffer{}
	d := &Daemon{log: &logbook{out: io.Writer(journal)}}
	d.rules.Store(p)
	return d, journal
}

func asking(t *testing.T, uid uint32, groups ...uint32) *http.Request {
	t.Helper()
	r := httptest.NewRequest("POST", "/v1/x", nil)
	r.SetPathValue("project", "shop")
	return r.WithContext(withGranted(withPeer(t.Context(), peer{UID: uid, GID: stranger, PID: 1, Groups: groups})))
}

func TestAllow(t *testing.T) {
	d, journal := ruled(t, `
[[rule]]
groups = [990]
role = "operator"
projects = ["shop"]
[[rule]]
groups = [991]
role = "operator"
services = ["web*"]
[[rule]]
groups = [992]
role = "viewer"
`)
	unknown := httptest.NewRequest("GET", "/v1/x", nil)
	for _, c := range []struct {
		name    string
		access  access
		request *http.Request
		allowed bool
	}{
		{"an operator", access{whole, policy.NginxReload}, asking(t, stranger, 5, 990), true},
		{"an operator, of more than that", access{whole, policy.Up}, asking(t, stranger, 990), false},
		{"an operator of some services, of all", access{whole, policy.NginxReload}, asking(t, stranger, 991), false},
		{"an operator of some services, of part", access{partly, policy.Scale}, asking(t, stranger, 991), true},
		{"a viewer, in case it is a dry run", access{partly, policy.Scale}, asking(t, stranger, 992), true},
		{"a viewer, to whom a dry run is of no use", access{whole, policy.NginxReload}, asking(t, stranger, 992), false},
		{"no rule", access{partly, policy.Status}, asking(t, stranger, 5), false},
		{"no rule, a list", access{kind: filtered}, asking(t, stranger, 5), true},
		{"no rule, of itself", access{kind: open}, asking(t, stranger, 5), true},
		{"the host, by who has one project", access{host, policy.Logs}, asking(t, stranger, 990), false},
		{"the host, by who has all", access{host, policy.Logs}, asking(t, stranger, 992), true},
		{"root", access{whole, policy.Up}, asking(t, 0), true},
		{"a route that forgot to say", access{}, asking(t, 0), false},
		{"nobody knows who", access{kind: open}, unknown, false},
		{"nobody knows who, in a project", access{partly, policy.Status}, unknown, false},
	} {
		err := d.allow(route{method: "GET", access: c.access}, c.request)
		if (err == nil) != c.allowed || err != nil && describeError(err).Code != ipc.CodeForbidden {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	for _, want := range []string{"Denied 4000000000: cannot up shop:", "TVS_DECISION=deny", "TVS_GIDS=4000000000 990", "TVS_UID=4000000000", "TVS_PID=1"} {
		if !strings.Contains(journal.String(), want) {
			t.Errorf("the journal does not have %q:\n%s", want, journal)
		}
	}
}

// What a change comes to is decided service by service, with the counts.
func TestPermitGoals(t *testing.T) {
	d, _ := ruled(t, `
[[rule]]
name = "few"
groups = [990]
role = "operator"
services = ["web*"]
max_replicas = 3
[[rule]]
groups = [991]
role = "operator"
`)
	goals := func(counts map[string]int) intent {
		want := intent{request: dockerops.Request{Goals: map[string]dockerops.Goal{}}, desired: counts}
		for name, n := range counts {
			want.request.Goals[name] = dockerops.Goal{Count: n, Running: true}
		}
		return want
	}
	dependencies := goals(map[string]int{"web": 1})
	dependencies.request.StopDependencies = true
	for _, c := range []struct {
		name    string
		verb    policy.Verb
		want    intent
		group   uint32
		allowed bool
	}{
		{"one of them", policy.Scale, goals(map[string]int{"web": 3}), 990, true},
		{"too many", policy.Scale, goals(map[string]int{"web": 4}), 990, false},
		{"one that is not", policy.Scale, goals(map[string]int{"web": 1, "storage": 1}), 990, false},
		{"as many as there are", policy.Start, goals(map[string]int{"web": 4}), 990, true},
		{"what they depend on", policy.Stop, dependencies, 990, false},
		{"what they depend on, by who may all", policy.Stop, dependencies, 991, true},
		{"nothing", policy.Start, goals(nil), 991, false},
	} {
		ctx := asking(t, stranger, c.group).Context()
		err := d.permitGoals(ctx, c.verb, false, "shop", c.want)
		if (err == nil) != c.allowed || err != nil && describeError(err).Code != ipc.CodeForbidden {
			t.Errorf("%s: %v", c.name, err)
		}
		if audit, _, _ := asked(ctx); (audit != nil) != c.allowed {
			t.Errorf("%s: on record is %v", c.name, audit)
		}
	}
	ctx := asking(t, stranger, 990).Context()
	if err := d.permitGoals(ctx, policy.Scale, false, "shop", goals(map[string]int{"web": 2})); err != nil {
		t.Fatal(err)
	}
	j := job{}
	j.Audit, j.Most, _ = asked(ctx)
	if err := j.within(goals(map[string]int{"web": 3})); err != nil {
		t.Error(err)
	}
	if err := j.within(goals(map[string]int{"web": 4})); err == nil || !strings.Contains(err.Error(), "rule few allows 3") {
		t.Errorf("more than was allowed, by the time of its turn: %v", err)
	}
}

// An image of another repository needs a rule that names it.
func TestImagesOfOtherRepositories(t *testing.T) {
	d, _ := ruled(t, "[[rule]]\nusers = [\"*\"]\nrole = \"deployer\"\n")
	id, other := "sha256:"+strings.Repeat("0", 64), "sha256:"+strings.Repeat("1", 64)
	for _, c := range []struct {
		now, image string
		may        bool
	}{
		{"app:1", "", true}, {"app:1", "app:2", true}, {"app:1", "app@" + id, true}, {"app:1", "ap:1", false},
		{"app:1", "evil/app:1", false}, {"app:1", "registry:5000/app:1", false}, {"app:1", id, false}, {id, id, true}, {id, other, false},
		{"registry:5000/app:1", "registry:5000/app:2", true}, {"registry:5000/app:1", "registry:5001/app:1", false},
	} {
		want := decision{rollout: &rollout{From: &dockerops.Spec{}}}
		if err := json.Unmarshal([]byte(`{"config": {"Image": "`+c.now+`"}}`), want.rollout.From); err != nil {
			t.Fatal(err)
		}
		for who, may := range map[uint32]bool{0: true, stranger: c.may} {
			err := d.permit(asking(t, who).Context(), want.asks(policy.Rollout, "shop", ipc.RolloutRequest{Image: c.image}))
			if may != (err == nil) || err != nil && describeError(err).Code != ipc.CodeForbidden {
				t.Errorf("%d, from %s to %q: %v", who, c.now, c.image, err)
			}
		}
	}
}

// A change that nobody decided on does not begin.
func TestLaunchNeedsADecision(t *testing.T) {
	s := newStack(t)
	ctx := withPeer(t.Context(), peer{UID: stranger})
	if _, err := s.d.launch(ctx, s.d.site("tvs"), "scale", "scale webapp", job{Kind: "scale"}); err == nil || !strings.Contains(err.Error(), "nobody has decided") {
		t.Errorf("err %v", err)
	}
	if n := len(s.d.state.history()); n != 0 {
		t.Errorf("%d operations on record", n)
	}
}

func TestPolicyReload(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "policy.toml")
	writeSettings(t, file, "[[rule]]\nusers = [\"*\"]\nrole = \"boss\"\n")
	journal := &journalBuffer{}
	d := New(Config{StateDir: t.TempDir(), PolicyFile: file, PolicyDir: filepath.Join(dir, "policy.d"), Log: journal})
	defer d.state.close()
	d.log = &logbook{out: journal}
	may := func() bool { return d.policy().May(policy.User(stranger, "", nil, nil), policy.Scale, "shop") }
	if may() || !strings.Contains(strings.Join(d.problems(), "\n"), "only root may do anything") {
		t.Errorf("broken at the start: %v, %q", may(), d.problems())
	}
	writeSettings(t, file, "[[rule]]\nusers = [\"*\"]\nrole = \"operator\"\n")
	if err := d.loadPolicy(); err != nil || !may() || len(d.problems()) > 0 {
		t.Errorf("mended: %v, %v, %q", err, may(), d.problems())
	}
	writeSettings(t, file, "[[rule]]\nusers = [\"*\"\n")
	if err := d.loadPolicy(); err == nil || !may() || !strings.Contains(strings.Join(d.problems(), "\n"), file+":2") {
		t.Errorf("broken again: %v, %v, %q", err, may(), d.problems())
	}
	if !strings.Contains(journal.String(), "what was in force before stays") {
		t.Errorf("the journal does not say it: %s", journal)
	}
}
