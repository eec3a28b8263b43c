package dockerops

import (
	"slices"
	"strings"
	"testing"

	"github.com/docker/docker/api/types/container"

	"tvsctl/dockerops/enginetest"
)

func number(n int64) *int64 { return &n }

var testHost = Host{CPUs: 4, Memory: 8 << 30, CanCPU: true, CanMemory: true, CanSwap: true, CanPids: true, CgroupVersion: "1"}

func TestLimitChange(t *testing.T) {
	for _, c := range []struct {
		name         string
		has          Limits
		set          LimitSet
		change, back Limits
	}{
		{"nothing is asked for", Limits{CPUs: 5}, LimitSet{}, Limits{}, Limits{}},
		{"it has them", Limits{CPUs: 5e8, Memory: 9 << 20, Swap: -1, Pids: 7}, LimitSet{number(5e8), number(9 << 20), number(7)}, Limits{}, Limits{}},
		{"from none", Limits{}, LimitSet{number(5e8), number(1 << 28), number(7)},
			Limits{CPUs: 5e8, Memory: 1 << 28, Swap: 1 << 29, Pids: 7}, Limits{CPUs: 4e9, Memory: 8 << 30, Swap: 16 << 30, Pids: -1}},
		{"as much swap as memory", Limits{Memory: 10 << 20, Swap: 20 << 20}, LimitSet{Memory: number(30 << 20)},
			Limits{Memory: 30 << 20, Swap: 60 << 20}, Limits{Memory: 10 << 20, Swap: 20 << 20}},
		{"an amount of swap stays", Limits{Memory: 10 << 20, Swap: 13 << 20}, LimitSet{Memory: number(30 << 20)},
			Limits{Memory: 30 << 20, Swap: 33 << 20}, Limits{Memory: 10 << 20, Swap: 13 << 20}},
		{"no swap stays none", Limits{Memory: 10 << 20, Swap: 10 << 20}, LimitSet{Memory: number(30 << 20)},
			Limits{Memory: 30 << 20, Swap: 30 << 20}, Limits{Memory: 10 << 20, Swap: 10 << 20}},
		{"any swap stays so", Limits{Memory: 10 << 20, Swap: -1}, LimitSet{Memory: number(30 << 20)},
			Limits{Memory: 30 << 20, Swap: -1}, Limits{Memory: 10 << 20, Swap: -1}},
		{"lifted", Limits{CPUs: 5e8, Memory: 10 << 20, Swap: 20 << 20, Pids: 7}, LimitSet{number(0), number(0), number(0)},
			Limits{CPUs: 4e9, Memory: 8 << 30, Swap: 16 << 30, Pids: -1}, Limits{CPUs: 5e8, Memory: 10 << 20, Swap: 20 << 20, Pids: 7}},
		{"lifted where there is none", Limits{}, LimitSet{number(0), number(0), number(0)}, Limits{}, Limits{}},
	} {
		change, back := c.has.change(c.set, testHost)
		if change != c.change || back != c.back {
			t.Errorf("%s: %+v and back %+v", c.name, change, back)
		}
	}
	noSwap := testHost
	noSwap.CanSwap = false
	if change, _ := (Limits{}).change(LimitSet{Memory: number(1 << 28)}, noSwap); change.Swap != -1 {
		t.Errorf("on a kernel that does not account for swap: %+v", change)
	}
}

func TestCheckLimits(t *testing.T) {
	p := &Project{Name: "tvs", Services: []Service{{Name: "webapp"}}}
	lacking := testHost
	lacking.CanMemory, lacking.CgroupVersion = false, "2"
	for _, c := range []struct {
		name string
		set  LimitSet
		host Host
		says string
	}{
		{"webapp", LimitSet{number(1e7), number(6 << 20), number(1)}, testHost, ""},
		{"webapp", LimitSet{number(4e9), number(1 << 60), number(0)}, testHost, ""},
		{"webapp", LimitSet{CPUs: number(1)}, lacking, "cpus 0.000000001 is not from 0.01 to 4"},
		{"webapp", LimitSet{CPUs: number(5e9)}, testHost, "cpus 5 is not from 0.01 to 4"},
		{"webapp", LimitSet{Memory: number(5 << 20)}, testHost, "memory 5M is less than 6M"},
		{"webapp", LimitSet{Memory: number(-1)}, testHost, "memory -1 is less than 6M"},
		{"webapp", LimitSet{Pids: number(-1)}, testHost, "pids -1 is not from 1 to 4194304"},
		{"webapp", LimitSet{Memory: number(1 << 30)}, lacking, "cannot limit memory (no such controller in cgroup v2)"},
		{"nothing", LimitSet{CPUs: number(1e9)}, testHost, "project tvs has no such service"},
	} {
		err := CheckLimits(p, c.name, c.set, c.host)
		if c.says == "" && err != nil || c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says)) {
			t.Errorf("%s %s: %v", c.name, c.set, err)
		}
	}
}

