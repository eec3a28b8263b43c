package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"go/build"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"tvsctl/ipc"
)

func TestExitStatusOfEachCode(t *testing.T) {
	for code, want := range map[ipc.Code]int{
		ipc.CodeInternal: 1, ipc.CodeBadRequest: 2, ipc.CodeTooLarge: 2, ipc.CodeProjectRequired: 2,
		ipc.CodeServiceRequired: 2, ipc.CodeUnknownProject: 4, ipc.CodeUnknownService: 4,
		ipc.CodeUnknownOperation: 4, ipc.CodeUnknownRoute: 2, ipc.CodeNotScalable: 5,
		ipc.CodeOutOfRange: 6, ipc.CodeConflict: 7, ipc.CodeNotReady: 8, ipc.CodeNginx: 9,
		ipc.CodeDocker: 11, ipc.CodeCompose: 12, ipc.CodeState: 13, ipc.CodeBusy: 7,
		ipc.CodeForbidden: 77, ipc.CodeUnreachable: 69, "from-the-future": 1,
	} {
		refusal := &ipc.Error{Code: code, Message: "cannot scale webapp: why", Hint: "do this", Detail: []string{"it\x1b[2Jsaid"}}
		failed := accepted
		failed.State, failed.Error = ipc.OperationFailed, refusal
		refused := newFake(t, map[string]any{"POST /projects/-/scale": refusal})
		late := newFake(t, map[string]any{"POST /projects/-/scale": accepted,
			"GET /operations/op1/events": events{operationEvent(failed)}})
		for name, daemon := range map[string]*fake{"refused": refused, "failed": late} {
			got := daemon.tvsctl("scale", "webapp", "3")
			if got.status != want {
				t.Errorf("%s %s exits %d, not %d", code, name, got.status, want)
			}
			equal(t, "stderr", got.err, "tvsctl: cannot scale webapp: why\n  it?[2Jsaid\n  → do this\n")
			equal(t, "stdout", got.out, "")
		}
		got := refused.tvsctl("scale", "webapp", "3", "--json")
		var reply ipc.ErrorReply
		if err := json.Unmarshal([]byte(got.err), &reply); err != nil || reply.Error == nil || reply.Error.Code != code {
			t.Errorf("%s with --json prints %q", code, got.err)
		}
		if got.status != want || got.out != "" {
			t.Errorf("%s with --json exits %d, prints %q", code, got.status, got.out)
		}
	}
}

func TestUsage(t *testing.T) {
	daemon := newFake(t, nil)
	for _, c := range []struct{ args, message string }{
		{"scael webapp 3", `cannot run "scael": no such command`},
		{"scael --fast", `cannot run "scael": no such command`},
		{"nginx tset", `cannot run "nginx tset": no such command`},
		{"help nosuch", `cannot run "nosuch": no such command`},
		{"status --fast", "cannot run status: unknown flag: --fast"},
		{"status -1", "cannot run status: unknown shorthand flag: '1' in -1"},
		{"-1", "cannot run tvsctl: unknown shorthand flag: '1' in -1"},
		{"status a b", "cannot run status: it takes at most one argument, not 2"},
		{"start now", "cannot run start: it takes no argument, not 1"},
		{"completion", "cannot run completion: it takes one argument, not 0"},
		{"completion tcsh", `cannot complete for "tcsh"`},
		{"inc 1 2 3", "cannot run inc: it takes at most 2 arguments, not 3"},
		{"verify -n x", `cannot run verify: invalid argument "x" for "-n, --requests" flag: invalid syntax`},
		{"verify -n 0", "cannot verify: 0 is not a number of requests"},
		{"verify -n 100001", "cannot verify: 100001 is not"},
		{"override -w -o x", "exclude each other"},
		{"up --profile x", "need -f"},
		{"ops --follow", "cannot follow: which operation?"},
		{"ops ..", `cannot find operation "..": it is not an id`},
		{"ops cancel ..", `cannot find operation "..": it is not an id`},
		{"ops cancel", "cancel"},
		{"status -p ..", `cannot use project "..": it is not a name`},
		{"status --watch", "cannot watch: that needs a terminal"},
		{"status --socket=", "the path is empty"},
	} {
		got := daemon.tvsctl(strings.Fields(c.args)...)
		if got.status != ipc.ExitUsage {
			t.Errorf("%s exits %d", c.args, got.status)
		}
		contains(t, c.args, got.err, "tvsctl: ")
		contains(t, c.args, got.err, c.message)
		contains(t, c.args, got.err, "\n  → ")
		equal(t, "stdout of "+c.args, got.out, "")
		if lines := strings.Count(got.err, "\n"); lines != 2 {
			t.Errorf("%s prints %d lines", c.args, lines)
		}
	}
	contains(t, "suggestion", daemon.tvsctl("scael").err, "did you mean scale?")
	if asked := daemon.asked(); len(asked) > 0 {
		t.Errorf("the daemon was asked %q", asked)
	}
	var reply ipc.ErrorReply
	got := daemon.tvsctl("status", "--fast", "--json")
	if json.Unmarshal([]byte(got.err), &reply) != nil || reply.Error == nil || reply.Error.Code != ipc.CodeBadRequest {
		t.Errorf("a wrong flag before --json prints %q", got.err)
	}
}

