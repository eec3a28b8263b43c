// Package look reads what /proc and the cgroup tree say of one container. Most of it is
// hidden from other users: tvsctld look, which the unit tvsctld-inspect@.service runs as
// root, reads it and leaves it in a file (Write), and the daemon takes it from there
// (Read). Who asks names a container, never a pid, which could be another's by then.
package look

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Result is what was seen of a running container.
type Result struct {
	Container  string      `json:"container"` // its whole id
	Time       time.Time   `json:"time"`      // when that was
	Pid        int         `json:"pid"`       // of its first process, as the host counts
	Namespaces []Namespace `json:"namespaces"`
	Cgroup     Cgroup      `json:"cgroup"`
}

// Namespace is one namespace of the container's first process.
type Namespace struct {
	Kind  string `json:"kind"`  // cgroup, ipc, mnt, net, pid, time, user, uts
	Inode uint64 `json:"inode"` // as lsns prints it
	Host  bool   `json:"host"`  // it is that of the host's PID 1
}

// kinds are the namespaces that Linux has (namespaces(7)).
var kinds = []string{"cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts"}

// ErrNotRunning means that there is no such container, or that it does not run.
var ErrNotRunning = errors.New("no such container runs")

// id is the only form in which a container is named here: it goes into paths.
var id = regexp.MustCompile(`^[0-9a-f]{64}$`)

// ValidID reports whether the text is the whole id of a container.
func ValidID(text string) bool { return id.MatchString(text) }

// tasks are the directories in which containerd keeps those that Docker runs: with a
// service of its own, and as a child of dockerd.
var tasks = []string{"run/containerd", "run/docker/containerd/daemon"}

const task = "io.containerd.runtime.v2.task/moby"

// Look looks at a running container of the host whose root is given, "/".
func Look(root, container string) (Result, error) {
	if !ValidID(container) {
		return Result{}, fmt.Errorf("cannot look at %q: it is not the whole id of a container", container)
	}
	r := Result{Container: container, Time: time.Now()}
	var err error
	if r.Pid, err = initPid(root, container); err != nil {
		return Result{}, err
	}
	// All is read through this one directory: it stays that of this process.
	process, err := os.OpenRoot(filepath.Join(root, "proc", strconv.Itoa(r.Pid)))
	if err != nil {
		return Result{}, fmt.Errorf("%w with id %s", ErrNotRunning, container)
	}
	defer process.Close()
	groups, err := process.ReadFile("cgroup")
	if err != nil {
		return Result{}, fmt.Errorf("cannot look at container %s: %v", container, err)
	}
	paths := groupsOf(string(groups), container)
	if len(paths) == 0 {
		return Result{}, fmt.Errorf("%w with id %s: process %d is not in its cgroup", ErrNotRunning, container, r.Pid)
	}
	if r.Namespaces, err = namespaces(root, process); err != nil {
		return Result{}, fmt.Errorf("cannot look at container %s: %v", container, err)
	}
	mounts, err := os.ReadFile(filepath.Join(root, "proc/self/mountinfo"))
	if err != nil {
		return Result{}, err
	}
	r.Cgroup = readCgroup(root, string(mounts), paths)
	return r, nil
}

// initPid returns the pid of a container's first process, as containerd notes it.
func initPid(root, container string) (int, error) {
	for _, dir := range tasks {
		text, err := os.ReadFile(filepath.Join(root, dir, task, container, "init.pid"))
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return 0, err
		}
		return strconv.Atoi(strings.TrimSpace(string(text)))
	}
	return 0, fmt.Errorf("%w with id %s", ErrNotRunning, container)
}

// groupsOf returns the cgroup of a container by controller ("" is version 2), from what
// /proc says of a process, and nothing when that is no process of the container. One
// that has moved into a cgroup of its own is below the container's.
func groupsOf(text, container string) map[string]string {
	groups := map[string]string{}
	for line := range strings.Lines(text) {
		_, rest, _ := strings.Cut(strings.TrimSpace(line), ":")
		controllers, group, _ := strings.Cut(rest, ":")
		parts := strings.Split(group, "/")
		at := slices.IndexFunc(parts, func(part string) bool {
			return part == container || part == "docker-"+container+".scope" // cgroupfs, systemd
		})
		if at < 0 {
			continue
		}
		for controller := range strings.SplitSeq(controllers, ",") {
			groups[controller] = filepath.Clean(strings.Join(parts[:at+1], "/"))
		}
	}
	return groups
}

func namespaces(root string, process *os.Root) ([]Namespace, error) {
	var list []Namespace
	for _, kind := range kinds {
		own, err := process.Readlink("ns/" + kind)
		if errors.Is(err, os.ErrNotExist) {
			continue // the kernel has none of that kind
		}
		if err != nil {
			return nil, err
		}
		host, err := os.Readlink(filepath.Join(root, "proc/1/ns", kind))
		if err != nil {
			return nil, err
		}
		n := Namespace{Kind: kind, Host: own == host}
		if n.Inode, err = strconv.ParseUint(strings.Trim(strings.TrimPrefix(own, kind+":"), "[]"), 10, 64); err != nil {
			return nil, fmt.Errorf("namespace %q: %v", own, err)
		}
		list = append(list, n)
	}
	return list, nil
}
