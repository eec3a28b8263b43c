package nginx

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// untrusted returns why no file must be written to a directory, or nil. Whoever could
// put a link there, or another directory in its place, would have nginx's files written
// where they like: it and those above it are directories of root's or of this process's
// user, and nobody else can write them.
func untrusted(dir string) error {
	info, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	mode := info.Mode()
	owner := int(info.Sys().(*syscall.Stat_t).Uid)
	switch {
	case mode&fs.ModeSymlink != 0:
		return fmt.Errorf("%s is a symbolic link: name the directory that it leads to", dir)
	case !mode.IsDir():
		return fmt.Errorf("%s is not a directory", dir)
	case owner != 0 && owner != os.Geteuid():
		return fmt.Errorf("%s belongs to uid %d: chown it to tvsctld", dir, owner)
	case mode.Perm()&0o022 != 0 && mode&fs.ModeSticky == 0:
		return fmt.Errorf("%s can be written by others than its owner (mode %04o): chmod go-w it", dir, mode.Perm())
	}
	if dir == "/" {
		return nil
	}
	return untrusted(filepath.Dir(dir))
}
