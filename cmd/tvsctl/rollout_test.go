package main

import (
	"slices"
	"strings"
	"testing"

	"tvsctl/ipc"
)

// replacing are the routes of what replaces replicas.
func replacing() map[string]any {
	routes := map[string]any{}
	for _, resource := range []string{"rollout", "rollout/continue", "rollback", "restart", "scale", "adjust", "stop"} {
		for key, value := range changed("/projects/tvs/" + resource) {
			routes[key] = value
		}
	}
	return routes
}

func TestReplacing(t *testing.T) {
	for _, c := range []struct {
		args string
		want string // the request, or the message
		exit int
	}{
		{"rollout webapp", `rollout {"service":"webapp"}`, 0},
		{"rollout webapp --image shop/webapp:2", `rollout {"service":"webapp","image":"shop/webapp:2"}`, 0},
		{"rollout --image=a:2 webapp --max-surge 3 --pause-after 2", `rollout {"service":"webapp","image":"a:2","max_surge":3,"pause_after":2}`, 0},
		{"rollout continue webapp", `rollout/continue {"service":"webapp"}`, 0},
		{"rollback webapp", `rollback {"service":"webapp"}`, 0},
		{"rollback webapp --max-surge 2", `rollback {"service":"webapp","max_surge":2}`, 0},
		{"restart webapp", `restart {"service":"webapp"}`, 0},
		{"restart --max-surge=2 webapp", `restart {"service":"webapp","max_surge":2}`, 0},
		{"rollout", "cannot run rollout: it takes one argument, not 0", 2},
		{"rollout a b", "cannot run rollout: it takes one argument, not 2", 2},
		{"rollout continue", "cannot run rollout continue: it takes one argument, not 0", 2},
		{"rollback", "cannot run rollback: it takes one argument, not 0", 2},
		{"restart a b", "cannot run restart: it takes one argument, not 2", 2},
		{"rollout webapp --image=", "cannot roll out webapp: the name of the image is empty", 2},
		{"rollout webapp --pause-after 0", "cannot roll out webapp: it can pause after 1 or more replicas", 2},
		{"rollout webapp --pause-after=-1", "cannot roll out webapp: it can pause after 1 or more replicas", 2},
		{"rollout webapp --pause-after x", `cannot run rollout: invalid argument "x" for "--pause-after" flag: invalid syntax`, 2},
		{"rollout webapp --max-surge 0", "cannot run rollout: it replaces 1 or more replicas at a time, not 0", 2},
		{"rollback webapp --max-surge=-2", "cannot run rollback: it replaces 1 or more replicas at a time, not -2", 2},
		{"restart webapp --max-surge 0", "cannot run restart: it replaces 1 or more replicas at a time, not 0", 2},
		{"restart webapp --image a:2", "cannot run restart: unknown flag: --image", 2},
		{"rollout continue webapp --max-surge 2", "cannot run rollout continue: unknown flag: --max-surge", 2},
		{"rollout --imgae a:2 webapp", "cannot run rollout: unknown flag: --imgae", 2},
		{"rollout webapp --image", "cannot run rollout: flag needs an argument: --image", 2},
	} {
		daemon := newFake(t, replacing())
		got := daemon.tvsctl(append([]string{"-p", "tvs"}, strings.Fields(c.args)...)...)
		if got.status != c.exit {
			t.Errorf("%s exits %d, not %d: %s", c.args, got.status, c.exit, got.err)
		}
		checkAsked(t, c.args, daemon, got, c.want, c.exit == 0)
	}
	for _, args := range [][]string{{"rollout", ""}, {"rollout", "continue", ""}, {"rollback", ""}, {"restart", ""}} {
		daemon := newFake(t, replacing())
		got := daemon.tvsctl(args...)
		if got.status != ipc.ExitUsage {
			t.Errorf("%q exits %d", args, got.status)
		}
		checkAsked(t, strings.Join(args, " "), daemon, got, "cannot run "+strings.TrimSpace(strings.Join(args, " "))+": the name of the service is empty", false)
	}
}

// checkAsked checks that the one request was made and followed, or that one clear line
// was printed and nothing asked for.
func checkAsked(t *testing.T, args string, daemon *fake, got result, want string, accepted bool) {
	t.Helper()
	asked := daemon.asked()
	if accepted {
		if want := []string{"POST /projects/tvs/" + want, "GET /operations/op1/events"}; !slices.Equal(asked, want) {
			t.Errorf("%s asks %q, not %q", args, asked, want)
		}
		return
	}
	lines := strings.Split(got.err, "\n")
	if len(asked) > 0 || len(lines) != 3 || lines[0] != "tvsctl: "+want || !strings.HasPrefix(lines[1], "  → ") {
		t.Errorf("%s asks %q and says\n%s", args, asked, got.err)
	}
}

func TestReplacingDetachesAndPlans(t *testing.T) {
	for command, resource := range map[string]string{"rollout": "rollout", "rollout continue": "rollout/continue", "rollback": "rollback", "restart": "restart"} {
		args := append(strings.Fields(command), "webapp")
		daemon := newFake(t, changed("/projects/-/"+resource))
		equal(t, command+" --detach", daemon.tvsctl(append(args, "--detach")...).out, "op1\n")
		planned := newFake(t, map[string]any{"POST /projects/-/" + resource: ipc.Plan{Summary: "renew", Steps: []ipc.Step{{ID: 1, Text: "do it"}}}})
		for _, words := range [][]string{append(args, "--dry-run"), append([]string{"plan"}, args...)} {
			equal(t, strings.Join(words, " "), planned.tvsctl(words...).out, "renew:\n  1  do it\n")
		}
		for _, asked := range planned.asked() {
			equal(t, command, asked, "POST /projects/-/"+resource+` {"service":"webapp","dry_run":true}`)
		}
	}
}

