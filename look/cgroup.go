package look

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Cgroup is what the kernel allows a container and what that uses. A part is nil where
// the kernel has no such controller, a limit where there is none.
type Cgroup struct {
	Version int     `json:"version"` // 1 or 2, of the memory controller; 2 without one
	Path    string  `json:"path"`    // below the root of the hierarchy
	Memory  *Memory `json:"memory,omitempty"`
	CPU     *CPU    `json:"cpu,omitempty"`
	Pids    *Pids   `json:"pids,omitempty"`
}

// Memory is in bytes. What is used includes the page cache.
type Memory struct {
	Used  int64  `json:"used"`
	Peak  *int64 `json:"peak,omitempty"`
	Limit *int64 `json:"limit,omitempty"`
	// Swap is the limit of swap alone on cgroup v2, that of both together on v1, as the
	// kernel has it; nil also where it does not account for swap.
	Swap *int64 `json:"swap_limit,omitempty"`
}

// CPU is in microseconds.
type CPU struct {
	Used      int64  `json:"used_us"`            // in all
	Quota     *int64 `json:"quota_us,omitempty"` // in each period
	Period    int64  `json:"period_us,omitempty"`
	Throttled int64  `json:"throttled"` // periods in which it was held up
}

// Pids counts processes and threads.
type Pids struct {
	Used  int64  `json:"used"`
	Limit *int64 `json:"limit,omitempty"`
}

// readCgroup reads the files of a container's cgroups. mounts is /proc/self/mountinfo,
// groups the path by controller.
func readCgroup(root, mounts string, groups map[string]string) Cgroup {
	dirs := hierarchies(mounts)
	find := func(controller string) (group, bool) {
		for _, key := range []string{controller, ""} {
			if path, in := groups[key]; in {
				if h, mounted := dirs[key]; mounted {
					return group{filepath.Join(root, h.point, strings.TrimPrefix(path, h.root)), key == ""}, true
				}
			}
		}
		return group{}, false
	}
	c := Cgroup{Version: 2, Path: groups[""]}
	if g, ok := find("memory"); ok {
		if c.Memory = g.memory(); c.Memory != nil && !g.unified {
			c.Version, c.Path = 1, groups["memory"]
		}
	}
	if g, ok := find("cpu"); ok {
		c.CPU = g.cpu()
		if used, ok := find("cpuacct"); ok && c.CPU != nil && !used.unified {
			nanoseconds, _ := used.number("cpuacct.usage")
			c.CPU.Used = nanoseconds / 1000
		}
	}
	if g, ok := find("pids"); ok {
		c.Pids = g.pids()
	}
	return c
}

// hierarchy is a mounted cgroup tree, or a part of one.
type hierarchy struct{ root, point string }

// hierarchies returns them by controller; "" is version 2 (proc_pid_mountinfo(5)). Of
// several mounts that with the most counts: systemd gives a service with a sandbox a file
// of its own cgroup as another one.
func hierarchies(mountinfo string) map[string]hierarchy {
	found := map[string]hierarchy{}
	note := func(controller string, h hierarchy) {
		if other, known := found[controller]; !known || len(h.root) < len(other.root) {
			found[controller] = h
		}
	}
	for line := range strings.Lines(mountinfo) {
		head, tail, _ := strings.Cut(line, " - ")
		mount, fs := strings.Fields(head), strings.Fields(tail)
		if len(mount) < 5 || len(fs) < 3 {
			continue
		}
		h := hierarchy{strings.TrimSuffix(mount[3], "/"), mount[4]}
		switch fs[0] {
		case "cgroup2":
			note("", h)
		case "cgroup":
			for option := range strings.SplitSeq(fs[2], ",") {
				if slices.Contains([]string{"memory", "cpu", "cpuacct", "pids"}, option) {
					note(option, h)
				}
			}
		}
	}
	return found
}

// group is the directory of one cgroup.
type group struct {
	dir     string
	unified bool // of version 2
}

// unlimited is above what version 1 says where there is no limit: the largest number of
// whole pages.
const unlimited = 1 << 62

func (g group) text(name string) string {
	text, err := os.ReadFile(filepath.Join(g.dir, name))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}

func (g group) number(name string) (int64, bool) {
	n, err := strconv.ParseInt(g.text(name), 10, 64)
	return n, err == nil
}

// limit returns the value of a file, nil for none.
func (g group) limit(name string) *int64 {
	if n, ok := g.number(name); ok && n >= 0 && n < unlimited {
		return &n
	}
	return nil
}

// entry returns a value of a file of names and values.
func (g group) entry(file, name string) int64 {
	for line := range strings.Lines(g.text(file)) {
		if key, value, _ := strings.Cut(strings.TrimSpace(line), " "); key == name {
			n, _ := strconv.ParseInt(value, 10, 64)
			return n
		}
	}
	return 0
}

func (g group) memory() *Memory {
	used, peak, limit, swap := "memory.usage_in_bytes", "memory.max_usage_in_bytes", "memory.limit_in_bytes", "memory.memsw.limit_in_bytes"
	if g.unified {
		used, peak, limit, swap = "memory.current", "memory.peak", "memory.max", "memory.swap.max"
	}
	n, ok := g.number(used)
	if !ok {
		return nil
	}
	return &Memory{Used: n, Peak: g.limit(peak), Limit: g.limit(limit), Swap: g.limit(swap)}
}

func (g group) cpu() *CPU {
	c := &CPU{Throttled: g.entry("cpu.stat", "nr_throttled")}
	if !g.unified {
		c.Quota = g.limit("cpu.cfs_quota_us")
		period, ok := g.number("cpu.cfs_period_us")
		if c.Period = period; !ok {
			return nil
		}
		return c
	}
	if g.text("cpu.stat") == "" {
		return nil
	}
	c.Used = g.entry("cpu.stat", "usage_usec")
	// Without the controller there is the use alone.
	if quota, period, ok := strings.Cut(g.text("cpu.max"), " "); ok {
		c.Period, _ = strconv.ParseInt(period, 10, 64)
		if n, err := strconv.ParseInt(quota, 10, 64); err == nil {
			c.Quota = &n
		}
	}
	return c
}

func (g group) pids() *Pids {
	n, ok := g.number("pids.current")
	if !ok {
		return nil
	}
	return &Pids{Used: n, Limit: g.limit("pids.max")}
}
