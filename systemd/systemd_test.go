package systemd

import (
	"bytes"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestMain is also the child that sockets are passed to: it says what Listener
// made of them.
func TestMain(m *testing.M) {
	if os.Getenv("TVS_ACTIVATED_CHILD") == "" {
		os.Exit(m.Run())
	}
	listener, err := Listener()
	switch {
	case errors.Is(err, ErrNotActivated):
		os.Stdout.WriteString("not activated")
	case err != nil:
		os.Stdout.WriteString(err.Error())
	default:
		listener.Close()
		os.Stdout.WriteString("serves " + filepath.Base(listener.Addr().String()) + ", LISTEN_FDS=" + os.Getenv("LISTEN_FDS"))
	}
}

// activate runs the child with the given sockets, as systemd would.
func activate(t *testing.T, names string, files ...*os.File) string {
	t.Helper()
	// LISTEN_PID must be the child's own id, which exec keeps.
	child := exec.Command("sh", "-c", "LISTEN_PID=$$ exec "+os.Args[0])
	child.Env = append(os.Environ(), "TVS_ACTIVATED_CHILD=1", "GORACE=atexit_sleep_ms=0", "LISTEN_FDS="+strconv.Itoa(len(files)), "LISTEN_FDNAMES="+names)
	child.ExtraFiles = files
	var output bytes.Buffer
	child.Stdout, child.Stderr = &output, &output
	if err := child.Run(); err != nil {
		t.Fatalf("%v: %s", err, output.String())
	}
	return output.String()
}

func TestListener(t *testing.T) {
	dir, err := os.MkdirTemp("", "tvs") // t.TempDir() can be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	unix, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(dir, "s"), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close()
	tcp, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	unixFile, err := unix.File()
	if err != nil {
		t.Fatal(err)
	}
	defer unixFile.Close()
	tcpFile, err := tcp.File()
	if err != nil {
		t.Fatal(err)
	}
	defer tcpFile.Close()
	plain, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	for _, c := range []struct {
		names string
		files []*os.File
		want  string
	}{
		{"control", []*os.File{unixFile}, "serves s, LISTEN_FDS="},
		{"other", []*os.File{unixFile}, `the socket that systemd passed is named "other", not control`},
		{"control:control", []*os.File{unixFile, unixFile}, "systemd passed 2 sockets"},
		{"", nil, "systemd passed 0 sockets"},
		{"control", []*os.File{tcpFile}, "the socket that systemd passed is tcp, not a Unix socket"},
		{"control", []*os.File{plain}, "cannot listen on the socket that systemd passed"},
	} {
		if got := activate(t, c.names, c.files...); !strings.HasPrefix(got, c.want) || strings.HasSuffix(c.want, "=") && got != c.want {
			t.Errorf("%s with %d files: %s", c.names, len(c.files), got)
		}
		if _, err := os.Stat(filepath.Join(dir, "s")); err != nil {
			t.Fatalf("systemd's socket was removed: %v", err)
		}
	}
	t.Setenv("LISTEN_FDS", "")
	if _, err := Listener(); !errors.Is(err, ErrNotActivated) {
		t.Errorf("err %v", err)
	}
}

func TestNotify(t *testing.T) {
	path := filepath.Join(t.TempDir(), "n")
	if len(path) > 100 {
		path = "@tvsctl-test-" + strconv.Itoa(os.Getpid())
	}
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	t.Setenv("NOTIFY_SOCKET", path)
	for want, notify := range map[string]func(){"READY=1": Ready, "STOPPING=1": Stopping, "WATCHDOG=1": Alive,
		"STATUS=Nothing runs": func() { Status("Nothing runs") }, "EXTEND_TIMEOUT_USEC=1500000": func() { ExtendTimeout(1500 * time.Millisecond) }} {
		notify()
		if err := conn.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
			t.Fatal(err)
		}
		buffer := make([]byte, 100)
		n, err := conn.Read(buffer)
		if err != nil || string(buffer[:n]) != want {
			t.Errorf("got %q, %v", buffer[:n], err)
		}
	}
	Reloading()
	buffer := make([]byte, 100)
	n, err := conn.Read(buffer)
	if usec, ok := strings.CutPrefix(strings.TrimSpace(string(buffer[:n])), "RELOADING=1\nMONOTONIC_USEC="); err != nil || !ok || strings.Trim(usec, "0123456789") != "" || usec == "" {
		t.Errorf("got %q, %v", buffer[:n], err)
	}
	t.Setenv("NOTIFY_SOCKET", "")
	Ready() // nobody listens
}

func TestWatchdog(t *testing.T) {
	for _, c := range []struct {
		usec, pid string
		want      time.Duration
	}{{"", "", 0}, {"30000000", "", 15 * time.Second}, {"30000000", strconv.Itoa(os.Getpid()), 15 * time.Second}, {"30000000", "1", 0}, {"x", "", 0}} {
		t.Setenv("WATCHDOG_USEC", c.usec)
		t.Setenv("WATCHDOG_PID", c.pid)
		if got := Watchdog(); got != c.want {
			t.Errorf("%q for %q: %v", c.usec, c.pid, got)
		}
	}
}

func TestUnitsWithoutABus(t *testing.T) {
	t.Setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nowhere/bus")
	_, stateErr := new(Units).State(t.Context(), "nginx.service")
	for _, err := range []error{stateErr, new(Units).Reload(t.Context(), "nginx.service")} {
		if err == nil || !strings.HasPrefix(err.Error(), "cannot reach the system bus") {
			t.Errorf("err %v", err)
		}
	}
}
