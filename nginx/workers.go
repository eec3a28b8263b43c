package nginx

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// children are the processes that a master has: among them its workers, by the titles that
// nginx gives them (src/os/unix/ngx_process_cycle.c). One that was forked a moment ago still
// has its master's.
type children struct{ pids, serving, leaving []int }

func childrenOf(master int) (now children, err error) {
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", master))
	if err != nil {
		return now, err
	}
	for _, task := range tasks {
		list, err := readChildren(task)
		if err != nil {
			return now, err
		}
		for field := range strings.FieldsSeq(list) {
			pid, err := strconv.Atoi(field)
			if err != nil {
				return now, err
			}
			now.pids = append(now.pids, pid)
			title, _ := os.ReadFile("/proc/" + field + "/cmdline") // one that has ended has none
			switch text := string(title); {
			case strings.HasPrefix(text, "nginx: worker process is shutting down"):
				now.leaving = append(now.leaving, pid)
			case strings.HasPrefix(text, "nginx: worker process"):
				now.serving = append(now.serving, pid)
			}
		}
	}
	return now, nil
}

// readChildren reads a thread's list of children until it comes out twice the same: when one
// ends in the middle of it, the kernel may leave out another (get_children_pid in
// fs/proc/array.c).
func readChildren(path string) (string, error) {
	var before []byte
	for first := true; ; first = false {
		now, err := os.ReadFile(path)
		switch {
		case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ESRCH):
			return "", nil // the thread has ended
		case err != nil:
			return "", err
		case !first && bytes.Equal(now, before):
			return string(now), nil
		}
		before = now
	}
}
