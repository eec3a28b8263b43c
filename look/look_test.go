package look

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

var container = strings.Repeat("0123456789abcdef", 4)

// host is a host's root with one container, whose first process is 42.
func host(t *testing.T, cgroup, mounts string, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	put := func(path, text string) {
		path = filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	put("run/containerd/io.containerd.runtime.v2.task/moby/"+container+"/init.pid", "42")
	put("proc/42/cgroup", strings.ReplaceAll(cgroup, "ID", container))
	put("proc/self/mountinfo", mounts)
	for path, text := range files {
		put(strings.ReplaceAll(path, "ID", container), text)
	}
	for i, kind := range kinds {
		for pid, inode := range map[string]int{"1": i, "42": i + 100*(i%2)} {
			dir := filepath.Join(root, "proc", pid, "ns")
			if err := os.MkdirAll(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(fmt.Sprintf("%s:[%d]", kind, inode), filepath.Join(dir, kind)); err != nil {
				t.Fatal(err)
			}
		}
	}
	return root
}

func pointer(n int64) *int64 { return &n }

func TestLook(t *testing.T) {
	one := "53 1 0:50 / /sys/fs/cgroup ro - tmpfs tmpfs ro\n60 53 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n" +
		"67 53 0:29 /machine /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n62 53 0:36 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n"
	two := "30 1 0:26 / /sys/fs/cgroup rw shared:9 - cgroup2 cgroup2 rw,nsdelegate\n" +
		"31 30 0:26 /system.slice/x.service/memory.pressure /sys/fs/cgroup/system.slice/x.service/memory.pressure rw - cgroup2 cgroup2 rw\n"
	for _, c := range []struct {
		name, cgroup, mounts string
		files                map[string]string
		want                 Cgroup
	}{
		{"v1", "4:memory:/docker/ID\n8:pids:/docker/ID/below\n1:cpu,cpuacct:/machine/docker/ID\n0::/\n", one, map[string]string{
			"sys/fs/cgroup/memory/docker/ID/memory.usage_in_bytes": "1000\n", "sys/fs/cgroup/memory/docker/ID/memory.max_usage_in_bytes": "2000\n",
			"sys/fs/cgroup/memory/docker/ID/memory.limit_in_bytes": "268435456\n", "sys/fs/cgroup/memory/docker/ID/memory.memsw.limit_in_bytes": "9223372036854771712\n",
			"sys/fs/cgroup/cpu,cpuacct/docker/ID/cpu.cfs_quota_us": "50000\n", "sys/fs/cgroup/cpu,cpuacct/docker/ID/cpu.cfs_period_us": "100000\n",
			"sys/fs/cgroup/cpu,cpuacct/docker/ID/cpu.stat": "nr_periods 9\nnr_throttled 3\n", "sys/fs/cgroup/cpu,cpuacct/docker/ID/cpuacct.usage": "7000999\n",
			"sys/fs/cgroup/pids/docker/ID/pids.current": "5\n", "sys/fs/cgroup/pids/docker/ID/pids.max": "max\n",
		}, Cgroup{Version: 1, Path: "/docker/" + container, Memory: &Memory{Used: 1000, Peak: pointer(2000), Limit: pointer(256 << 20)},
			CPU: &CPU{Used: 7000, Quota: pointer(50000), Period: 100000, Throttled: 3}, Pids: &Pids{Used: 5}}},
		{"v2", "0::/system.slice/docker-ID.scope/init.scope\n", two, map[string]string{
			"sys/fs/cgroup/system.slice/docker-ID.scope/memory.current": "1000\n", "sys/fs/cgroup/system.slice/docker-ID.scope/memory.max": "max\n",
			"sys/fs/cgroup/system.slice/docker-ID.scope/memory.swap.max": "4096\n", "sys/fs/cgroup/system.slice/docker-ID.scope/cpu.max": "max 100000\n",
			"sys/fs/cgroup/system.slice/docker-ID.scope/cpu.stat": "usage_usec 77\nnr_throttled 2\n", "sys/fs/cgroup/system.slice/docker-ID.scope/pids.current": "5\n",
			"sys/fs/cgroup/system.slice/docker-ID.scope/pids.max": "50\n",
		}, Cgroup{Version: 2, Path: "/system.slice/docker-" + container + ".scope", Memory: &Memory{Used: 1000, Swap: pointer(4096)},
			CPU: &CPU{Used: 77, Period: 100000, Throttled: 2}, Pids: &Pids{Used: 5, Limit: pointer(50)}}},
		{"v2 without controllers", "0::/docker/ID\n", two, map[string]string{"sys/fs/cgroup/docker/ID/cpu.stat": "usage_usec 77\n"},
			Cgroup{Version: 2, Path: "/docker/" + container, CPU: &CPU{Used: 77}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			begun := time.Now()
			r, err := Look(host(t, c.cgroup, c.mounts, c.files), container)
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(r.Cgroup, c.want) {
				t.Errorf("the cgroup is %+v, not %+v", r.Cgroup, c.want)
			}
			if r.Pid != 42 || r.Container != container || r.Time.Before(begun) || len(r.Namespaces) != 8 ||
				r.Namespaces[0] != (Namespace{"cgroup", 0, true}) || r.Namespaces[7] != (Namespace{"uts", 107, false}) {
				t.Errorf("%+v", r)
			}
		})
	}
}

// A pid that containerd noted once, and that is another process's now, is not looked at.
func TestLookOnlyAtTheContainer(t *testing.T) {
	other := strings.Repeat("f", 64)
	for name, c := range map[string]struct {
		cgroup, container string
		missing           bool
	}{
		"another process":   {"0::/system.slice/ssh.service\n", container, true},
		"another container": {"0::/docker/" + other + "\n", container, true},
		"a name alike":      {"0::/docker/ID-more\n", container, true},
		"no such container": {"0::/docker/ID\n", other, true},
		"no id":             {"0::/docker/ID\n", "../../" + container[6:], false},
		"a short id":        {"0::/docker/ID\n", container[:12], false},
	} {
		_, err := Look(host(t, c.cgroup, "", nil), c.container)
		if err == nil || errors.Is(err, ErrNotRunning) != c.missing {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestFile(t *testing.T) {
	dir := t.TempDir()
	begun := time.Now()
	old := filepath.Join(dir, strings.Repeat("a", 64)+".json")
	if err := os.WriteFile(old, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(old, begun, begun.Add(-2*kept)); err != nil {
		t.Fatal(err)
	}
	want := Result{Container: container, Time: time.Now(), Pid: 42, Namespaces: []Namespace{{"net", 5, false}}, Cgroup: Cgroup{Version: 2, Memory: &Memory{Used: 9}}}
	for range 2 { // over an earlier one
		if err := Write(dir, want); err != nil {
			t.Fatal(err)
		}
	}
	got, err := Read(dir, container, begun)
	if got.Time = want.Time; err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v", got, err)
	}
	if list, err := os.ReadDir(dir); err != nil || len(list) != 1 {
		t.Errorf("there is %v, %v", list, err)
	}
	if info, err := os.Stat(path(dir, container)); err != nil || info.Mode().Perm()&0o137 != 0 {
		t.Errorf("%v, %v", info, err)
	}
	if _, err := Read(dir, container, time.Now()); err == nil || !strings.Contains(err.Error(), "earlier look") {
		t.Errorf("a result of before: %v", err)
	}
	if _, err := Read(dir, "../x", begun); err == nil {
		t.Error("reads another file")
	}
}

// Only a process in the cgroup of the container is hung up.
func TestHangUp(t *testing.T) {
	// A signal that is caught here is not ignored by the children, as it is under nohup.
	signal.Notify(make(chan os.Signal, 1), unix.SIGHUP)
	defer signal.Reset(unix.SIGHUP)
	for _, c := range []struct {
		cgroup string
		ends   bool
	}{{"0::/docker/ID\n", true}, {"0::/user.slice\n", false}} {
		child := exec.Command("sleep", "1000")
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		pid := child.Process.Pid
		root := host(t, "", "", map[string]string{fmt.Sprintf("proc/%d/cgroup", pid): strings.ReplaceAll(c.cgroup, "ID", container)})
		err := HangUp(root, container, pid)
		if (err == nil) != c.ends {
			t.Errorf("%s: %v", c.cgroup, err)
		}
		if !c.ends {
			child.Process.Kill()
		}
		if err := child.Wait(); err == nil || strings.Contains(err.Error(), "hangup") != c.ends {
			t.Errorf("%s: the process ended with %v", c.cgroup, err)
		}
	}
	if err := HangUp("/", container, 1); err == nil {
		t.Error("hangs up PID 1")
	}
}
