package main

import (
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"slices"
	"strconv"
	"syscall"

	"tvsctl/ipc"
)

const (
	// socketGroup is whose members may use the socket.
	socketGroup = "tvs"
	socketMode  = 0o660
)

// checkSocket looks at the socket's file, which all may see.
func checkSocket(path string) []ipc.Finding {
	problem := func(remedy, format string, args ...any) []ipc.Finding {
		return []ipc.Finding{{State: ipc.FindingProblem, Check: "socket", Text: fmt.Sprintf(format, args...), Remedy: remedy}}
	}
	const again = "as root: systemctl restart tvsctld.socket"
	info, err := os.Lstat(path)
	if err != nil {
		return problem("as root: systemctl enable --now tvsctld.socket; if there is no such unit, install with scripts/install.sh", "there is no socket %s", path)
	}
	if info.Mode().Type() != fs.ModeSocket {
		return problem("as root: rm "+path+", then systemctl restart tvsctld.socket", "%s is no socket", path)
	}
	stat := info.Sys().(*syscall.Stat_t)
	owner, group := userName(stat.Uid), groupName(stat.Gid)
	if owner != "root" || group != socketGroup || info.Mode().Perm() != socketMode {
		return problem(again+"; if it is so again, see systemctl cat tvsctld.socket",
			"%s is %s:%s with mode %04o, not root:%s with %04o", path, owner, group, info.Mode().Perm(), socketGroup, socketMode)
	}
	return []ipc.Finding{{State: ipc.FindingOK, Check: "socket", Text: fmt.Sprintf("%s is root:%s with mode %04o", path, socketGroup, socketMode)}}
}

// caller is who runs tvsctl.
type caller struct {
	uid    int
	name   string
	groups []int    // of this process
	listed []string // as /etc/group has them now
}

func newCaller() caller {
	c := caller{uid: os.Geteuid(), name: userName(uint32(os.Geteuid()))}
	c.groups, _ = os.Getgroups() // never fails on Linux (getgroups(2))
	c.groups = append(c.groups, os.Getegid())
	if u, err := user.LookupId(strconv.Itoa(c.uid)); err == nil {
		// Without an entry it is in no group.
		c.listed, _ = u.GroupIds()
	}
	return c
}

// socketGroupID returns the id of the group, -1 when there is none.
func socketGroupID() int {
	if g, err := user.LookupGroup(socketGroup); err == nil {
		if n, err := strconv.Atoi(g.Gid); err == nil {
			return n
		}
	}
	return -1
}

// checkGroup says whether the caller may use the socket, and why not.
func checkGroup(c caller, group int) []ipc.Finding {
	f := ipc.Finding{State: ipc.FindingOK, Check: "group"}
	switch {
	case group < 0:
		f.State, f.Text, f.Remedy = ipc.FindingProblem, "there is no group "+socketGroup, "as root: systemd-sysusers, or install again"
	case c.uid == 0:
		f.Text = "you are root"
	case slices.Contains(c.groups, group):
		f.Text = fmt.Sprintf("you, %s, are in group %s", c.name, socketGroup)
	case slices.Contains(c.listed, strconv.Itoa(group)):
		f.State, f.Text, f.Remedy = ipc.FindingProblem, fmt.Sprintf("%s is in group %s, but was not when you logged in", c.name, socketGroup), "log in again, or: newgrp "+socketGroup
	default:
		f.State, f.Text, f.Remedy = ipc.FindingProblem, fmt.Sprintf("%s is not in group %s", c.name, socketGroup), fmt.Sprintf("as root: usermod -aG %s %s, then log in again", socketGroup, c.name)
	}
	return []ipc.Finding{f}
}

func userName(uid uint32) string {
	id := strconv.FormatUint(uint64(uid), 10)
	if u, err := user.LookupId(id); err == nil {
		return u.Username
	}
	return id
}

func groupName(gid uint32) string {
	id := strconv.FormatUint(uint64(gid), 10)
	if g, err := user.LookupGroupId(id); err == nil {
		return g.Name
	}
	return id
}
