package daemon

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"tvsctl/dockerops"
	"tvsctl/dockerops/enginetest"
	"tvsctl/ipc"
)

func TestRolloutRefusals(t *testing.T) {
	s := newRollStack(t).run(t)
	s.Add("db", 1, func(c *enginetest.Container) { c.HostConfig["Binds"] = []string{"tvs_data:/data"} })
	calls := len(s.Calls())
	for _, c := range []struct {
		path    string
		request any
		code    ipc.Code
		says    string
	}{
		{"rollout", ipc.RolloutRequest{}, ipc.CodeServiceRequired, "cannot rollout: no service is named"},
		{"restart", ipc.RestartRequest{}, ipc.CodeServiceRequired, "cannot restart: no service is named"},
		{"rollout", ipc.RolloutRequest{Service: "none"}, ipc.CodeUnknownService, "cannot roll out none: project tvs has no such service"},
		{"rollout", ipc.RolloutRequest{Service: "entry"}, ipc.CodeNotScalable, "it is the nginx of the project"},
		{"restart", ipc.RestartRequest{Service: "db"}, ipc.CodeNotScalable, "would both write to tvs_data"},
		{"rollout", ipc.RolloutRequest{Service: "webapp", MaxSurge: -1}, ipc.CodeBadRequest, "a number of replicas is from 1 to"},
		{"rollout", ipc.RolloutRequest{Service: "webapp", MaxSurge: ipc.MaxReplicas + 1}, ipc.CodeBadRequest, "a number of replicas is from 1 to"},
		{"rollout", ipc.RolloutRequest{Service: "webapp", PauseAfter: -1}, ipc.CodeBadRequest, "a number of replicas is from 1 to"},
		{"rollout", ipc.RolloutRequest{Service: "webapp", PauseAfter: 3}, ipc.CodeOutOfRange, "it has 3 replicas, and would not hold after 3"},
		{"rollout", toImage("--privileged"), ipc.CodeBadRequest, `"--privileged" is not the name of an image`},
		{"rollout", map[string]any{"service": "webapp", "command": "sh"}, ipc.CodeBadRequest, "unknown field"},
		{"rollout/continue", ipc.ContinueRequest{Service: "webapp"}, ipc.CodeConflict, `no rollout of "webapp" holds`},
		{"rollback", ipc.RollbackRequest{Service: "webapp"}, ipc.CodeConflict, "no rollout has replaced its replicas"},
	} {
		if e := s.refused(t, c.path, c.request); e.Code != c.code || !strings.Contains(e.Message, c.says) || strings.Contains(e.Message, "\n") {
			t.Errorf("%s %+v: %+v", c.path, c.request, e)
		}
	}
	if e := s.refused(t, "rollout", ipc.RolloutRequest{Service: "none"}); e.Hint != "its services are db, webapp" {
		t.Errorf("hint %q", e.Hint)
	}
	if got := s.Calls()[calls:]; strings.Contains(strings.Join(got, " "), "webapp") || len(s.d.state.history()) != 0 || len(s.kept().Rollouts) != 0 {
		t.Errorf("calls %q", got)
	}
}

// Rolled out to what its compose file does not name, it returns to what that says.
func TestRolloutReturnsToTheFile(t *testing.T) {
	s := newRollStack(t).run(t)
	s.do(t, "rollout", toImage("app:2"))
	o, lines := s.lines(t, "rollout", ipc.RolloutRequest{Service: "webapp"})
	s.expect(t, o, "", "webapp has 3 ready replicas of app:1", "7 8 9")
	if kept := s.kept(); len(kept.Images) != 0 || !slices.Contains(lines, "warning: the image app:2 of an earlier rollout gives way to what the compose file says") {
		t.Errorf("images %q, lines %q", kept.Images, lines)
	}
}

// Where compose cannot tell the hash, it stays.
func TestRolloutWithoutAHash(t *testing.T) {
	s := newRollStack(t).run(t)
	s.write(t, "broken", "")
	o, lines := s.lines(t, "rollout", toImage("app:2"))
	s.expect(t, o, "", "webapp has 3 ready replicas of app:2", "4 5 6")
	if got := imageOf(s.kept().Specs["webapp"]); got != "app:2 sha256:2 hash-app:1" ||
		!slices.ContainsFunc(lines, func(line string) bool {
			return strings.HasPrefix(line, "warning: a plain docker compose up -d may replace the new replicas: ")
		}) {
		t.Errorf("%s, lines %q", got, lines)
	}
	if e := s.refused(t, "rollout", ipc.RolloutRequest{Service: "webapp"}); e.Code != ipc.CodeCompose {
		t.Errorf("%+v", e)
	}
}

