package nginx

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// hostOf is a host's nginx whose nginx -T prints what is in its directory now.
func hostOf(t *testing.T) (*Host, *fakeUnit) {
	t.Helper()
	h, u := newHost(t, "")
	text := fmt.Sprintf("#!/bin/sh\necho 'include %[1]s/*.conf;'\nfor f in %[1]s/*.conf; do echo \"# configuration file $f:\"; cat \"$f\"; done 2>&1; true\n", h.Dir)
	if err := os.WriteFile(u.program, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	return h, u
}

// inForce checks of which files an nginx says that it has them.
func inForce(t *testing.T, h *Host, when string, want ...string) {
	t.Helper()
	facts, err := h.Facts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, name := range []string{"a.conf", "b.conf"} {
		if text, is := facts.Files[name]; is {
			got = append(got, name+"="+string(text))
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("%s: %q, want %q", when, got, want)
	}
}

// Who is killed between writing a file and the end of the reload leaves a file that the
// workers do not have: the next life is not told that they do.
func TestFilesThatWereNotTakenUp(t *testing.T) {
	h, u := hostOf(t)
	taken, files := u.reload, map[string][]byte{"a.conf": []byte("A\n"), "b.conf": []byte("B\n")}
	inForce(t, h, "at first")
	if err := os.WriteFile(filepath.Join(h.Dir, "b.conf"), []byte("start script's\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	inForce(t, h, "as a start script left it", "b.conf=start script's\n")
	// As it is when the daemon is killed, before anything is put back.
	killed := filepath.Join(t.TempDir(), "killed")
	u.reload = func() error { return errors.Join(os.CopyFS(killed, os.DirFS(h.Dir)), errors.New("killed")) }
	if err := h.Publish(t.Context(), files); err == nil {
		t.Error("no error")
	}
	if err := errors.Join(os.RemoveAll(h.Dir), os.Rename(killed, h.Dir)); err != nil {
		t.Fatal(err)
	}
	inForce(t, h, "after the kill")
	// What is put back after a failure is as doubtful as it was.
	u.reload = func() error { return errors.New("access denied") }
	if err := h.Publish(t.Context(), files); err == nil {
		t.Error("no error")
	}
	inForce(t, h, "after a failure on top")
	u.reload = taken
	if err := h.Publish(t.Context(), files); err != nil {
		t.Fatal(err)
	}
	inForce(t, h, "taken up", "a.conf=A\n", "b.conf=B\n")
	u.reload = func() error { return errors.New("access denied") }
	if err := h.Publish(t.Context(), map[string][]byte{"a.conf": []byte("C\n")}); err == nil {
		t.Error("no error")
	}
	inForce(t, h, "after a failure alone", "a.conf=A\n", "b.conf=B\n")
	if got := contents(t, h); got != "a.conf=A\n b.conf=B\n" {
		t.Errorf("left %q", got)
	}
}

// A file that was not reached is not put back either.
func TestHostPublishLeavesWhatItDidNotReach(t *testing.T) {
	h, _ := newHost(t, "exit 0")
	if err := errors.Join(os.Mkdir(h.Dir+"/.a.conf.new", 0o755), os.WriteFile(h.Dir+"/z.conf", []byte("before"), 0o644)); err != nil {
		t.Fatal(err)
	}
	if err := h.Publish(t.Context(), map[string][]byte{"a.conf": []byte("A"), "z.conf": []byte("Z")}); err == nil {
		t.Error("no error")
	}
	if got := contents(t, h); got != ".a.conf.new= z.conf=before" {
		t.Errorf("left %s", got)
	}
}