func TestLimitedSpec(t *testing.T) {
	for _, c := range []struct {
		has  container.Resources
		set  LimitSet
		want container.Resources
	}{
		{container.Resources{CPUQuota: 20000, CPUPeriod: 10000, CPUShares: 7}, LimitSet{CPUs: number(5e8)}, container.Resources{NanoCPUs: 5e8, CPUShares: 7}},
		{container.Resources{}, LimitSet{Memory: number(1 << 28)}, container.Resources{Memory: 1 << 28}},
		{container.Resources{Memory: 10 << 20, MemorySwap: 20 << 20}, LimitSet{Memory: number(1 << 28)}, container.Resources{Memory: 1 << 28}},
		{container.Resources{Memory: 10 << 20, MemorySwap: 13 << 20}, LimitSet{Memory: number(20 << 20)}, container.Resources{Memory: 20 << 20, MemorySwap: 23 << 20}},
		{container.Resources{Memory: 10 << 20, MemorySwap: 13 << 20}, LimitSet{Memory: number(0)}, container.Resources{}},
		{container.Resources{Memory: 10 << 20, MemorySwap: -1}, LimitSet{Memory: number(0)}, container.Resources{MemorySwap: -1}},
	} {
		spec := &Spec{HostConfig: &container.HostConfig{Resources: c.has}}
		if got := spec.limited(c.set).HostConfig.Resources; asJSON(t, got) != asJSON(t, c.want) {
			t.Errorf("%s: %+v", c.set, got)
		}
		if asJSON(t, spec.HostConfig.Resources) != asJSON(t, c.has) {
			t.Errorf("%s has changed the spec itself", c.set)
		}
	}
}

func (r *rig) limit(t *testing.T, set LimitSet) error {
	t.Helper()
	p := r.observe(t)
	host, err := r.client.Host(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return r.client.Apply(t.Context(), p, PlanLimit(p, "webapp", set, host), r.nginx, nil, func(Step, bool, error) {})
}

// All replicas have the limits, or all have those of before.
func TestLimitReplicas(t *testing.T) {
	r := newRig(t, "1.45", 3)
	r.Update("tvs-webapp-2", "die", func(c *enginetest.Container) { c.State = "exited" })
	set := LimitSet{CPUs: number(5e8), Memory: number(1 << 28)}
	if err := r.limit(t, set); err != nil {
		t.Fatal(err)
	}
	limits := func() (list []Limits) {
		for _, replica := range r.observe(t).Service("webapp").Replicas {
			list = append(list, replica.Limits)
		}
		return list
	}
	want := Limits{CPUs: 5e8, Memory: 1 << 28, Swap: 1 << 29}
	if got := limits(); !slices.Equal(got, []Limits{want, want, want}) {
		t.Errorf("%+v", got)
	}
	calls := len(r.Calls())
	if err := r.limit(t, set); err != nil || len(r.Calls()) != calls {
		t.Errorf("a second time: %v, %v", err, r.Calls()[calls:])
	}
	r.Fail("update tvs-webapp-3", 500, "unable to set memory limit to 9437184 (current usage: 1, peak usage: 2)")
	err := r.limit(t, LimitSet{Memory: number(9 << 20), Pids: number(5)})
	if err == nil || !strings.Contains(err.Error(), "cannot limit tvs-webapp-3: it uses more than 9M now") {
		t.Errorf("err %v", err)
	}
	for _, l := range limits() {
		if l.Memory != want.Memory || l.Swap != want.Swap || l.Pids > 0 {
			t.Errorf("after a failure: %+v", l)
		}
	}
}

// What is created, by clone or by compose, has the kept limits of its service.
func TestNewReplicasAreLimited(t *testing.T) {
	for _, via := range []bool{false, true} {
		r := newRig(t, "1.45", 1)
		p := r.observe(t)
		p.Service("webapp").Limits = LimitSet{CPUs: number(5e8)}
		request := Request{Goals: map[string]Goal{"webapp": {Count: 2, Running: true}}}
		var composer Composer
		if via {
			request.ViaCompose = map[string]bool{"webapp": true}
			composer = composerStub(func(string, int) error {
				r.Add("webapp", 2, func(c *enginetest.Container) { c.Health = "healthy" })
				return nil
			})
		}
		if err := r.client.Apply(t.Context(), p, MakePlan(p, request), r.nginx, composer, func(Step, bool, error) {}); err != nil {
			t.Fatal(err)
		}
		if replicas := r.observe(t).Service("webapp").Replicas; len(replicas) != 2 || replicas[0].Limits.CPUs != 0 || replicas[1].Limits.CPUs != 5e8 {
			t.Errorf("via compose %v: %+v", via, replicas)
		}
	}
}