func TestHelpOfEveryCommand(t *testing.T) {
	daemon := newFake(t, nil)
	a := newApp(nil, nil, nil, func(string) string { return "" })
	list := a.commands()
	for _, command := range list {
		list = append(list, command.Commands()...)
	}
	for _, command := range list {
		if command.Short == "" || command.Example == "" {
			t.Errorf("%s has no short text or no example", command.Name())
		}
	}
	for _, command := range a.commands() {
		got := daemon.tvsctl(command.Name(), "--help")
		if got.status != 0 || !strings.Contains(got.out, "Examples:") || !strings.Contains(got.out, "--json") {
			t.Errorf("%s --help exits %d, prints\n%s", command.Name(), got.status, got.out)
		}
		equal(t, "help "+command.Name(), daemon.tvsctl("help", command.Name()).out, got.out)
	}
	if got := daemon.tvsctl(); got.status != 0 || !strings.Contains(got.out, "scale") {
		t.Errorf("no arguments: %d %q", got.status, got.out)
	}
}

func TestUnreachable(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "none.sock")
	var out, stderr bytes.Buffer
	status := run(context.Background(), []string{"status", "--socket", missing}, strings.NewReader(""), &out, &stderr,
		func(string) string { return "" })
	if status != ipc.ExitUnreachable {
		t.Errorf("exits %d", status)
	}
	equal(t, "stderr", stderr.String(), "tvsctl: cannot reach tvsctld: nothing listens on "+missing+
		"\n  → as root: systemctl start tvsctld.socket\n")
}

func TestProjectAndSocketFromEnvironment(t *testing.T) {
	daemon := newFake(t, map[string]any{
		"GET /projects/shop": ipc.Status{Project: "shop", State: ipc.StateUp},
		"GET /projects/blog": ipc.Status{Project: "blog", State: ipc.StateUp}})
	env := map[string]string{"TVS_PROJECT": "shop"}
	contains(t, "from the environment", daemon.tvsctlContext(context.Background(), env, "status").out, "shop: up")
	contains(t, "from the flag", daemon.tvsctlContext(context.Background(), env, "status", "-p", "blog").out, "blog: up")
}

// full fails as a closed pipe or a full disk does.
type full struct{ err error }

func (f full) Write([]byte) (int, error) { return 0, f.err }

func TestOutputThatFails(t *testing.T) {
	routes := changed("/projects/-/scale")
	routes["GET /projects/-"] = example()
	routes["GET /operations"] = []ipc.Operation{succeeded}
	routes["GET /projects"] = []ipc.ProjectSummary{}
	daemon := newFake(t, routes)
	for err, message := range map[error]string{
		syscall.EPIPE:             "",
		errors.New("no space"):    "tvsctl: cannot write the output: no space\n",
		errors.New("line1\nline"): "tvsctl: cannot write the output: line1 line\n",
	} {
		for _, args := range [][]string{{"status"}, {"projects"}, {"scale", "webapp", "3"}, {"ops"}, {"--help"}, {"completion", "bash"}} {
			var stderr bytes.Buffer
			status := run(context.Background(), args, nil, full{err}, &stderr, func(name string) string {
				if name == "TVS_SOCKET" {
					return daemon.socket
				}
				return ""
			})
			if status != ipc.ExitFailure {
				t.Errorf("%s exits %d", args, status)
			}
			equal(t, strings.Join(args, " "), stderr.String(), message)
		}
	}
}

// Whatever is typed ends in one of the documented statuses, and says why.
func TestNoArgumentsPanic(t *testing.T) {
	daemon := newFake(t, map[string]any{})
	words := []string{"", "-", "--", "=", "a=", "=1", "-1", "--1", "webapp", "3", "\x00", "%s", "--json", "--dry-run", "-f", "-n", "…"}
	commands := []string{"", "nginx", "nginx show", "nginx test", "nginx reload"}
	a := newApp(nil, nil, nil, func(string) string { return "" })
	for _, command := range a.commands() {
		commands = append(commands, command.Name())
	}
	known := []int{0, 1, 2, 4, 6}
	for _, command := range commands {
		for _, first := range words {
			for _, second := range words {
				args := append(strings.Fields(command), first, second)
				got := daemon.tvsctl(args...)
				if !slices.Contains(known, got.status) {
					t.Errorf("%q exits %d", args, got.status)
				}
				if got.status != 0 && got.err+got.out == "" {
					t.Errorf("%q exits %d and says nothing", args, got.status)
				}
			}
		}
	}
}

func TestLinksOnlyIPC(t *testing.T) {
	raw, err := exec.Command("go", "list", "-deps", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	allowed := []string{"tvsctl/cmd/tvsctl", "tvsctl/ipc", "github.com/spf13/cobra", "github.com/spf13/pflag", "golang.org/x/sys/unix", "golang.org/x/term"}
	found := 0
	for _, name := range strings.Fields(string(raw)) {
		first, _, _ := strings.Cut(name, "/")
		if first != "tvsctl" && !strings.Contains(first, ".") {
			if _, err := build.Default.Import(name, "", build.FindOnly); err == nil || first == "vendor" {
				continue // the standard library
			}
		}
		if !slices.Contains(allowed, name) {
			t.Errorf("tvsctl links %s", name)
		}
		found++
	}
	if found != len(allowed) {
		t.Errorf("found %d of the %d packages that tvsctl is made of", found, len(allowed))
	}
}
