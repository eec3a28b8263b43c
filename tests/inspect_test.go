//go:build e2e

package tests

import (
	"encoding/json"
	"fmt"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"tvsctl/ipc"
)

// box adds to a stack a service of busybox that runs a command.
func (s *stack) box(t *testing.T, command, more string) {
	t.Helper()
	s.m.sh(t, `mkdir -p /tmp/box/bin && cp /bin/busybox /tmp/box/bin/ && for name in sh sleep cat stty head tail dd; do ln -sf busybox /tmp/box/bin/$name; done
tar -C /tmp/box -c . | docker import - box >/dev/null`)
	s.extra = fmt.Sprintf("  box:\n    image: box\n    restart: always\n    stop_signal: SIGKILL\n    command: [\"sh\", \"-c\", %q]\n%s", command, more)
}

// inspection is what tvsctl shows of one replica.
func (s *stack) inspection(t *testing.T, replica string) ipc.Inspection {
	t.Helper()
	var list []ipc.Inspection
	s.m.ask(t, &list, "-p", s.name, "inspect", replica)
	if len(list) != 1 {
		t.Fatalf("%s is %d replicas", replica, len(list))
	}
	return list[0]
}

// dockerInspect is what docker inspect --size prints of a container.
type dockerInspect struct {
	ID           string `json:"Id"`
	RestartCount int
	SizeRw       int64
	State        struct{ Pid int }
	GraphDriver  struct{ Data map[string]string }
	Mounts       []struct{ Destination, Source string }
	Networks     map[string]struct {
		IPAddress   string
		IPPrefixLen int
		MacAddress  string
	} `json:"-"`
	NetworkSettings struct {
		Networks map[string]struct {
			IPAddress   string
			IPPrefixLen int
			MacAddress  string
		}
	}
}

func (s *stack) dockerInspect(t *testing.T, name string) dockerInspect {
	t.Helper()
	var list []dockerInspect
	if err := json.Unmarshal([]byte(s.m.must(t, "docker", "inspect", "--size", name)), &list); err != nil || len(list) != 1 {
		t.Fatalf("docker inspect %s: %v", name, err)
	}
	return list[0]
}

