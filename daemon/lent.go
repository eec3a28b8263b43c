package daemon

import (
	"bytes"
	"cmp"
	"fmt"
	"os"
	"strconv"
	"sync"
	"syscall"
)

// lent tells which uids are lent to a user for user namespaces, as /etc/subuid has them
// (subuid(5)). Whoever may use 65,536 of them is one user all the same: as others they would
// be under no rule that is about them, and have all rates and bounds anew with each.
// What is lent to root does not count: root can be everybody. The zero lent is ready.
type lent struct {
	file string // "": /etc/subuid

	mu     sync.Mutex
	seen   syscall.Stat_t
	ranges []lentRange
}

type lentRange struct {
	to           string // a user, by name or uid
	first, count uint64
}

const subuidFile = "/etc/subuid"

// check refuses a uid that is lent.
func (l *lent) check(uid uint32) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.refresh()
	for _, r := range l.ranges {
		if id := uint64(uid); uid != 0 && id >= r.first && id-r.first < r.count {
			return fmt.Errorf("the peer has uid %d, which %s lends to %s for user namespaces", uid, cmp.Or(l.file, subuidFile), printable(r.to))
		}
	}
	return nil
}

// refresh reads the file if it is another than before; one that is not there lends nothing.
// mu is held.
func (l *lent) refresh() {
	var now syscall.Stat_t
	path := cmp.Or(l.file, subuidFile)
	switch err := syscall.Stat(path, &now); {
	case err == syscall.ENOENT:
		l.ranges, l.seen = nil, now
		return
	case err != nil || now.Ino == l.seen.Ino && now.Size == l.seen.Size && now.Mtim == l.seen.Mtim:
		return
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return
	}
	l.seen, l.ranges = now, nil
	for line := range bytes.Lines(text) {
		part := bytes.Split(bytes.TrimSpace(line), []byte(":"))
		if len(part) != 3 || string(part[0]) == "root" || string(part[0]) == "0" {
			continue
		}
		first, wrong := strconv.ParseUint(string(part[1]), 10, 32)
		count, wrongToo := strconv.ParseUint(string(part[2]), 10, 64)
		if wrong == nil && wrongToo == nil {
			l.ranges = append(l.ranges, lentRange{string(part[0]), first, count})
		}
	}
}
