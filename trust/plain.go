package trust

import (
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// OpenPlain opens for reading a regular file of at most max bytes that anybody can have
// written. What is none is an Error and is never opened: a pipe would hold up the caller,
// and a device has no end, or does something.
func OpenPlain(path string, max int64) (*os.File, error) {
	found, err := os.OpenFile(path, unix.O_PATH, 0)
	if err != nil {
		return nil, err
	}
	defer found.Close()
	info, err := found.Stat()
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, &Error{Path: path, Problem: "it is not a regular file"}
	case info.Size() > max:
		return nil, tooLarge(path, max)
	}
	return reopen(found)
}

// ReadPlain reads what OpenPlain opens.
func ReadPlain(path string, max int64) ([]byte, error) {
	f, err := OpenPlain(path, max)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readAll(f, path, max) // it can have grown
}

func readAll(f *os.File, path string, max int64) ([]byte, error) {
	text, err := io.ReadAll(io.LimitReader(f, max+1))
	if err == nil && int64(len(text)) > max {
		return nil, tooLarge(path, max)
	}
	return text, err
}

func tooLarge(path string, max int64) *Error {
	return &Error{Path: path, Problem: fmt.Sprintf("it is larger than %d bytes", max)}
}

// reopen opens for reading what was looked at, whatever has its name by now. It does not
// block: an owner may hold a lease (fcntl(2)).
func reopen(found *os.File) (*os.File, error) {
	return os.OpenFile(fmt.Sprintf("/proc/self/fd/%d", found.Fd()), os.O_RDONLY|unix.O_NONBLOCK, 0)
}
