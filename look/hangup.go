package look

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// HangUp sends SIGHUP to a process of a container, and to none that is not. One that has
// ended is no error.
func HangUp(root, container string, pid int) error {
	if !ValidID(container) || pid < 2 {
		return fmt.Errorf("cannot hang up process %d of %q: that names no process of a container", pid, container)
	}
	// From here on it is this process, whatever becomes of its number.
	process, err := unix.PidfdOpen(pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("cannot hang up process %d: %v", pid, err)
	}
	defer unix.Close(process)
	groups, err := os.ReadFile(filepath.Join(root, "proc", strconv.Itoa(pid), "cgroup"))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if len(groupsOf(string(groups), container)) == 0 {
		return fmt.Errorf("cannot hang up process %d: it is not one of container %s", pid, container)
	}
	if err := unix.PidfdSendSignal(process, unix.SIGHUP, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("cannot hang up process %d: %v", pid, err)
	}
	return nil
}
