package daemon

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"sync"
	"testing"

	"tvsctl/dockerops/enginetest"
	"tvsctl/ipc"
)

// stack is a daemon at work on a fake engine, where project tvs has an entry and
// a webapp that it balances.
type stack struct {
	*enginetest.Engine
	*ipc.Client
	d       *Daemon
	journal *journalBuffer

	mu        sync.Mutex
	published int
	files     map[string]string // as last published
	history   []string          // the members of each publication
	refuse    bool
}

// newStack is a stack that a daemon looks after.
func newStack(t *testing.T) *stack {
	t.Helper()
	s := newStackWithout(t)
	s.Client, s.d = serve(t, Config{Version: "test", StateDir: t.TempDir(), ProjectDir: t.TempDir(), Log: s.journal})
	return s
}

func newStackWithout(t *testing.T) *stack {
	t.Helper()
	s := &stack{Engine: enginetest.Start(t, "1.45"), journal: &journalBuffer{}}
	s.OnExec = s.nginx
	s.OnStart = func(c *enginetest.Container) {
		c.Health, c.Address = "healthy", "172.20.0."+c.Labels["com.docker.compose.container-number"]
	}
	s.Add("entry", 1, func(c *enginetest.Container) { c.Labels["tvs.nginx"] = "webapp:8080" })
	s.Add("webapp", 1, func(c *enginetest.Container) { c.Health, c.Address = "healthy", "172.20.0.1" })
	return s
}

// serve runs a daemon until the test ends.
func serve(t *testing.T, config Config) (*ipc.Client, *Daemon) {
	t.Helper()
	d := New(config)
	d.log = &logbook{out: config.Log}
	listener := listenUnix(t)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx, listener) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return ipc.NewClient(listener.Addr().String()), d
}

// nginx answers as control.sh does.
func (s *stack) nginx(_ *enginetest.Container, _ []string, input string) (string, int) {
	lines := strings.Split(input, "\n")
	next := func() string {
		line := lines[0]
		lines = lines[1:]
		return line
	}
	var args []string
	count, _ := strconv.Atoi(next())
	for range count {
		n, _ := strconv.Atoi(next())
		var text []string
		for range n {
			text = append(text, next())
		}
		args = append(args, strings.Join(text, "\n"))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case len(args) == 0:
		return "", 0 // not needed after all
	case args[0] == "facts":
		text := "nginx version: nginx/1.26.3\n# configuration file /etc/nginx/nginx.conf:\ninclude /etc/nginx/upstreams/*.conf;\nkeepalive_timeout 0;\nproxy_pass http://webapp;\n"
		for name, contents := range s.files {
			text += "# configuration file /etc/nginx/upstreams/" + name + ":\n" + contents + "\n"
		}
		return text, 0
	case args[0] == "publish" && s.refuse:
		return "nginx: [emerg] no way in x:1", 22
	case args[0] == "publish":
		s.files = map[string]string{}
		for i := 3; i < len(args); i += 2 {
			s.files[args[i]] = args[i+1]
		}
		s.published++
		s.history = append(s.history, s.served())
	case args[0] == "test":
		return "fine", 0
	}
	return "", 0
}

// members are the addresses that nginx was last given.
func (s *stack) members() (list string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.served()
}

func (s *stack) served() (list string) {
	for line := range strings.Lines(s.files["webapp.conf"]) {
		if _, server, ok := strings.Cut(line, "    server "); ok {
			address, _, _ := strings.Cut(server, ";")
			list += address + " "
		}
	}
	return strings.TrimSpace(list)
}

func (s *stack) do(t *testing.T, path string, request any) *ipc.Operation {
	t.Helper()
	var accepted ipc.Operation
	if err := s.Post(t.Context(), ipc.ProjectPath("", path), request, &accepted); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	finished, err := s.Follow(t.Context(), accepted.ID, func(ipc.Event) {})
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return finished
}

func scaleRequest(count int) ipc.ScaleRequest {
	return ipc.ScaleRequest{Services: map[string]int{"webapp": count}}
}

func (s *stack) status(t *testing.T) ipc.Status {
	t.Helper()
	var status ipc.Status
	if err := s.Get(t.Context(), ipc.ProjectPath("tvs", ""), &status); err != nil {
		t.Fatal(err)
	}
	return status
}

// A change that has nothing to do has nginx serve what is there all the same: the guard
// may not have come to it yet.
func TestNothingToDoIsServed(t *testing.T) {
	s := newStack(t)
	until(t, "the guard publishes", func() bool { return s.members() == "172.20.0.1:8080" })
	site := s.d.site("tvs")
	site.mu.Lock()
	for _, b := range site.balancers {
		b.met = false
	}
	site.mu.Unlock()
	s.mu.Lock()
	s.files["webapp.conf"] = "upstream webapp {\n    server 127.0.0.1:9 down;\n}\n"
	s.mu.Unlock()
	if o := s.do(t, "scale", scaleRequest(1)); o.Result != "webapp has 1 ready replica already: nothing to do" || s.members() != "172.20.0.1:8080" {
		t.Errorf("%+v, nginx has %s", o, s.members())
	}
}

