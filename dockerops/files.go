package dockerops

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// maxLinks is how many symbolic links a path may lead through, as for the kernel.
const maxLinks = 40

// Untrusted returns why the compose files must not be run, or nil: whoever can
// write them, or rename a directory above them, owns the host. They may be written
// by root, and where root has declared the project, by the owner of its directory.
func (f Files) Untrusted(declared bool) error {
	if !filepath.IsAbs(f.Directory) {
		return fmt.Errorf("the project directory %q is not an absolute path", f.Directory)
	}
	info, err := os.Stat(f.Directory)
	if errors.Is(err, fs.ErrPermission) {
		return unreadable(f.Directory)
	}
	if err != nil {
		return fmt.Errorf("cannot use the project directory: %v", err)
	}
	if len(f.Compose) == 0 {
		return errors.New("no compose file is named")
	}
	if info.Mode().Perm()&0o022 != 0 {
		return fmt.Errorf("%s can be written by others than its owner (mode %04o): chmod go-w it", f.Directory, info.Mode().Perm())
	}
	owner := uint32(0)
	if declared {
		owner = info.Sys().(*syscall.Stat_t).Uid
	}
	paths := append(append([]string{f.Directory}, f.Compose...), f.Env...)
	// Compose reads that one without being told.
	if unasked := filepath.Join(f.Directory, ".env"); exists(unasked) {
		paths = append(paths, unasked)
	}
	for _, path := range paths {
		if !filepath.IsAbs(path) {
			return fmt.Errorf("%q is not an absolute path", path)
		}
		if err := untrustedPath(filepath.Clean(path), owner, maxLinks); err != nil {
			return err
		}
	}
	return f.Unreadable()
}

// Unreadable returns which of the files this process is not let read, and what would
// let it, or nil. A file that is not there is another matter.
func (f Files) Unreadable() error {
	paths := append(append([]string{}, f.Compose...), f.Env...)
	if f.Directory != "" {
		paths = append(paths, filepath.Join(f.Directory, ".env"))
	}
	for _, path := range paths {
		file, err := os.Open(path)
		if err == nil {
			file.Close()
		}
		if errors.Is(err, fs.ErrPermission) {
			return unreadable(path)
		}
	}
	return nil
}

// unreadable names the file, and the directory above it that has to be opened first, if any.
func unreadable(path string) error {
	remedy := "setfacl -m u:tvsctld:r " + path
	for dir := filepath.Dir(path); dir != "/" && dir != "."; dir = filepath.Dir(dir) {
		if info, err := os.Stat(dir); err == nil && info.Mode().Perm()&0o001 == 0 {
			remedy = "setfacl -m u:tvsctld:x " + dir + "; " + remedy
		}
	}
	return fmt.Errorf("tvsctld may not read %s; as root: %s", path, remedy)
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// untrustedPath looks at every directory and every link that the path leads through.
func untrustedPath(path string, owner uint32, links int) error {
	if links == 0 {
		return fmt.Errorf("cannot use %s: too many symbolic links", path)
	}
	if path != "/" {
		if err := untrustedPath(filepath.Dir(path), owner, links); err != nil {
			return err
		}
	}
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrPermission) {
		return unreadable(path)
	}
	if err != nil {
		return fmt.Errorf("cannot use %s: %v", path, err)
	}
	if uid := info.Sys().(*syscall.Stat_t).Uid; uid != 0 && uid != owner {
		return fmt.Errorf("%s belongs to %s", path, otherOwner(owner))
	}
	if info.Mode()&os.ModeSymlink != 0 {
		target, err := os.Readlink(path)
		if err != nil {
			return fmt.Errorf("cannot use %s: %v", path, err)
		}
		if !filepath.IsAbs(target) {
			parent, err := filepath.EvalSymlinks(filepath.Dir(path)) // what ".." means to the kernel
			if err != nil {
				return fmt.Errorf("cannot use %s: %v", path, err)
			}
			target = filepath.Join(parent, target)
		}
		return untrustedPath(filepath.Clean(target), owner, links-1)
	}
	// In a sticky directory nobody can rename or replace what is another's.
	if info.IsDir() && info.Mode()&os.ModeSticky != 0 {
		return nil
	}
	if info.Mode().Perm()&0o022 != 0 {
		return fmt.Errorf("%s can be written by others than its owner (mode %04o): chmod go-w it", path, info.Mode().Perm())
	}
	return nil
}

func otherOwner(owner uint32) string {
	if owner == 0 {
		return "somebody other than root, and root has not declared the project"
	}
	return "neither root nor the owner of the project's directory"
}
