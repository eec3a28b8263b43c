package daemon

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"tvsctl/ipc"
)

func writeSettings(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestReadSettings(t *testing.T) {
	usual := settings{Idle: idleTime(time.Minute), MaxConnections: 1024, MaxConnectionsPerUser: 64, MaxOperations: 256, MaxOperationsPerUser: 64}
	path := filepath.Join(t.TempDir(), "tvsctld.toml")
	if got, err := readSettings(path, usual); err != nil || !reflect.DeepEqual(got, usual) {
		t.Errorf("without a file %+v, %v", got, err)
	}
	for _, c := range []struct {
		text string
		want settings
	}{
		{"", usual},
		{"# nothing\n", usual},
		{"max_connections = 65536\nidle = \"1h30m\"\n", settings{Idle: idleTime(90 * time.Minute), MaxConnections: 65536, MaxConnectionsPerUser: 64, MaxOperations: 256, MaxOperationsPerUser: 64}},
		{"max_connections_per_user = 1\nmax_operations = 3\n", settings{Idle: idleTime(time.Minute), MaxConnections: 1024, MaxConnectionsPerUser: 1, MaxOperations: 3, MaxOperationsPerUser: 64}},
	} {
		writeSettings(t, path, c.text)
		if got, err := readSettings(path, usual); err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%q: %+v, %v", c.text, got, err)
		}
	}
	for _, c := range []struct{ text, says string }{
		{"idle = \"60s\"\nmax_conections = 3\n", "line 2: unknown key max_conections"},
		{"\n\n[limits]\nidle = \"60s\"\n", "line 3: unknown key limits"},
		{"\nmax_operations = 0\n", `line 2 (last key "max_operations"): 0 is not a number from 1 to 65536`},
		{"max_connections = 65537", "65537 is not a number from 1 to 65536"},
		{"max_connections = \"many\"", `"many" is not a number`},
		{"idle = \"500ms\"", `line 1 (last key "idle"): "500ms" is not a duration from "1s" to "24h"`},
		{"idle = \"25h\"", `"25h" is not a duration`},
		{"idle = 60", `60 is not a duration`},
		{"idle = ", "line 1"},
	} {
		writeSettings(t, path, c.text)
		if _, err := readSettings(path, usual); err == nil || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), path) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: %v", c.text, err)
		}
	}
	if _, err := readSettings(t.TempDir(), usual); err == nil {
		t.Error("a directory was read")
	}
	writeSettings(t, path, "")
	if err := os.Chmod(path, 0o664); err != nil {
		t.Fatal(err)
	}
	if _, err := readSettings(path, usual); err == nil || !strings.Contains(err.Error(), "others than its owner can write it (mode 0664)") {
		t.Errorf("one that the group can write: %v", err)
	}
}

// The bound on operations counts those that run and those that are about to, each once.
func TestMaxOperations(t *testing.T) {
	d := &Daemon{running: map[string]*operation{}, reserved: map[string]place{}}
	d.settings.Store(&settings{MaxOperations: 2, MaxOperationsPerUser: 2})
	enter := func(id string, who peer) (func(), error) {
		return d.reserve(newOperation(nil, ipc.Operation{ID: id, Summary: "scale webapp"}, job{}), who)
	}
	releaseA, err := enter("a", peer{})
	if err != nil {
		t.Fatal(err)
	}
	d.running["a"] = &operation{}
	releaseB, err := enter("b", peer{})
	if err != nil {
		t.Fatal(err)
	}
	var refused *ipc.Error
	if _, err := enter("c", peer{}); !errors.As(err, &refused) || refused.Code != ipc.CodeBusy || refused.Message != "cannot scale webapp: 2 operations run or wait already" {
		t.Errorf("one too many: %v", err)
	}
	if release, err := enter("r", peer{itself: true}); err != nil {
		t.Errorf("the daemon's own: %v", err)
	} else {
		release()
	}
	releaseA()
	releaseB() // refused after all
	release, err := enter("c", peer{})
	if err != nil {
		t.Fatal(err)
	}
	release()
	delete(d.running, "a")
	if len(d.reserved) != 0 {
		t.Errorf("left %v", d.reserved)
	}
	// One user's bound holds up nobody else.
	d.settings.Store(&settings{MaxOperations: 9, MaxOperationsPerUser: 1})
	d.running["a"] = &operation{record: ipc.Operation{UID: 1}}
	if _, err := enter("b", peer{UID: 1}); !errors.As(err, &refused) || refused.Code != ipc.CodeBusy || !strings.Contains(refused.Message, "cannot scale webapp: 1 operations of ") {
		t.Errorf("one of a user too many: %v", err)
	}
	if _, err := enter("c", peer{UID: 2}); err != nil {
		t.Errorf("another user's: %v", err)
	}
}

// A file that is not there is none, also in a directory that others can write; one that
// is there is refused.
func TestReadTrusted(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "shop.toml")
	if _, err := readTrusted(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("one that is not there: %v", err)
	}
	writeSettings(t, path, "")
	if _, err := readTrusted(path); err == nil || !strings.Contains(err.Error(), "cannot trust "+dir+": others than its owner can write it") {
		t.Errorf("one that is: %v", err)
	}
}
