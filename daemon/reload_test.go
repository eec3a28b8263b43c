package daemon

import (
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"tvsctl/dockerops/enginetest"
	"tvsctl/ipc"
)

func TestReload(t *testing.T) {
	s := newStackWithout(t)
	dir := t.TempDir()
	file, project := filepath.Join(t.TempDir(), "tvsctld.toml"), filepath.Join(dir, "tvs.toml")
	writeSettings(t, file, "max_operations = 0\n")
	reload := make(chan os.Signal)
	s.Client, s.d = serve(t, Config{StateDir: t.TempDir(), ProjectDir: dir, File: file, Idle: time.Minute, Log: s.journal, Reload: reload})
	notes := notifications(t)
	hup := func() { // returns when it is done
		before := len(notes())
		reload <- syscall.SIGHUP
		until(t, "it is ready again", func() bool { return slices.Contains(notes()[before:], "READY=1") })
		// What runs is told at any time.
		if said := slices.DeleteFunc(slices.Clone(notes()[before:]), func(note string) bool { return strings.HasPrefix(note, "STATUS=") }); !strings.HasPrefix(said[0], "RELOADING=1\nMONOTONIC_USEC=") {
			t.Errorf("it said %q", said)
		}
	}
	says := func(what string) {
		t.Helper()
		if problems := s.status(t).Problems; len(problems) != 1 || !strings.Contains(problems[0], what) {
			t.Errorf("the problems are %q, want %q", problems, what)
		}
		if !strings.Contains(s.journal.String(), what) {
			t.Errorf("the journal does not say %q", what)
		}
	}
	says("0 is not a number from 1 to 65536; the defaults are in force")
	if got := *s.d.settings.Load(); !reflect.DeepEqual(got, s.d.defaults()) {
		t.Errorf("in force: %+v", got)
	}

	writeSettings(t, file, "max_operations = 1\nidle = \"2h\"\nmax_connections_per_user = 9\n")
	hup()
	if problems := s.status(t).Problems; len(problems) != 0 {
		t.Errorf("still %q", problems)
	}
	good := settings{Idle: idleTime(2 * time.Hour), MaxConnections: 1024, MaxConnectionsPerUser: 9, MaxOperations: 1, MaxOperationsPerUser: 64}
	if got := *s.d.settings.Load(); !reflect.DeepEqual(got, good) {
		t.Errorf("in force: %+v", got)
	}
	s.d.activity.mu.Lock()
	if idle := s.d.activity.idle; idle != 2*time.Hour {
		t.Errorf("the idle time is %v", idle)
	}
	s.d.activity.mu.Unlock()
	under, on := make(chan struct{}), make(chan struct{})
	s.Before("start tvs-webapp-2", func() {
		close(under)
		<-on
	})
	var first ipc.Operation
	if err := s.Post(t.Context(), ipc.ProjectPath("tvs", "scale"), scaleRequest(2), &first); err != nil {
		t.Fatal(err)
	}
	<-under
	if err := s.Post(t.Context(), ipc.ProjectPath("tvs", "scale"), scaleRequest(3), nil); describeError(err).Code != ipc.CodeBusy {
		t.Errorf("one operation too many: %v", err)
	}

	writeSettings(t, file, "max_operations = 5\nnonsense = true\n")
	hup() // in the middle of the operation
	says("line 2: unknown key nonsense; what was in force before stays in force")
	if got := *s.d.settings.Load(); !reflect.DeepEqual(got, good) {
		t.Errorf("after a broken one in force: %+v", got)
	}
	close(on)
	if o, err := s.Follow(t.Context(), first.ID, func(ipc.Event) {}); err != nil || o.State != ipc.OperationSucceeded {
		t.Errorf("%+v, %v", o, err)
	}

	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	hup()
	if got := *s.d.settings.Load(); !reflect.DeepEqual(got, s.d.defaults()) {
		t.Errorf("without the file in force: %+v", got)
	}
	// Of a project's file too, until it is mended or gone.
	writeSettings(t, project, "nonsense = true\n")
	hup()
	if problems := s.d.problems(); len(problems) != 1 || !strings.Contains(problems[0], "unknown key nonsense") {
		t.Errorf("the problems are %q", problems)
	}
	if err := os.Remove(project); err != nil {
		t.Fatal(err)
	}
	hup()
	if problems := s.d.problems(); len(problems) != 0 {
		t.Errorf("still %q", problems)
	}
}

// A reload makes the guard look, without an event of Docker.
func TestReloadLooks(t *testing.T) {
	s := newStackWithout(t)
	reload := make(chan os.Signal)
	s.Client, s.d = serve(t, Config{StateDir: t.TempDir(), ProjectDir: t.TempDir(), Log: s.journal, Reload: reload})
	until(t, "the guard publishes", func() bool { return s.members() == "172.20.0.1:8080" })
	s.Add("webapp", 2, func(c *enginetest.Container) { c.Health, c.Address = "healthy", "172.20.0.2" }) // unannounced
	reload <- syscall.SIGHUP
	until(t, "it has looked", func() bool { return s.members() == "172.20.0.1:8080 172.20.0.2:8080" })
}

func TestIdleGivenStays(t *testing.T) {
	file := filepath.Join(t.TempDir(), "tvsctld.toml")
	writeSettings(t, file, "idle = \"2h\"\nmax_operations = 7\n")
	d := New(Config{StateDir: t.TempDir(), File: file, Idle: time.Second, IdleGiven: true, Log: &journalBuffer{}})
	defer d.state.close()
	if got := d.settings.Load(); d.idle() != time.Second || got.MaxOperations != 7 {
		t.Errorf("in force: %+v", got)
	}
}
