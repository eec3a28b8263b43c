package daemon

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"tvsctl/ipc"
	"tvsctl/systemd/managertest"
)

const shopFile = `[services.web]
unit = "app@.service"
base_port = 25000
database = "db.service"

[nginx]
`

// instanceStack is a daemon that looks after the units of project shop, on a host without
// Docker.
type instanceStack struct {
	*managertest.Manager
	*ipc.Client
	d       *Daemon
	journal *journalBuffer
	config  Config
}

func newInstanceStack(t *testing.T, kind string) *instanceStack {
	t.Helper()
	t.Setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
	s := &instanceStack{Manager: managertest.Start(t), journal: &journalBuffer{}}
	s.File("app@.service", map[string]any{"Type": kind})
	s.File("db.service", map[string]any{"Type": "notify"})
	s.File("nginx.service", nil)
	s.config = Config{Version: "test", StateDir: t.TempDir(), ProjectDir: t.TempDir(), Log: s.journal}
	if err := os.WriteFile(filepath.Join(s.config.ProjectDir, "shop.toml"), []byte(shopFile), 0o644); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *instanceStack) run(t *testing.T) *instanceStack {
	t.Helper()
	s.Client, s.d = serve(t, s.config)
	return s
}

// do asks for a change of the only project and returns its end.
func (s *instanceStack) do(t *testing.T, verb string, request any) ipc.Operation {
	t.Helper()
	var o ipc.Operation
	if err := s.Post(t.Context(), ipc.ProjectPath(ipc.OnlyProject, verb), request, &o); err != nil {
		t.Fatalf("%s: %v", verb, err)
	}
	until(t, "the operation ends", func() bool {
		if err := s.Get(t.Context(), "/operations/"+o.ID, &o); err != nil {
			t.Fatal(err)
		}
		return o.State.Finished()
	})
	return o
}

func (s *instanceStack) web(t *testing.T) ipc.Service {
	t.Helper()
	var status ipc.Status
	if err := s.Get(t.Context(), ipc.ProjectPath("shop", ""), &status); err != nil {
		t.Fatal(err)
	}
	for _, service := range status.Services {
		if service.Name == "web" {
			return service
		}
	}
	t.Fatalf("no service web in %+v", status)
	return ipc.Service{}
}

func (s *instanceStack) active(t *testing.T, want ...string) {
	t.Helper()
	if got := s.Active(); !slices.Equal(got, want) {
		t.Errorf("active are %q, want %q", got, want)
	}
}

func webTo(n int) ipc.ScaleRequest { return ipc.ScaleRequest{Services: map[string]int{"web": n}} }

func steps(o ipc.Operation) (list []string) {
	for _, s := range o.Steps {
		list = append(list, s.Text)
	}
	return list
}