func TestScaleFromEndToEnd(t *testing.T) {
	s := newStack(t)
	if o := s.do(t, "scale", scaleRequest(3)); o.State != ipc.OperationSucceeded || o.Result != "webapp has 3 ready replicas" || o.Summary != "scale webapp from 1 to 3" {
		t.Fatalf("%+v", o)
	}
	if got := s.members(); got != "172.20.0.1:8080 172.20.0.2:8080 172.20.0.3:8080" {
		t.Errorf("nginx has %s", got)
	}
	status := s.status(t)
	if w := status.Services[0]; status.State != ipc.StateUp || w.Desired != 3 || w.Ready != 3 || !w.Replicas[2].Serving || w.Replicas[2].Address != "172.20.0.3:8080" {
		t.Errorf("%+v", status)
	}
	if n := status.Nginx[0]; n.Version != "1.26.3" || len(n.Upstreams) != 1 || len(n.Upstreams[0].Servers) != 3 || len(n.Problems) != 0 {
		t.Errorf("%+v", n)
	}
	if o := s.do(t, "scale", scaleRequest(3)); o.Result != "webapp has 3 ready replicas already: nothing to do" {
		t.Errorf("%+v", o)
	}
	if o := s.do(t, "adjust", ipc.AdjustRequest{By: -9}); o.Result != "webapp has 1 ready replica" || s.members() != "172.20.0.1:8080" {
		t.Errorf("%+v, nginx has %s", o, s.members())
	}
	if o := s.do(t, "stop", ipc.StopRequest{}); o.State != ipc.OperationSucceeded || s.members() != "127.0.0.1:9 down" || s.status(t).State != ipc.StateStopped {
		t.Errorf("%+v, nginx has %q", o, s.members())
	}
	if o := s.do(t, "reset", ipc.ResetRequest{Count: 2}); o.Result != "webapp has 2 stopped replicas" {
		t.Errorf("%+v", o)
	}
	if o := s.do(t, "start", ipc.StartRequest{}); o.Result != "webapp has 2 ready replicas" || s.members() != "172.20.0.1:8080 172.20.0.2:8080" {
		t.Errorf("%+v, nginx has %s", o, s.members())
	}
	var list []ipc.Operation
	if err := s.Get(t.Context(), "/operations?project=tvs", &list); err != nil || len(list) != 6 || list[5].Summary != "scale webapp from 1 to 3" || list[0].Steps != nil {
		t.Errorf("%d operations, %v", len(list), err)
	}
	for _, sentence := range []string{"asks to scale webapp from 1 to 3 in project tvs.", "Succeeded to scale webapp from 1 to 3", "nginx serves webapp from tvs-webapp-1, tvs-webapp-2, tvs-webapp-3."} {
		if !strings.Contains(s.journal.String(), sentence) {
			t.Errorf("the journal lacks %q", sentence)
		}
	}
}

func TestFailuresTakeBack(t *testing.T) {
	s := newStack(t)
	until(t, "the guard publishes", func() bool { return s.members() == "172.20.0.1:8080" })
	s.OnStart = func(c *enginetest.Container) { c.State, c.ExitCode, c.Logs = "exited", 3, "out of luck\n" }
	o := s.do(t, "scale", scaleRequest(2))
	if o.State != ipc.OperationFailed || o.Error.Code != ipc.CodeNotReady || !strings.Contains(o.Error.Message, "tvs-webapp-2 exited with code 3") || o.Error.Detail[0] != "out of luck" {
		t.Errorf("%+v %+v", o, o.Error)
	}
	s.OnStart = func(c *enginetest.Container) { c.Health = "healthy" }
	s.mu.Lock()
	s.refuse = true
	s.mu.Unlock()
	if o = s.do(t, "scale", scaleRequest(2)); o.Error == nil || o.Error.Code != ipc.CodeNginx || !strings.Contains(o.Error.Message, "no way in x:1") {
		t.Errorf("%+v %+v", o, o.Error)
	}
	if names := s.Names(); len(names) != 2 || s.d.state.project("tvs").Desired["webapp"] != 0 {
		t.Errorf("left %q", names)
	}
}

func TestGuardFollows(t *testing.T) {
	s := newStack(t)
	s.Add("webapp", 2, func(c *enginetest.Container) { c.Health, c.Address = "healthy", "172.20.0.2" })
	s.Update("tvs-webapp-2", "start", func(*enginetest.Container) {})
	until(t, "both are served", func() bool { return s.members() == "172.20.0.1:8080 172.20.0.2:8080" })
	s.Update("tvs-webapp-2", "die", func(c *enginetest.Container) { c.State, c.Health = "exited", "" })
	until(t, "the dead one leaves", func() bool { return s.members() == "172.20.0.1:8080" })
	s.Update("tvs-webapp-1", "health_status: unhealthy", func(c *enginetest.Container) { c.Health = "unhealthy" })
	s.Update("tvs-webapp-2", "start", func(c *enginetest.Container) { c.State, c.Health, c.Address = "running", "healthy", "172.20.0.9" })
	until(t, "it comes back elsewhere, and the unhealthy leaves", func() bool { return s.members() == "172.20.0.9:8080" })
}

