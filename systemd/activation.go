// Package systemd is what tvsctld needs of the service manager: the socket that
// it hands over, its notifications, and units over D-Bus.
package systemd

import (
	"errors"
	"fmt"
	"net"
	"os"

	"github.com/coreos/go-systemd/v22/activation"
)

// ErrNotActivated means that the service manager passed no socket.
var ErrNotActivated = errors.New("systemd passed no socket")

// SocketName is the FileDescriptorName= of the socket unit.
const SocketName = "control"

// Listener returns the listening socket that systemd passed. It insists on exactly
// one, with the name that the socket unit gives it: a library that skips what it
// cannot use would leave clients waiting on a socket that nobody accepts from.
func Listener() (*net.UnixListener, error) {
	passed := os.Getenv("LISTEN_FDS")
	if passed == "" {
		return nil, ErrNotActivated
	}
	files := activation.Files(true)
	if len(files) != 1 {
		return nil, fmt.Errorf("systemd passed %d sockets (LISTEN_FDS=%s), and not the one named %s", len(files), passed, SocketName)
	}
	file := files[0]
	defer file.Close()
	if file.Name() != SocketName {
		return nil, fmt.Errorf("the socket that systemd passed is named %q, not %s", file.Name(), SocketName)
	}
	listener, err := net.FileListener(file)
	if err != nil {
		return nil, fmt.Errorf("cannot listen on the socket that systemd passed: %v", err)
	}
	unix, ok := listener.(*net.UnixListener)
	if !ok {
		listener.Close()
		return nil, fmt.Errorf("the socket that systemd passed is %s, not a Unix socket", listener.Addr().Network())
	}
	unix.SetUnlinkOnClose(false) // it is systemd's
	return unix, nil
}
