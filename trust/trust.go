// Package trust opens files that only certain users can have written: a policy, a list,
// the compose files of a project. Whoever can write one of them, or rename a directory
// above it, decides what the daemon does. What anybody can have written is opened as well,
// but only where that cannot hold up the daemon (OpenPlain).
package trust

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

// Owners are the users who may have written a file, by uid. Root is one without being
// named.
type Owners []uint32

// Error says why a file cannot be trusted, or is not what it should be.
type Error struct {
	Path    string // of the file, or of a directory or link on the way to it
	Problem string
	Remedy  string // a command; may be empty
	Foreign bool   // it belongs to somebody who is not among the owners
}

func (e *Error) Error() string {
	if e.Remedy == "" {
		return e.Path + ": " + e.Problem
	}
	return fmt.Sprintf("cannot trust %s: %s: %s", e.Path, e.Problem, e.Remedy)
}

// ReadFile reads a regular file of at most max bytes.
func (o Owners) ReadFile(path string, max int64) ([]byte, error) {
	f, err := o.open(path, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readAll(f, path, max)
}

// ReadDir returns the names in a directory, sorted.
func (o Owners) ReadDir(path string) ([]string, error) {
	f, err := o.open(path, fs.ModeDir)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	names, err := f.Readdirnames(-1)
	slices.Sort(names)
	return names, err
}

// Check returns why what the path leads to cannot be trusted, or nil.
func (o Owners) Check(path string) error {
	return o.check(path, false)
}

// CheckPlace is Check, and returns why somebody else could make what the path leads to anew,
// with other owners to be trusted for it: what lies in a sticky directory its owner can move
// away, and then the name is anybody's.
func (o Owners) CheckPlace(path string) error {
	return o.check(path, true)
}

func (o Owners) check(path string, place bool) error {
	f, err := o.find(path, place)
	if err != nil {
		return err
	}
	return f.Close()
}

// open opens for reading what the path leads to, if it is of that type.
func (o Owners) open(path string, want fs.FileMode) (*os.File, error) {
	found, err := o.find(path, false)
	if err != nil {
		return nil, err
	}
	defer found.Close()
	info, err := found.Stat()
	switch {
	case err != nil:
		return nil, err
	case info.Mode().Type() == want:
	case want.IsDir():
		return nil, &Error{Path: found.Name(), Problem: "it is not a directory"}
	default:
		return nil, &Error{Path: found.Name(), Problem: "it is not a regular file"}
	}
	return reopen(found)
}

const maxLinks = 40 // as the kernel's

// find follows the path one name at a time from the root, holding each directory open:
// what has been looked at is what is found, whatever is renamed meanwhile. The file can
// be looked at, not read (O_PATH). For the place see CheckPlace.
func (o Owners) find(path string, place bool) (found *os.File, err error) {
	if !filepath.IsAbs(path) {
		return nil, &Error{Path: path, Problem: "it is not an absolute path"}
	}
	at, err := root()
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			at.Close()
		}
	}()
	names := split(path)
	for links := 0; len(names) > 0; {
		next, err := openat(at, names[0])
		if links > 0 && errors.Is(err, fs.ErrNotExist) {
			return nil, &Error{Path: path, Problem: fmt.Sprintf("a symbolic link leads to %s, which is not there", filepath.Join(at.Name(), names[0]))}
		}
		if err != nil {
			return nil, err
		}
		target, err := o.look(next, len(names) == 1, place)
		if err != nil {
			next.Close()
			return nil, err
		}
		names = names[1:]
		if target == "" {
			at.Close()
			at = next
			continue
		}
		next.Close()
		if links++; links > maxLinks {
			return nil, &Error{Path: path, Problem: "too many symbolic links"}
		}
		names = append(split(target), names...)
		if filepath.IsAbs(target) {
			at.Close()
			if at, err = root(); err != nil {
				return nil, err
			}
		}
	}
	return at, nil
}

// look returns where a link leads, "" for what is none.
func (o Owners) look(f *os.File, last, place bool) (target string, err error) {
	info, err := f.Stat()
	if err != nil {
		return "", err
	}
	path, mode := f.Name(), info.Mode()
	if uid := info.Sys().(*syscall.Stat_t).Uid; uid != 0 && !slices.Contains(o, uid) {
		return "", &Error{Path: path, Problem: fmt.Sprintf("it belongs to uid %d, not to root", uid), Remedy: "chown -h root " + path, Foreign: true}
	}
	switch {
	case mode&fs.ModeSymlink != 0:
		return readlink(f) // its mode says nothing; where it leads is looked at next
	case !last && place && mode&fs.ModeSticky != 0 && mode.Perm()&0o022 != 0:
		return "", &Error{Path: path, Problem: fmt.Sprintf("in it anybody can make what its owner moves away (mode 1%03o)", mode.Perm())}
	case !last && mode&fs.ModeSticky != 0:
		return "", nil // nobody can rename or replace there what is another's
	case mode.Perm()&0o022 != 0:
		return "", &Error{Path: path, Problem: fmt.Sprintf("others than its owner can write it (mode %04o)", mode.Perm()), Remedy: "chmod go-w " + path}
	}
	return "", nil
}

func split(path string) []string {
	return slices.DeleteFunc(strings.Split(path, "/"), func(name string) bool { return name == "" || name == "." })
}

func root() (*os.File, error) { return os.OpenFile("/", unix.O_PATH|unix.O_DIRECTORY, 0) }

func openat(dir *os.File, name string) (*os.File, error) {
	path := filepath.Join(dir.Name(), name)
	fd, err := unix.Openat(int(dir.Fd()), name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	return os.NewFile(uintptr(fd), path), nil
}

func readlink(link *os.File) (string, error) {
	target := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(int(link.Fd()), "", target)
	if err != nil {
		return "", &fs.PathError{Op: "readlink", Path: link.Name(), Err: err}
	}
	return string(target[:n]), nil
}