func TestRefusals(t *testing.T) {
	s := newStack(t)
	s.Update("tvs-webapp-1", "update", func(c *enginetest.Container) { c.Labels["tvs.scale.max"] = "4" })
	s.Add("other", 1, nil)
	for _, c := range []struct {
		path    string
		request any
		code    ipc.Code
	}{
		{"/projects/tvs/scale", ipc.ScaleRequest{Services: map[string]int{"nothing": 1}}, ipc.CodeUnknownService},
		{"/projects/none/scale", scaleRequest(2), ipc.CodeUnknownProject},
		{"/projects/UPPER/scale", scaleRequest(2), ipc.CodeUnknownProject},
		{"/projects/tvs/scale", scaleRequest(-1), ipc.CodeOutOfRange},
		{"/projects/tvs/scale", scaleRequest(5), ipc.CodeOutOfRange},
		{"/projects/tvs/scale", ipc.ScaleRequest{Services: map[string]int{"other": ipc.MaxReplicas + 1}}, ipc.CodeOutOfRange},
		{"/projects/tvs/scale", ipc.ScaleRequest{Services: map[string]int{"entry": 2}}, ipc.CodeNotScalable},
		{"/projects/tvs/scale", ipc.ScaleRequest{}, ipc.CodeServiceRequired},
		{"/projects/tvs/scale", map[string]any{"services": map[string]int{"webapp": 2}, "force": true}, ipc.CodeBadRequest},
		{"/projects/tvs/adjust", ipc.AdjustRequest{}, ipc.CodeBadRequest},
		{"/projects/tvs/reset", ipc.ResetRequest{Count: -1}, ipc.CodeOutOfRange},
		{"/projects/tvs/fly", ipc.StartRequest{}, ipc.CodeUnknownRoute},
		{"/projects/tvs/up", ipc.UpRequest{}, ipc.CodeBadRequest},
	} {
		err := s.Post(t.Context(), c.path, c.request, nil)
		var refused *ipc.Error
		if !errors.As(err, &refused) || refused.Code != c.code || strings.Contains(refused.Message, "\n") {
			t.Errorf("%s %v: %v", c.path, c.request, err)
		}
	}
	if calls := s.Calls(); len(s.Names()) != 3 || strings.Contains(strings.Join(calls, " "), "create") {
		t.Errorf("calls %q", calls)
	}
	err := s.Get(t.Context(), "/operations/none", nil)
	if describeError(err).Code != ipc.CodeUnknownOperation {
		t.Errorf("err %v", err)
	}
}

func TestDryRunChangesNothing(t *testing.T) {
	s := newStack(t)
	request := scaleRequest(2)
	request.DryRun = true
	var plan ipc.Plan
	if err := s.Post(t.Context(), ipc.ProjectPath("tvs", "scale"), request, &plan); err != nil {
		t.Fatal(err)
	}
	var text []string
	for _, step := range plan.Steps {
		text = append(text, step.Text)
	}
	if got := strings.Join(text, ", "); got != "create tvs-webapp-2, start tvs-webapp-2, wait until tvs-webapp-2 is ready, publish to nginx" || plan.Summary != "scale webapp from 1 to 2" {
		t.Errorf("%s: %s", plan.Summary, got)
	}
	if len(s.Names()) != 2 || len(s.d.state.history()) != 0 {
		t.Errorf("it left %q", s.Names())
	}
}

func TestChangesOfAProjectWaitInLine(t *testing.T) {
	s := newStack(t)
	under, on := make(chan struct{}), make(chan struct{})
	s.Before("start tvs-webapp-2", func() {
		close(under)
		<-on
	})
	var first, second ipc.Operation
	path := ipc.ProjectPath("tvs", "scale")
	if err := s.Post(t.Context(), path, scaleRequest(2), &first); err != nil {
		t.Fatal(err)
	}
	<-under
	if err := s.Post(t.Context(), path, scaleRequest(1), &second); err != nil {
		t.Fatal(err)
	}
	if running := s.status(t).Operations; len(running) != 2 || running[0].State != ipc.OperationRunning || running[1].State != ipc.OperationQueued {
		t.Errorf("operations %+v", running)
	}
	s.Before("start tvs-webapp-2", nil)
	close(on)
	late := 0
	finished, err := s.Follow(t.Context(), second.ID, func(ipc.Event) { late++ })
	if err != nil || finished.State != ipc.OperationSucceeded || len(s.Names()) != 2 {
		t.Errorf("%+v, %v, %q", finished, err, s.Names())
	}
	again := 0
	if _, err := s.Follow(t.Context(), second.ID, func(ipc.Event) { again++ }); err != nil || again != late {
		t.Errorf("first %d events, then %d, %v", late, again, err)
	}
}