// TestInspect: what tvsctl shows of a running replica is what lsns, docker inspect, /proc
// and the cgroup files say.
func TestInspect(t *testing.T) {
	s := &stack{m: shared, name: "looks", port: 4101}
	s.box(t, "dd if=/dev/zero of=/written bs=1024 count=300 2>/dev/null; sleep 1000000",
		"    volumes: [\"data:/data\"]\n    healthcheck: {test: [\"CMD\", \"cat\", \"/written\"], interval: 1s}\n    mem_limit: 64M\nvolumes:\n  data: {}\n")
	s.up(t)
	var view ipc.Inspection
	s.m.eventually(t, 20*time.Second, "its health was checked, and what it wrote is there", func() bool {
		view = s.inspection(t, "box")
		return len(view.HealthLog) > 0 && view.Health == "healthy" && view.Storage.Written >= 300<<10
	})
	docker := s.dockerInspect(t, "looks-box-1")
	pid := strconv.Itoa(docker.State.Pid)

	namespaces := map[string]uint64{}
	for _, n := range view.Namespaces {
		namespaces[n.Kind] = n.Inode
		host := s.m.must(t, "readlink", "/proc/1/ns/"+n.Kind)
		if own := s.m.must(t, "readlink", "/proc/"+pid+"/ns/"+n.Kind); n.Host != (own == host) {
			t.Errorf("namespace %+v: %s, the host's is %s", n, own, host)
		}
	}
	lsns := map[string]uint64{}
	for line := range strings.Lines(s.m.must(t, "lsns", "-n", "-o", "TYPE,NS", "-p", pid)) {
		fields := strings.Fields(line)
		lsns[fields[0]], _ = strconv.ParseUint(fields[1], 10, 64)
	}
	if len(namespaces) != 8 || !maps.Equal(namespaces, lsns) {
		t.Errorf("the namespaces are %v, and lsns says %v", namespaces, lsns)
	}

	if view.ID != docker.ID || view.Pid != docker.State.Pid || view.Storage.Written != docker.SizeRw ||
		view.Storage.Upper != docker.GraphDriver.Data["UpperDir"] || view.Storage.Merged != docker.GraphDriver.Data["MergedDir"] ||
		strings.Join(view.Storage.Lower, ":") != docker.GraphDriver.Data["LowerDir"] {
		t.Errorf("%+v, and docker says %+v", view, docker)
	}
	network := docker.NetworkSettings.Networks["looks_default"]
	if len(view.Networks) != 1 || view.Networks[0].Address != fmt.Sprintf("%s/%d", network.IPAddress, network.IPPrefixLen) || view.Networks[0].MAC != network.MacAddress {
		t.Errorf("networks %+v, and docker says %+v", view.Networks, network)
	}
	if len(view.Mounts) != 1 || view.Mounts[0].Target != "/data" || view.Mounts[0].Source != docker.Mounts[0].Source || !view.Mounts[0].Write {
		t.Errorf("mounts %+v, and docker says %+v", view.Mounts, docker.Mounts)
	}

	memory := s.cgroup(t, view.Pid, "memory")
	limit := strings.TrimSpace(s.m.sh(t, fmt.Sprintf("cat %s/memory.limit_in_bytes 2>/dev/null || cat %s/memory.max", memory, memory)))
	if view.Cgroup == nil || view.Cgroup.Memory == nil || view.Cgroup.Memory.Limit == nil || fmt.Sprint(*view.Cgroup.Memory.Limit) != limit || limit != fmt.Sprint(64<<20) ||
		!strings.HasSuffix(memory, view.Cgroup.Path) || view.Cgroup.Memory.Used <= 0 || view.Cgroup.CPU == nil || view.Cgroup.Pids == nil || view.Cgroup.Pids.Used < 1 {
		t.Errorf("cgroup %+v, and %s has the limit %s", view.Cgroup, memory, limit)
	}

	// Its restart policy starts it again: another process, seen as such.
	s.m.must(t, "kill", "-KILL", pid)
	s.m.eventually(t, 10*time.Second, "it was restarted", func() bool {
		now := s.inspection(t, "box.1")
		return now.Restarts == 1 && now.State == "running" && now.Pid != view.Pid && len(now.Namespaces) == 8
	})
	s.m.must(t, "docker", "stop", "looks-box-1")
	if view = s.inspection(t, "box"); view.State != "exited" || view.ExitCode == nil || *view.ExitCode != 137 || view.Cgroup != nil || len(view.Missing) != 1 {
		t.Errorf("stopped it is %+v", view)
	}
	if r := s.m.tvsctl("-p", s.name, "inspect", "box.7"); r.code != ipc.ExitUnknown || !strings.Contains(r.err, "no replica of that number") {
		t.Error(r)
	}
}

// TestInspectWithoutUnit: where the root unit is missing, the rest is shown, and what is
// missing is said.
func TestInspectWithoutUnit(t *testing.T) {
	s := &stack{m: shared, name: "blind", port: 4102}
	s.up(t)
	const unit = "/etc/systemd/system/tvsctld-inspect@.service"
	t.Cleanup(func() { s.m.sh(t, "mv /root/unit.away "+unit+" && systemctl daemon-reload") })
	s.m.sh(t, "mv "+unit+" /root/unit.away && systemctl daemon-reload")
	view := s.inspection(t, "webapp")
	if len(view.Missing) != 1 || !strings.Contains(view.Missing[0], "is not installed; run scripts/install.sh again") || view.Pid == 0 || len(view.Networks) != 1 || view.Cgroup != nil {
		t.Errorf("%+v", view)
	}
}

// cgroup is the directory of a process's cgroup with that controller.
func (s *stack) cgroup(t *testing.T, pid int, controller string) string {
	t.Helper()
	for line := range strings.Lines(s.m.must(t, "cat", fmt.Sprintf("/proc/%d/cgroup", pid))) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if slices.Contains(strings.Split(parts[1], ","), controller) {
			return path.Join("/sys/fs/cgroup", parts[1], parts[2])
		}
		if parts[1] == "" {
			if dir := path.Join("/sys/fs/cgroup", parts[2]); s.m.run("test", "-e", dir+"/"+controller+".max").code == 0 {
				return dir
			}
		}
	}
	t.Fatalf("there is no %s controller", controller)
	return ""
}

// limits reads a process's limits from its cgroup's files.
func (s *stack) limits(t *testing.T, name string) string {
	t.Helper()
	pid := s.dockerInspect(t, name).State.Pid
	script := fmt.Sprintf(`cd %s; cat cpu.cfs_quota_us 2>/dev/null || cut -d' ' -f1 cpu.max; cd %s; cat memory.limit_in_bytes 2>/dev/null || cat memory.max; cd %s; cat pids.max`,
		s.cgroup(t, pid, "cpu"), s.cgroup(t, pid, "memory"), s.cgroup(t, pid, "pids"))
	return strings.Join(strings.Fields(s.m.sh(t, script)), " ")
}