func TestInstances(t *testing.T) {
	s := newInstanceStack(t, "notify").run(t)
	o := s.do(t, "scale", webTo(2))
	if o.Result != "web has 2 ready replicas" || steps(o)[0] != "start db.service" || s.Calls()[0] != "start db.service" {
		t.Errorf("%+v\n%s", o, s.journal)
	}
	s.active(t, "app@25000.service", "app@25001.service", "db.service")
	web := s.web(t)
	if web.Ready != 2 || web.Desired != 2 || web.Replicas[1].Number != 25001 || web.Replicas[1].Address != "127.0.0.1:25001" || web.Replicas[1].ID != "app@25001.service" || len(web.Problems) > 0 {
		t.Errorf("%+v", web)
	}
	if o := s.do(t, "adjust", ipc.AdjustRequest{By: 1}); o.Result != "web has 3 ready replicas" {
		t.Errorf("%+v", o)
	}
	o = s.do(t, "scale", webTo(1))
	if got := fmt.Sprint(steps(o)); got != "[publish to nginx drain requests in flight stop app@25002.service stop app@25001.service]" {
		t.Errorf("steps %s", got)
	}
	s.active(t, "app@25000.service", "db.service")
	if o := s.do(t, "stop", ipc.StopRequest{Dependencies: true}); o.Result != "web has 1 stopped replica" {
		t.Errorf("%+v", o)
	}
	s.active(t)
	if problems := s.web(t).Problems; len(problems) > 0 {
		t.Errorf("stopped as asked for, and problems %q", problems)
	}
	s.do(t, "start", ipc.StartRequest{})
	s.active(t, "app@25000.service", "db.service")

	// The first port can be another one, within the range of the file.
	s.do(t, "reset", ipc.ResetRequest{Count: 2, Base: 25004})
	s.active(t, "db.service")
	s.do(t, "start", ipc.StartRequest{})
	s.active(t, "app@25004.service", "app@25005.service", "db.service")
	for base, count := range map[int]int{25015: 2, 24999: 1, 26000: 1} {
		err := s.Post(t.Context(), ipc.ProjectPath("shop", "reset"), ipc.ResetRequest{Count: count, Base: base}, nil)
		if describeError(err).Code != ipc.CodeOutOfRange {
			t.Errorf("reset %d %d: %v", count, base, err)
		}
	}
	s.do(t, "reset", ipc.ResetRequest{Count: 1})
	s.do(t, "start", ipc.StartRequest{})
	s.active(t, "app@25000.service", "db.service")

	o = s.do(t, "restart", ipc.RestartRequest{Service: "web"})
	want := "[start app@25001.service wait until app@25001.service is ready take app@25000.service out of nginx drain requests in flight " +
		"stop app@25000.service start app@25000.service wait until app@25000.service is ready take app@25001.service out of nginx drain requests in flight stop app@25001.service]"
	if got := fmt.Sprint(steps(o)); got != want || o.State != ipc.OperationSucceeded {
		t.Errorf("restart: %s %+v", got, o.Error)
	}
	s.active(t, "app@25000.service", "db.service")
	var list []ipc.ProjectSummary
	if strings.Contains(s.journal.String(), "Docker") {
		t.Errorf("it misses Docker: %s", s.journal)
	}
	if err := s.Get(t.Context(), "/projects", &list); err != nil || len(list) != 1 || list[0].Name != "shop" || list[0].Running != 1 {
		t.Errorf("%+v, %v", list, err)
	}
}

// What only containers have is refused in plain words, and touches nothing.
func TestInstancesRefuse(t *testing.T) {
	s := newInstanceStack(t, "notify").run(t)
	s.do(t, "scale", webTo(1))
	before := len(s.Calls())
	for _, c := range []struct {
		verb    string
		request any
		code    ipc.Code
		want    string
	}{
		{"rollout", ipc.RolloutRequest{Service: "web"}, ipc.CodeNotScalable, "cannot roll out web: its replicas are units of systemd, which have no images"},
		{"rollback", ipc.RollbackRequest{Service: "web"}, ipc.CodeNotScalable, "cannot roll out web: its replicas are units of systemd, which have no images"},
		{"up", ipc.UpRequest{}, ipc.CodeBadRequest, "cannot bring project shop up: its services are units of systemd, of which docker compose knows nothing"},
		{"down", ipc.DownRequest{}, ipc.CodeBadRequest, "cannot bring project shop down: its services are units of systemd, of which docker compose knows nothing"},
		{"scale", webTo(17), ipc.CodeOutOfRange, "cannot scale web: 17 is above its max of 16"},
		{"scale", ipc.ScaleRequest{Services: map[string]int{"db": 2}}, ipc.CodeNotScalable, "cannot scale db: it is the one unit db.service"},
		{"scale", ipc.ScaleRequest{Services: map[string]int{"api": 2}}, ipc.CodeUnknownService, "cannot scale api: project shop has no such service"},
		{"restart", ipc.RestartRequest{Service: "db"}, ipc.CodeNotScalable, "cannot restart db: it is the one unit db.service"},
		{"restart", ipc.RestartRequest{Service: "api"}, ipc.CodeUnknownService, "cannot restart api: project shop has no such service"},
	} {
		err := s.Post(t.Context(), ipc.ProjectPath("shop", c.verb), c.request, nil)
		if refusal := describeError(err); refusal.Code != c.code || refusal.Message != c.want {
			t.Errorf("%s: %v", c.verb, err)
		}
	}
	zero := int64(1 << 28)
	for verb, err := range map[string]error{
		"inspect": s.Get(t.Context(), ipc.ProjectPath("shop", "services/web/inspect"), nil),
		"limit":   s.Post(t.Context(), ipc.ProjectPath("shop", "limit"), ipc.LimitRequest{Service: "web", Memory: &zero}, nil),
	} {
		if refusal := describeError(err); refusal.Code != ipc.CodeNotScalable || refusal.Message != "cannot "+verb+" web: its replicas are units of systemd, not containers" {
			t.Errorf("%s: %v", verb, err)
		}
	}
	if n := len(s.Calls()); n != before {
		t.Errorf("it did something: %q", s.Calls()[before:])
	}
}