// A rollout that fails exits as its error says.
func TestRolloutFails(t *testing.T) {
	failed := accepted
	failed.State = ipc.OperationFailed
	failed.Error = &ipc.Error{Code: ipc.CodeNotReady, Message: "cannot roll out webapp to a:2: it ended; the old replicas serve", Detail: []string{"boom"}}
	daemon := newFake(t, map[string]any{"POST /projects/-/rollout": accepted, "GET /operations/op1/events": events{operationEvent(failed)}})
	if got := daemon.tvsctl("rollout", "webapp"); got.status != ipc.ExitNotReady || got.err != "tvsctl: cannot roll out webapp to a:2: it ended; the old replicas serve\n  boom\n" {
		t.Errorf("%+v", got)
	}
	daemon = newFake(t, map[string]any{"POST /projects/-/rollout/continue": &ipc.Error{Code: ipc.CodeConflict, Message: "none holds"}})
	if got := daemon.tvsctl("rollout", "continue", "webapp"); got.status != ipc.ExitConflict || got.err != "tvsctl: none holds\n" {
		t.Errorf("%+v", got)
	}
}

func TestPlan(t *testing.T) {
	plan := ipc.Plan{Summary: "renew", Steps: []ipc.Step{{ID: 1, Text: "do it"}}}
	routes := map[string]any{}
	for _, resource := range []string{"rollout", "scale", "adjust", "stop"} {
		routes["POST /projects/-/"+resource], routes["POST /projects/shop/"+resource] = plan, plan
	}
	for args, want := range map[string]string{
		"plan scale webapp 3":                            `-/scale {"services":{"webapp":3},"dry_run":true}`,
		"plan inc 2":                                     `-/adjust {"by":2,"dry_run":true}`,
		"plan stop --db":                                 `-/stop {"dependencies":true,"dry_run":true}`,
		"plan stop --dry-run":                            `-/stop {"dry_run":true}`,
		"plan stop --dry-run=false":                      `-/stop {"dry_run":true}`,
		"plan inc -- 2":                                  `-/adjust {"by":2,"dry_run":true}`,
		"plan rollout -- webapp":                         `-/rollout {"service":"webapp","dry_run":true}`,
		"plan stop --detach":                             `-/stop {"dry_run":true}`,
		"-p shop plan scale webapp 3":                    `shop/scale {"services":{"webapp":3},"dry_run":true}`,
		"plan -p shop scale webapp 3":                    `shop/scale {"services":{"webapp":3},"dry_run":true}`,
		"plan scale webapp 3 -p shop":                    `shop/scale {"services":{"webapp":3},"dry_run":true}`,
		"plan --project=shop rollout webapp --image a:2": `shop/rollout {"service":"webapp","image":"a:2","dry_run":true}`,
	} {
		daemon := newFake(t, routes)
		got := daemon.tvsctl(strings.Fields(args)...)
		equal(t, args, got.out, "renew:\n  1  do it\n")
		if asked := daemon.asked(); !slices.Equal(asked, []string{"POST /projects/" + want}) || got.status != 0 {
			t.Errorf("%s exits %d and asks %q", args, got.status, asked)
		}
	}
	daemon := newFake(t, routes)
	contains(t, "--json", daemon.tvsctl("--json", "plan", "scale", "webapp", "3").out, `"summary": "renew"`)
	equal(t, "--quiet", daemon.tvsctl("plan", "-q", "scale", "webapp", "3").out, "")
	contains(t, "--help", daemon.tvsctl("plan", "--help").out, "tvsctl plan rollout webapp --image shop/webapp:2")
}

func TestPlanOfWhatHasNone(t *testing.T) {
	daemon := newFake(t, nil)
	for args, want := range map[string]string{
		"plan":                         `cannot plan "": no such command`,
		"plan nothing":                 `cannot plan "nothing": no such command`,
		"plan status":                  "cannot plan status: it has no plan",
		"plan up":                      "cannot plan up: it has no plan",
		"plan down":                    "cannot plan down: it has no plan",
		"plan ops cancel x":            "cannot plan ops cancel: it has no plan",
		"plan nginx reload":            "cannot plan nginx reload: it has no plan",
		"plan plan stop":               "cannot plan plan: it has no plan",
		"plan scale":                   "cannot scale: no service and no number of replicas given",
		"plan rollout webapp --image":  "cannot run rollout: flag needs an argument: --image",
		"plan stop -p":                 "cannot run stop: flag needs an argument: 'p' in -p",
		"plan rollout":                 "cannot run rollout: it takes one argument, not 0",
		"plan stop --fast":             "cannot run stop: unknown flag: --fast",
		"plan restart x --max-surge 0": "cannot run restart: it replaces 1 or more replicas at a time, not 0",
	} {
		got := daemon.tvsctl(strings.Fields(args)...)
		if got.status != ipc.ExitUsage || got.out != "" {
			t.Errorf("%s exits %d and prints %s", args, got.status, got.out)
		}
		checkAsked(t, args, daemon, got, want, false)
	}
}

func TestCommandsAreListed(t *testing.T) {
	help := newFake(t, nil).tvsctl("--help").out
	for _, line := range []string{"rollout", "rollback", "restart", "plan"} {
		contains(t, "the help", help, "\n  "+line+" ")
	}
	contains(t, "the help of rollout", newFake(t, nil).tvsctl("rollout", "--help").out, "continue    Let a rollout that holds go on")
}
