package main

import (
	"encoding/json"
	"strings"
	"testing"

	"tvsctl/ipc"
)

func inspected() ipc.Inspection {
	limit, quota, pids := int64(256<<20), int64(50000), int64(99)
	return ipc.Inspection{Project: "tvs", Service: "webapp", Number: 2, Name: "tvs-webapp-2", ID: "abc", Image: "app", ImageID: "sha256:1", State: "running", Health: "healthy",
		Pid: 42, Started: clock, Restarts: 3, RestartPolicy: "always", Limits: ipc.Limits{CPUs: 0.5, Memory: 256 << 20, Swap: 512 << 20, Pids: 99},
		Namespaces: []ipc.Namespace{{Kind: "net", Inode: 4026532338}, {Kind: "user", Inode: 4026531837, Host: true}},
		Cgroup: &ipc.Cgroup{Version: 1, Path: "/docker/abc", Memory: &ipc.MemoryUse{Used: 1 << 20, Limit: &limit},
			CPU: &ipc.CPUUse{Used: 1_500_000, Quota: &quota, Period: 100000, Throttled: 7}, Pids: &ipc.PidsUse{Used: 5, Limit: &pids}},
		Storage:  ipc.Storage{Driver: "overlay2", Lower: []string{"/l1", "/l2"}, Upper: "/u", Merged: "/m", Written: 1536, Size: 3 << 30},
		Networks: []ipc.Endpoint{{Network: "tvs_default", Address: "172.18.0.2/16", Gateway: "172.18.0.1", MAC: "02:42", Aliases: []string{"webapp"}}},
		Ports:    []ipc.HostPort{{IP: "0.0.0.0", Port: 80, Container: 8080}}, Mounts: []ipc.Mount{{Type: "bind", Source: "/srv", Target: "/data"}},
		HealthLog: []ipc.Check{{Start: clock, End: at(0.5), ExitCode: 1, Output: "no\x1b[2J\nanswer"}}, Missing: []string{"something: why"}}
}

func TestInspect(t *testing.T) {
	second := ipc.Inspection{Name: "tvs-webapp-3", State: "exited", ExitCode: new(int), RestartPolicy: "no"}
	daemon := newFake(t, map[string]any{
		"GET /projects/tvs/services/webapp/inspect":          []ipc.Inspection{inspected(), second},
		"GET /projects/tvs/services/webapp/inspect?number=2": []ipc.Inspection{inspected()},
	})
	got := daemon.tvsctl("-p", "tvs", "inspect", "webapp")
	want := `! something: why
  id        abc
  image     app (sha256:1)
  pid       42
  restarts  3 (policy always)
  limits    cpus 0.5, memory 256MiB, swap 256MiB, pids 99
  namespaces
    net   4026532338  its own
    user  4026531837  the host's
  cgroup v1  /docker/abc
    memory  1MiB    of 256MiB
    cpu     1.50 s  of 0.5 processors  held up 7 times
    pids    5       of 99
  files  1.5KiB written, 3GiB with the image, driver overlay2
    lower   /l1
    lower   /l2
    upper   /u
    merged  /m
  networks
    tvs_default  172.18.0.2/16  gateway 172.18.0.1  02:42  webapp
  ports
    0.0.0.0:80  to 8080
  mounts
    /data  bind  /srv  read only
  health checks
    2026-11-21 12:00:00  exit status 1  0.50s  no?[2J answer

tvs-webapp-3: exited (0)
`
	if head, rest, _ := strings.Cut(got.out, "\n"); got.status != 0 || !strings.HasPrefix(head, "tvs-webapp-2: running, healthy for ") || !strings.HasPrefix(rest, want) {
		t.Errorf("%d %s\n%s\nnot\n%s", got.status, got.err, got.out, want)
	}
	var list []ipc.Inspection
	if err := json.Unmarshal([]byte(daemon.tvsctl("-p", "tvs", "inspect", "webapp.2", "--json").out), &list); err != nil || len(list) != 1 || list[0].Cgroup.Memory.Used != 1<<20 {
		t.Errorf("%+v, %v", list, err)
	}
	for _, args := range []string{"..", "webapp.0", "webapp.99999999999999999999"} {
		if got := daemon.tvsctl("inspect", args); got.status != ipc.ExitUsage {
			t.Errorf("%s: %+v", args, got)
		}
	}
}

func TestBytesText(t *testing.T) {
	for n, want := range map[int64]string{0: "0B", 1023: "1023B", 1024: "1KiB", 1536: "1.5KiB", 256 << 20: "256MiB", 25276502016: "23.54GiB", 1<<20 - 1: "1024KiB"} {
		equal(t, "the size", bytesText(n), want)
	}
}