// One that does not start takes the change back, and says why.
func TestInstanceFails(t *testing.T) {
	s := newInstanceStack(t, "notify")
	s.OnJob = func(verb, unit string) (map[string]any, string) {
		if verb == "start" && unit == "app@25001.service" {
			return map[string]any{"ActiveState": "failed", "SubState": "failed", "Result": "exit-code", "ExecMainCode": int32(1), "ExecMainStatus": int32(3)}, "failed"
		}
		return nil, "done"
	}
	s.run(t)
	o := s.do(t, "scale", webTo(2))
	if o.Error == nil || o.Error.Code != ipc.CodeNotReady || !strings.HasPrefix(o.Error.Message, "app@25001.service does not start: its process exited with status 3; what was started for this has been stopped again") {
		t.Errorf("%+v", o.Error)
	}
	s.active(t)
	if web := s.web(t); web.Desired != 0 {
		t.Errorf("it is desired all the same: %+v", web)
	}
}

// A restart that is canceled leaves all running that ran.
func TestCancelRestart(t *testing.T) {
	s := newInstanceStack(t, "notify")
	var begun sync.Once
	stopping, on := make(chan struct{}), make(chan struct{})
	s.OnJob = func(verb, unit string) (map[string]any, string) {
		if verb == "stop" && unit == "app@25000.service" {
			begun.Do(func() { close(stopping) })
			<-on
		}
		return nil, "done"
	}
	s.run(t)
	s.do(t, "scale", webTo(2))
	var o ipc.Operation
	if err := s.Post(t.Context(), ipc.ProjectPath("shop", "restart"), ipc.RestartRequest{Service: "web"}, &o); err != nil {
		t.Fatal(err)
	}
	<-stopping
	if err := s.Post(t.Context(), "/operations/"+o.ID+"/cancel", nil, nil); err != nil {
		t.Error(err)
	}
	close(on)
	until(t, "the operation ends", func() bool {
		return s.Get(t.Context(), "/operations/"+o.ID, &o) == nil && o.State.Finished()
	})
	if o.Error == nil || o.Error.Code != ipc.CodeCanceled {
		t.Errorf("%+v", o)
	}
	s.active(t, "app@25000.service", "app@25001.service", "db.service")
	if calls := s.Calls(); slices.Contains(calls, "stop app@25001.service") {
		t.Errorf("it went on: %q", calls)
	}
}

// What is wrong with the units is a problem of the service.
func TestInstanceProblems(t *testing.T) {
	s := newInstanceStack(t, "notify")
	s.File("app@25001.service", map[string]any{"LoadState": "masked"})
	s.run(t)
	s.do(t, "scale", webTo(1))
	s.Set("app@25001.service", nil)
	if err := s.d.state.update("shop", func(k *projectState) { k.Desired["web"] = 2 }); err != nil {
		t.Fatal(err)
	}
	if problems := fmt.Sprint(s.web(t).Problems); !strings.Contains(problems, "app@25001.service is masked") {
		t.Errorf("problems %s", problems)
	}
	other := newInstanceStack(t, "notify")
	if err := os.WriteFile(filepath.Join(other.config.ProjectDir, "shop.toml"), []byte(strings.Replace(shopFile, "app@", "gone@", 1)), 0o644); err != nil {
		t.Fatal(err)
	}
	other.run(t)
	if problems := fmt.Sprint(other.web(t).Problems); problems != "[there is no unit file gone@.service]" {
		t.Errorf("problems %s", problems)
	}
	var started ipc.Operation
	if started = other.do(t, "scale", webTo(1)); started.Error == nil || started.Error.Code != ipc.CodeUnknownUnit {
		t.Errorf("%+v", started)
	}
}

