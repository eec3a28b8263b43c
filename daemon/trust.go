package daemon

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
)

// readTrusted reads a file of the configuration, which only root may be able to write:
// whoever can decides who is let in, and what for. Where the daemon was not started by
// root, its own user may too.
func readTrusted(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, unreadable(err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, unreadable(err)
	}
	if uid := info.Sys().(*syscall.Stat_t).Uid; uid != 0 && int(uid) != os.Geteuid() {
		return nil, fmt.Errorf("cannot trust %s: it belongs to another user than root: chown root it", path)
	}
	if mode := info.Mode().Perm(); mode&0o022 != 0 {
		return nil, fmt.Errorf("cannot trust %s: it can be written by others than its owner (mode %04o): chmod go-w it", path, mode)
	}
	text, err := io.ReadAll(file)
	if err != nil {
		return nil, unreadable(err)
	}
	return text, nil
}

func unreadable(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return fmt.Errorf("cannot read the configuration: %v", err)
}
