package daemon

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"tvsctl/dockerops"
	"tvsctl/ipc"
)

const narrow = "[[rule]]\ngroups = [990]\nrole = 'viewer'\nservices = ['web']\nprojects = ['shop']\n[[rule]]\ngroups = [991]\nrole = 'viewer'\nverbs = ['status']\n"

// A status, the events and the hints tell of nothing that the caller may not see.
func TestNarrowedStatus(t *testing.T) {
	d, _ := ruled(t, narrow)
	d.broken = map[string]string{"other": "cannot read other.toml", "shop": "cannot read shop.toml"}
	whole := ipc.Status{Project: "shop", Services: []ipc.Service{{Name: "vault"}, {Name: "web"}}, Operations: []ipc.Operation{{ID: "1", Project: "shop"}, {ID: "2", Project: "shop", Services: []string{"vault"}}, {ID: "3", Project: "shop", Services: []string{"vault", "web"}}},
		Nginx: []ipc.Nginx{{Upstreams: []ipc.Upstream{{Service: "vault"}, {Service: "web"}}}}, Problems: []string{"cannot read other.toml", "cannot read shop.toml", "full"}}
	text, err := json.Marshal(whole)
	if err != nil {
		t.Fatal(err)
	}
	told := toldStatus{whole, text}
	for _, c := range []struct {
		uid, group uint32
		want       string
	}{
		{0, 0, "vault web / vault web / 1 2 3 / cannot read other.toml cannot read shop.toml full"},
		{stranger, 990, "web / web / 1 3 / cannot read shop.toml full"},
		{stranger, 991, "vault web / vault web /  / cannot read other.toml cannot read shop.toml full"},
	} {
		reply, err := json.Marshal(d.narrowed(asking(t, c.uid, c.group).Context(), told))
		if err != nil {
			t.Fatal(err)
		}
		var got ipc.Status
		if err := json.Unmarshal(reply, &got); err != nil {
			t.Fatal(err)
		}
		var services, upstreams, operations []string
		for _, s := range got.Services {
			services = append(services, s.Name)
		}
		for _, u := range got.Nginx[0].Upstreams {
			upstreams = append(upstreams, u.Service)
		}
		for _, o := range got.Operations {
			operations = append(operations, o.ID)
		}
		shown := strings.Join([]string{strings.Join(services, " "), strings.Join(upstreams, " "), strings.Join(operations, " "), strings.Join(got.Problems, " ")}, " / ")
		if shown != c.want {
			t.Errorf("uid %d, group %d: %s, want %s", c.uid, c.group, shown, c.want)
		}
	}
	if again, _ := json.Marshal(whole); !slices.Equal(again, text) {
		t.Error("what others read was changed")
	}
}

func TestShowsEvent(t *testing.T) {
	d, _ := ruled(t, narrow)
	for _, c := range []struct {
		project, service string
		shown            bool
	}{
		{"shop", "web", true}, {"shop", "vault", false}, {"shop", "", true}, {"other", "web", false}, {"other", "", false}, {"", "", false},
	} {
		e := ipc.HostEvent{Fields: fields{"TVS_PROJECT": c.project, "TVS_SERVICE": c.service}}
		if got := d.showsEvent(asking(t, stranger, 990).Context(), e); got != c.shown {
			t.Errorf("%+v: %v", c, got)
		}
		if !d.showsEvent(asking(t, 0).Context(), e) {
			t.Errorf("%+v: not to root", c)
		}
	}
}

func TestHintOfServices(t *testing.T) {
	d, _ := ruled(t, narrow)
	p := &dockerops.Project{Name: "shop", Services: []dockerops.Service{{Name: "vault"}, {Name: "web"}}}
	for uid, want := range map[uint32]string{0: "its services are vault, web", stranger: "its services are web"} {
		var refused *dockerops.RefusedError
		err := d.check(asking(t, uid, 990).Context(), p, map[string]dockerops.Goal{"x": {Count: 1}})
		if !errors.As(err, &refused) || refused.Hint != want {
			t.Errorf("%d: %v, hint %q", uid, err, refused.Hint)
		}
	}
	var refused *dockerops.RefusedError
	if err := d.check(t.Context(), p, map[string]dockerops.Goal{"x": {Count: 1}}); !errors.As(err, &refused) || refused.Hint != "" {
		t.Errorf("nobody is told %q", refused.Hint)
	}
}

// What mounts a control socket is decided on by itself, and again when its turn has come.
func TestSocketsAreDecided(t *testing.T) {
	d, journal := ruled(t, "[[rule]]\ngroups = [990]\nrole = 'deployer'\n[[rule]]\nname = 'mounts'\ngroups = [991]\nrole = 'deployer'\nsockets = true\n")
	known := map[string]dockerops.ServiceConfig{"a": {}, "b": {Sockets: "b mounts /run"}, "c": {Sockets: "c mounts /"}}
	mounts := mountsSockets(known)
	if mounts != "b mounts /run" || mountsSockets(map[string]dockerops.ServiceConfig{"a": {}}) != "" {
		t.Errorf("mounts %q", mounts)
	}
	if err := d.permitSockets(asking(t, stranger, 990).Context(), "shop", mounts); err == nil || describeError(err).Code != ipc.CodeForbidden || !strings.Contains(err.Error(), "cannot up shop: b mounts /run, and rule #1") {
		t.Errorf("err %v", err)
	}
	if !strings.Contains(journal.String(), "TVS_DECISION=deny") {
		t.Errorf("the journal does not say it: %s", journal)
	}
	ctx := asking(t, stranger, 991).Context()
	if err := d.permitSockets(ctx, "shop", mounts); err != nil {
		t.Error(err)
	}
	if audit, _, _ := asked(ctx); audit["TVS_RULE"] != "mounts" {
		t.Errorf("on record is %v", audit)
	}
	for _, c := range []struct {
		mounts  string
		decided bool
		fine    bool
	}{{"", false, true}, {mounts, true, true}, {mounts, false, false}} {
		if err := (job{Kind: "up", Sockets: c.decided}).mayMount(c.mounts); (err == nil) != c.fine || err != nil && describeError(err).Code != ipc.CodeForbidden {
			t.Errorf("%+v: %v", c, err)
		}
	}
}
