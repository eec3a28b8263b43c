package daemon

import (
	"bytes"
	"os"
	"strconv"
	"sync"
	"syscall"
)

// names tells the names of groups, as /etc/group has them. The file is read again when
// it has changed: a request should not cost that.
type names struct {
	mu    sync.Mutex
	seen  syscall.Stat_t
	byGID map[uint32]string
}

const groupFile = "/etc/group"

// groups returns the names of those that have one.
func (n *names) groups(gids []uint32) []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.refresh()
	var list []string
	for _, gid := range gids {
		if name := n.byGID[gid]; name != "" {
			list = append(list, name)
		}
	}
	return list
}

// refresh reads the file if it is another than before. mu is held.
func (n *names) refresh() {
	var now syscall.Stat_t
	if syscall.Stat(groupFile, &now) != nil || now.Ino == n.seen.Ino && now.Size == n.seen.Size && now.Mtim == n.seen.Mtim && n.byGID != nil {
		return
	}
	text, err := os.ReadFile(groupFile)
	if err != nil {
		return
	}
	n.seen, n.byGID = now, map[uint32]string{}
	for line := range bytes.Lines(text) {
		part := bytes.SplitN(line, []byte(":"), 4) // name, password, gid, members (group(5))
		if len(part) < 4 {
			continue
		}
		if gid, err := strconv.ParseUint(string(part[2]), 10, 32); err == nil && n.byGID[uint32(gid)] == "" {
			n.byGID[uint32(gid)] = string(part[0])
		}
	}
}
