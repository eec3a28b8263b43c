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
		return nil, &Error{Path: path, Problem: fmt.Sprintf("it is larger than %d bytes", max)}
	}
	// Not blocking: its owner may hold a lease on it (fcntl(2)).
	return os.OpenFile(fmt.Sprintf("/proc/self/fd/%d", found.Fd()), os.O_RDONLY|unix.O_NONBLOCK, 0)
}

// ReadPlain reads what OpenPlain opens.
func ReadPlain(path string, max int64) ([]byte, error) {
	f, err := OpenPlain(path, max)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, max+1))
	if err == nil && int64(len(text)) > max { // it grew
		return nil, &Error{Path: path, Problem: fmt.Sprintf("it is larger than %d bytes", max)}
	}
	return text, err
}