// TestLimit: new limits are in the cgroup files of running replicas, which are not
// restarted, and of those to come; docker compose finds nothing to do.
func TestLimit(t *testing.T) {
	s := &stack{m: shared, name: "limits", port: 4103}
	s.up(t)
	s.tvsctl(t, "scale", "webapp", "2")
	before, pid := s.ids(t, "webapp"), s.dockerInspect(t, "limits-webapp-1").State.Pid
	plan := s.tvsctl(t, "limit", "webapp", "--cpus", "0.5", "--memory", "256M", "--dry-run")
	if limits := s.limits(t, "limits-webapp-1"); strings.HasPrefix(limits, "50000") || !strings.Contains(plan, "limit limits-webapp-2 to cpus 0.5, memory 256M") {
		t.Errorf("a dry run prints %s, and then the limits are %s", plan, limits)
	}
	s.tvsctl(t, "limit", "webapp", "--cpus", "0.5", "--memory", "256M", "--pids", "99")
	const want = "50000 268435456 99"
	for _, name := range []string{"limits-webapp-1", "limits-webapp-2"} {
		if limits := s.limits(t, name); limits != want {
			t.Errorf("the limits of %s are %s", name, limits)
		}
	}
	if now := s.dockerInspect(t, "limits-webapp-1").State.Pid; now != pid {
		t.Error("the replica was restarted")
	}
	unchanged(t, s, 2, "--scale", "webapp=2", "--no-recreate")
	s.tvsctl(t, "override", "--write")
	if s.m.sh(t, "cd "+s.dir()+" && docker compose up -d 2>&1"); !maps.Equal(before, s.ids(t, "webapp")) {
		t.Error("docker compose up has replaced limited replicas")
	}
	s.tvsctl(t, "scale", "webapp", "3")
	if limits := s.limits(t, "limits-webapp-3"); limits != want {
		t.Errorf("a new replica has the limits %s", limits)
	}
	// What compose makes anew has none, what tvsctl makes then has them.
	s.compose(t, "up", "-d", "--force-recreate", "--scale", "webapp=1", "-t", "1")
	s.tvsctl(t, "scale", "webapp", "2")
	if limits := s.limits(t, "limits-webapp-2"); limits != want {
		t.Errorf("after docker compose up --force-recreate a new replica has the limits %s", limits)
	}
	var ops []ipc.Operation
	s.m.ask(t, &ops, "-p", s.name, "ops")
	if !slices.ContainsFunc(ops, func(o ipc.Operation) bool {
		return o.Verb == "limit" && o.State == ipc.OperationSucceeded && o.Summary == "limit webapp to cpus 0.5, memory 256M, pids 99"
	}) {
		t.Errorf("the operations are %+v", ops)
	}
}

// TestLimitBelowUse: the kernel does not take away what is used; the error says so, and
// nothing is kept.
func TestLimitBelowUse(t *testing.T) {
	s := &stack{m: shared, name: "full", port: 4104}
	s.box(t, "(head -c 60000000 /dev/zero; sleep 1000000) | tail", "")
	s.up(t)
	s.m.eventually(t, 20*time.Second, "it uses its memory", func() bool {
		c := s.inspection(t, "box").Cgroup
		return c != nil && c.Memory != nil && c.Memory.Used > 60_000_000
	})
	before := s.limits(t, "full-box-1")
	r := s.m.tvsctl("-p", s.name, "limit", "box", "--memory", "20M", "--pids", "50")
	if r.code != ipc.ExitFailure || !strings.Contains(r.err, "uses more than 20M") || s.limits(t, "full-box-1") != before {
		t.Errorf("%s\nthe limits are %s, and were %s", r, s.limits(t, "full-box-1"), before)
	}
	for _, c := range []struct {
		args string
		code int
	}{{"--memory 1M", ipc.ExitOutOfRange}, {"--cpus 9999", ipc.ExitOutOfRange}, {"--memory x", ipc.ExitUsage}, {"", ipc.ExitUsage}} {
		if r := s.m.tvsctl(append([]string{"-p", s.name, "limit", "box"}, strings.Fields(c.args)...)...); r.code != c.code || strings.Count(r.err, "\n") > 2 {
			t.Error(r)
		}
	}
}
