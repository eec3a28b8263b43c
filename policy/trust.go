package policy

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// trust opens files that only certain users can have written.
type trust struct {
	owners []uint32
}

const maxLinks = 40 // as the kernel's

// open follows the path one name at a time from the root, holding each directory open:
// what has been looked at is what is opened, whatever is renamed meanwhile. The mode
// says whether it is a file or a directory that is wanted.
func (t trust) open(path string, want fs.FileMode) (*os.File, error) {
	if !filepath.IsAbs(path) {
		return nil, errors.New("it is not an absolute path")
	}
	dir, err := os.OpenFile("/", unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, err
	}
	defer func() { dir.Close() }()
	names := split(path)
	for links := 0; ; {
		if len(names) == 0 {
			names = []string{"."}
		}
		name, last := names[0], len(names) == 1
		at := filepath.Join(dir.Name(), name)
		f, err := openat(dir, name, unix.O_PATH, at)
		if err != nil {
			if links > 0 && errors.Is(err, fs.ErrNotExist) {
				return nil, Problem{File: path, Message: fmt.Sprintf("a symbolic link leads to %s, which is not there", at)}
			}
			return nil, err
		}
		info, err := f.Stat()
		if err == nil {
			err = t.check(at, info, want, last)
		}
		if err != nil {
			f.Close()
			return nil, err
		}
		switch {
		case info.Mode()&fs.ModeSymlink != 0:
			target, err := readlink(f)
			f.Close()
			if err != nil {
				return nil, err
			}
			if links++; links > maxLinks {
				return nil, Problem{File: path, Message: "too many symbolic links"}
			}
			names = append(split(target), names[1:]...)
			if filepath.IsAbs(target) {
				root, err := os.OpenFile("/", unix.O_PATH|unix.O_DIRECTORY, 0)
				if err != nil {
					return nil, err
				}
				dir.Close()
				dir = root
			}
		case last:
			f.Close()
			return t.reopen(dir, name, at, want)
		default:
			dir.Close()
			dir, names = f, names[1:]
		}
	}
}

// reopen opens for reading what has been found, and looks at it again.
func (t trust) reopen(dir *os.File, name, at string, want fs.FileMode) (*os.File, error) {
	f, err := openat(dir, name, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY, at)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil {
		err = t.check(at, info, want, true)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func (t trust) check(at string, info fs.FileInfo, want fs.FileMode, last bool) error {
	mode := info.Mode()
	if uid := info.Sys().(*syscall.Stat_t).Uid; !slices.Contains(t.owners, uid) {
		return Problem{File: at, Message: fmt.Sprintf("cannot trust it: it belongs to uid %d, not to root: chown -h root %s", uid, at)}
	}
	switch {
	case mode&fs.ModeSymlink != 0:
		return nil // its mode says nothing; where it leads is looked at next
	case last && mode.Type() != want:
		if want.IsDir() {
			return Problem{File: at, Message: "it is not a directory"}
		}
		return Problem{File: at, Message: "it is not a regular file"}
	case !last && mode&fs.ModeSticky != 0:
		return nil // nobody can rename or replace there what is another's
	case mode.Perm()&0o022 != 0:
		return Problem{File: at, Message: fmt.Sprintf("cannot trust it: others than its owner can write it (mode %04o): chmod go-w %s", mode.Perm(), at)}
	}
	return nil
}

func split(path string) []string {
	return slices.DeleteFunc(strings.Split(path, "/"), func(name string) bool { return name == "" || name == "." })
}

func openat(dir *os.File, name string, flags int, at string) (*os.File, error) {
	fd, err := unix.Openat(int(dir.Fd()), name, flags|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: at, Err: err}
	}
	return os.NewFile(uintptr(fd), at), nil
}

func readlink(link *os.File) (string, error) {
	target := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(int(link.Fd()), "", target)
	if err != nil {
		return "", &fs.PathError{Op: "readlink", Path: link.Name(), Err: err}
	}
	return string(target[:n]), nil
}
