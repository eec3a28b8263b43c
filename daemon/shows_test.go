package daemon

import (
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"tvsctl/dockerops"
	"tvsctl/ipc"
	"tvsctl/policy"
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
		{"shop", "web", true}, {"shop", "vault", false}, {"shop", "", true}, {"other", "web", false}, {"other", "", false}, {"", "", false}, {"shop", "vault web", true}, {"shop", "vault safe", false},
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

// What somebody ran, or was refused, is told to who may audit it; others hear of a change
// nothing that only the audit has.
func TestAuditIsToldToAuditors(t *testing.T) {
	d, _ := ruled(t, "[[rule]]\ngroups = [990]\nrole = 'deployer'\nunits = ['a.service']\n[[rule]]\ngroups = [990]\nrole = 'deployer'\n"+
		"[[rule]]\ngroups = [991]\nrole = 'admin'\nprojects = ['shop']\nservices = ['web']\n[[rule]]\ngroups = [992]\nrole = 'admin'\n[[rule]]\ngroups = [992]\nrole = 'admin'\nunits = ['*']\n")
	who := peer{UID: stranger, PID: 1}
	of := func(project, service, unit string) fields {
		f := d.auditFields(who, policy.Request{Verb: policy.Exec, Target: policy.Target{Project: project, Service: service, Unit: unit}})
		maps.Copy(f, fields{"TVS_LOGINUID": "7", "TVS_DECISION": "allow", "TVS_RULE": "#1", "TVS_COMMAND": "sh", "TVS_SESSION": "s", "TVS_SERVICE": service})
		return f
	}
	web, shop, unit := of("shop", "web", ""), of("shop", "", ""), of("", "", "a.service")
	for _, c := range []struct {
		event  logEvent
		fields fields
		heard  string // by a deployer, an admin of the service, an admin of all, and root: nothing, a part, or all
	}{
		{eventExecBegun, web, "-+++"}, {eventExecEnded, web, "-+++"}, {eventExecBegun, of("shop", "vault", ""), "--++"},
		{eventAllowed, web, "-+++"}, {eventDenied, shop, "--++"}, {eventRefused, nil, "--++"}, {eventDenied, unit, "--++"},
		{eventRequested, shop, "..++"}, {eventSucceeded, web, ".+++"}, {eventRequested, unit, ".-++"}, {eventStarted, nil, "+-++"},
	} {
		entries, stop := d.log.follow()
		d.log.notice(c.event, "Something happens.", c.fields)
		e := <-entries
		stop()
		heard := ""
		for _, group := range []uint32{990, 991, 992, 0} {
			uid := uint32(stranger)
			if group == 0 {
				uid = 0
			}
			got, shown := d.told(asking(t, uid, group).Context(), e)
			switch {
			case !shown:
				heard += "-"
			case len(got.Fields) == len(e.Fields):
				heard += "+"
			default:
				heard += "."
				for name := range got.Fields {
					if !slices.Contains([]string{"TVS_VERB", "TVS_TARGET", "TVS_USER", "TVS_UID", "TVS_PROJECT", "TVS_SERVICE", "TVS_UNIT"}, name) {
						t.Errorf("%s is told to who may not audit", name)
					}
				}
			}
		}
		if heard != c.heard {
			t.Errorf("%s of %v: heard %s, want %s", e.Kind, c.fields, heard, c.heard)
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
