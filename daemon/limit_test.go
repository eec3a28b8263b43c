package daemon

import (
	"strings"
	"testing"

	"tvsctl/dockerops/enginetest"
	"tvsctl/ipc"
)

func limitRequest(cpus float64, memory int64) ipc.LimitRequest {
	return ipc.LimitRequest{Service: "webapp", CPUs: &cpus, Memory: &memory}
}

func TestLimit(t *testing.T) {
	s := newStack(t)
	plan := ipc.Plan{}
	dry := limitRequest(0.5, 1<<28)
	dry.DryRun = true
	if err := s.Post(t.Context(), ipc.ProjectPath("tvs", "limit"), dry, &plan); err != nil || len(plan.Steps) != 1 || plan.Steps[0].Text != "limit tvs-webapp-1 to cpus 0.5, memory 256M" {
		t.Errorf("%+v, %v", plan, err)
	}
	if c := s.Container("tvs-webapp-1"); c.HostConfig["Memory"] != nil {
		t.Errorf("a dry run: %+v", c.HostConfig)
	}
	if o := s.do(t, "limit", limitRequest(0.5, 1<<28)); o.State != ipc.OperationSucceeded || o.Verb != "limit" || o.Result != "webapp is limited to cpus 0.5, memory 256M: 1 replica, and those to come" {
		t.Fatalf("%+v", o)
	}
	s.do(t, "scale", scaleRequest(2))
	for _, name := range []string{"tvs-webapp-1", "tvs-webapp-2"} {
		if c := s.Container(name); c.HostConfig["Memory"] != float64(1<<28) || c.HostConfig["NanoCpus"] != 5e8 {
			t.Errorf("%s: %+v", name, c.HostConfig)
		}
	}
	// Somebody else's replica without limits is not what the next ones are made from.
	s.Add("webapp", 7, func(c *enginetest.Container) { c.Health, c.Address = "healthy", "172.20.0.7" })
	s.do(t, "scale", scaleRequest(4))
	if c := s.Container("tvs-webapp-8"); c.HostConfig["Memory"] != float64(1<<28) {
		t.Errorf("a clone of a replica without limits: %+v", c.HostConfig)
	}
	if o := s.do(t, "limit", limitRequest(0, 1<<28)); !strings.Contains(o.Result, "cannot lift a limit") {
		t.Errorf("%+v", o)
	}
	if c := s.Container("tvs-webapp-1"); c.HostConfig["NanoCpus"] != 4e9 {
		t.Errorf("lifted: %+v", c.HostConfig)
	}
	s.do(t, "scale", scaleRequest(5))
	if c := s.Container("tvs-webapp-9"); c.HostConfig["NanoCpus"] != nil && c.HostConfig["NanoCpus"] != 0.0 || c.HostConfig["Memory"] != float64(1<<28) {
		t.Errorf("a new one after that: %+v", c.HostConfig)
	}
}

func TestLimitRefuses(t *testing.T) {
	s := newStack(t)
	s.Fail("update tvs-webapp-1", 500, "device or resource busy")
	if o := s.do(t, "limit", limitRequest(1, 1<<28)); o.State != ipc.OperationFailed || !strings.Contains(o.Error.Message, "it uses more than 256M now") {
		t.Errorf("%+v", o)
	}
	if kept := s.d.state.project("tvs").Limits; len(kept) != 0 {
		t.Errorf("kept after a failure: %+v", kept)
	}
	for _, c := range []struct {
		request ipc.LimitRequest
		code    ipc.Code
	}{
		{ipc.LimitRequest{}, ipc.CodeServiceRequired},
		{ipc.LimitRequest{Service: "webapp"}, ipc.CodeBadRequest},
		{limitRequest(-1, 1<<28), ipc.CodeBadRequest},
		{limitRequest(1e300, 1<<28), ipc.CodeBadRequest},
		{limitRequest(5, 1<<28), ipc.CodeOutOfRange},
		{limitRequest(1, 5), ipc.CodeOutOfRange},
	} {
		if err := s.Post(t.Context(), ipc.ProjectPath("tvs", "limit"), c.request, nil); err == nil || describeError(err).Code != c.code {
			t.Errorf("%+v: %v", c.request, err)
		}
	}
	s.Info["MemoryLimit"] = false
	if err := s.Post(t.Context(), ipc.ProjectPath("tvs", "limit"), limitRequest(1, 1<<28), nil); err == nil || describeError(err).Code != ipc.CodeUnsupported {
		t.Errorf("without the controller: %v", err)
	}
}

func TestLimitNotes(t *testing.T) {
	s := newStack(t)
	s.do(t, "limit", limitRequest(0.5, 0))
	if got := limitNotes(s.d.state.project("tvs").Limits); !strings.HasPrefix(got, "# webapp is limited to cpus 0.5, any memory by tvsctl limit.") || strings.Count(got, "\n#") != 2 {
		t.Errorf("%s", got)
	}
	s.do(t, "limit", limitRequest(0, 0))
	if got := limitNotes(s.d.state.project("tvs").Limits); got != "" {
		t.Errorf("%s", got)
	}
}