// A service whose replicas only compose can create.
func TestRolloutByCompose(t *testing.T) {
	s := newRollStack(t).run(t)
	s.write(t, "compose.yaml", "services:\n  webapp:\n    image: app:1\n    post_start:\n")
	s.write(t, "config", `{"services": {"webapp": {"image": "app:1", "post_start": [{"command": ["x"]}]}}}`)
	for _, c := range []struct {
		path    string
		request any
		says    string
	}{
		{"rollout", toImage("app:2"), "(it has post_start hooks): put the image into the compose file, then tvsctl rollout webapp"},
		{"restart", ipc.RestartRequest{Service: "webapp", MaxSurge: 1}, "it starts all at once: leave out --max-surge and --pause-after"},
	} {
		if e := s.refused(t, c.path, c.request); e.Code != ipc.CodeNotScalable || !strings.Contains(e.Message, c.says) {
			t.Errorf("%s %+v: %+v", c.path, c.request, e)
		}
	}
	o := s.do(t, "restart", ipc.RestartRequest{Service: "webapp"})
	s.expect(t, o, "", "webapp has 3 ready replicas of app:1", "4 5 6")
	if s.docker(t, "up --detach --no-deps --no-recreate --scale webapp=6 webapp") != 1 || strings.Contains(strings.Join(s.Calls(), " "), "create") {
		t.Errorf("calls %q", s.Calls())
	}
	s.served(t, 4, 5, 6)

	s.write(t, "compose.yaml", "services:\n  webapp:\n    image: app:2\n    post_start:\n")
	if e := s.refused(t, "restart", ipc.RestartRequest{Service: "webapp"}); !strings.Contains(e.Message, "its compose file no longer says what they were made from") {
		t.Errorf("%+v", e)
	}
	if e := s.refused(t, "rollout", ipc.RolloutRequest{Service: "webapp", PauseAfter: 1}); !strings.Contains(e.Message, "it starts all at once") {
		t.Errorf("%+v", e)
	}
	s.expect(t, s.do(t, "rollout", ipc.RolloutRequest{Service: "webapp"}), "", "webapp has 3 ready replicas of app:2", "7 8 9")
	if e := s.refused(t, "rollback", ipc.RollbackRequest{Service: "webapp"}); !strings.Contains(e.Message, "restore the compose file, then tvsctl rollout webapp") {
		t.Errorf("%+v", e)
	}
}

// Whoever writes a compose file that root runs owns the host.
func TestRolloutOfAnUntrustedFile(t *testing.T) {
	s := newRollStack(t).run(t)
	s.write(t, "compose.yaml", "services:\n  webapp:\n    image: app:2\n")
	if err := os.Chmod(filepath.Join(s.dir, "compose.yaml"), 0o666); err != nil {
		t.Fatal(err)
	}
	if e := s.refused(t, "rollout", ipc.RolloutRequest{Service: "webapp"}); e.Code != ipc.CodeForbidden || !strings.HasPrefix(e.Message, "cannot roll out webapp: ") {
		t.Errorf("%+v", e)
	}
	if s.docker(t, "up") != 0 {
		t.Error("compose ran")
	}
}

func TestRolloutWithoutKnownFiles(t *testing.T) {
	s := newRollStack(t)
	if err := os.Remove(filepath.Join(s.dir, "tvs.toml")); err != nil {
		t.Fatal(err)
	}
	s.run(t)
	if e := s.refused(t, "rollout", ipc.RolloutRequest{Service: "webapp"}); e.Code != ipc.CodeNotScalable || !strings.Contains(e.Message, "tvsctl does not know its compose files: name an image with --image") {
		t.Errorf("%+v", e)
	}
}

func TestInterpolates(t *testing.T) {
	for text, want := range map[string]string{"image: app:1": "", "image: app:$TAG": "$TAG", "image: ${REGISTRY:-x}/app": "${REGISTRY",
		"$FIRST and $SECOND": "$FIRST", "command: echo $$HOME": "", "price: $5": "", "a: $${X} b": ""} {
		path := filepath.Join(t.TempDir(), "compose.yaml")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		target := target{compose: dockerops.Compose{Files: dockerops.Files{Compose: []string{"/nowhere", path}}}}
		if got := target.interpolates(); got != want {
			t.Errorf("%q: %q, not %q", text, got, want)
		}
	}
}

// An image that this host lacks is pulled, before anything is touched.
func TestRolloutPulls(t *testing.T) {
	s := newRollStack(t).run(t)
	request := toImage("app:3")
	request.DryRun = true
	var plan ipc.Plan
	if err := s.Post(t.Context(), ipc.ProjectPath("tvs", "rollout"), request, &plan); err != nil {
		t.Fatal(err)
	}
	if plan.Summary != "roll out webapp to app:3" || len(plan.Steps) != 1 || plan.Steps[0].Text != "pull app:3" || s.docker(t, "pull") != 0 {
		t.Errorf("plan %+v", plan)
	}
	var lines []string
	o, err := s.Follow(t.Context(), s.accept(t, "rollout", toImage("app:3")).ID, func(e ipc.Event) { lines = append(lines, e.Line) })
	if err != nil {
		t.Fatal(err)
	}
	s.expect(t, o, "", "webapp has 3 ready replicas of app:3", "4 5 6")
	if c := s.Container("tvs-webapp-6"); c.ImageID != "sha256:3" || s.docker(t, "pull -- app:3") != 1 || !slices.Contains(lines, "Pulling app:3") {
		t.Errorf("%+v, %q", c, lines)
	}
	var record ipc.Operation
	if err := s.Get(t.Context(), "/operations/"+o.ID, &record); err != nil || record.Steps[0].Text != "pull app:3" || record.Steps[0].State != ipc.StepDone || record.Steps[1].ID != 2 {
		t.Errorf("%+v, %v", record.Steps, err)
	}
}

func TestRolloutCannotPull(t *testing.T) {
	s := newRollStack(t).run(t)
	s.write(t, "unknown", "")
	calls := len(s.Calls())
	o := s.do(t, "rollout", toImage("app:3"))
	s.expect(t, o, ipc.CodeCompose, "cannot roll out webapp to app:3: docker pull failed (exit status 1): manifest unknown", "1 2 3")
	if got := s.Calls()[calls:]; strings.Contains(strings.Join(got, " "), "webapp") || len(s.kept().Rollouts) != 0 {
		t.Errorf("calls %q, kept %+v", got, s.kept())
	}
}