// The doctor finds of a project of units what is wrong with these.
func TestDoctorOfInstances(t *testing.T) {
	s := newInstanceStack(t, "notify").run(t)
	s.do(t, "scale", webTo(2))
	findings := func() string {
		var all []ipc.Finding
		if err := s.Get(t.Context(), "/doctor", &all); err != nil {
			t.Fatal(err)
		}
		var list []string
		for _, f := range all {
			if f.State != ipc.FindingOK && (f.Check == "labels" || f.Check == "replicas" || f.Check == "upstreams" || f.Check == "docker") {
				list = append(list, f.Check+": "+f.Text+" → "+f.Remedy)
			}
		}
		return strings.Join(list, "\n")
	}
	if got := findings(); got != "" {
		t.Errorf("on a healthy host: %s", got)
	}
	s.Set("app@25001.service", map[string]any{"ActiveState": "inactive", "SubState": "dead"})
	if got := findings(); got != "replicas: project shop: service web: drift: 2 desired, but somebody else made it 1 → tvsctl scale web N settles it" {
		t.Errorf("drift: %s", got)
	}
}

// What somebody does by hand is told and left so, until the next command.
func TestInstanceDrift(t *testing.T) {
	s := newInstanceStack(t, "notify").run(t)
	s.do(t, "scale", webTo(2))
	s.Set("app@25001.service", map[string]any{"ActiveState": "inactive", "SubState": "dead", "InactiveEnterTimestamp": uint64(1)})
	stopped := time.Now()
	until(t, "the journal tells", func() bool {
		return strings.Contains(s.journal.String(), "Somebody else made it 1 replica of web, where 2 are desired.")
	})
	if took := time.Since(stopped); took > lookAround/2 {
		t.Errorf("it was seen after %v, and not when it happened", took)
	}
	if problems := fmt.Sprint(s.web(t).Problems); !strings.Contains(problems, "drift: 2 desired, but somebody else made it 1; tvsctl scale web N settles it") {
		t.Errorf("problems %s", problems)
	}
	s.active(t, "app@25000.service", "db.service")
	s.Set("app@25009.service", map[string]any{"ActiveState": "active", "SubState": "running", "UnitFileState": "enabled"})
	problems := fmt.Sprint(s.web(t).Problems)
	if !strings.Contains(problems, "systemd starts app@25009.service at boot, however many are desired: systemctl disable app@25009.service") {
		t.Errorf("problems %s", problems)
	}
	s.do(t, "scale", webTo(2))
	s.active(t, "app@25000.service", "app@25001.service", "db.service")
}

// Without Type=notify one is ready when its port is open.
func TestInstanceListens(t *testing.T) {
	s := newInstanceStack(t, "simple")
	var late sync.WaitGroup
	s.OnJob = func(verb, unit string) (map[string]any, string) {
		if port := portOf(unit); port != 0 && verb == "start" {
			late.Go(func() {
				time.Sleep(500 * time.Millisecond) // so much later than it starts
				listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
				if err != nil {
					t.Error(err)
					return
				}
				t.Cleanup(func() { listener.Close() })
			})
		}
		return nil, "done"
	}
	s.run(t)
	o := s.do(t, "scale", webTo(1))
	late.Wait()
	if o.Result != "web has 1 ready replica" || o.Ended.Sub(o.Started) < 500*time.Millisecond {
		t.Errorf("%+v", o)
	}
}
