package nginx

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Nothing is written to a directory in whose place somebody else can put another one.
func TestUpstreamDirectories(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(h *Host) error
		says   string // "": it is used
	}{
		{"as it should be", func(*Host) error { return nil }, ""},
		{"a link", func(h *Host) error {
			real := h.Dir
			h.Dir += "-link"
			return os.Symlink(real, h.Dir)
		}, "upstreams-link is a symbolic link"},
		{"below a link", func(h *Host) error {
			link := filepath.Dir(h.Dir) + "/link"
			h.Dir = link + "/upstreams"
			return os.Symlink(".", link)
		}, "link is a symbolic link"},
		{"a file", func(h *Host) error {
			h.Dir += "/x"
			return os.WriteFile(h.Dir, nil, 0o644)
		}, "is not a directory"},
		{"not there", func(h *Host) error { return os.Remove(h.Dir) }, "no such file"},
		{"for everybody", func(h *Host) error { return os.Chmod(h.Dir, 0o777) }, "can be written by others than its owner (mode 0777)"},
		{"below one for a group", func(h *Host) error { return os.Chmod(filepath.Dir(h.Dir), 0o770) }, "(mode 0770)"},
		{"somebody else's", func(h *Host) error { return os.Chown(h.Dir, 4000000000, 0) }, "belongs to uid 4000000000"},
	} {
		h, u := newHost(t, "exit 0")
		if err := c.change(h); errors.Is(err, os.ErrPermission) {
			continue // only root can give a directory away
		} else if err != nil {
			t.Fatal(err)
		}
		err := h.Publish(t.Context(), map[string][]byte{"a.conf": []byte("A")})
		if c.says == "" {
			if err != nil || u.reloads != 1 {
				t.Errorf("%s: %v, %d reloads", c.name, err, u.reloads)
			}
			continue
		}
		if !errors.As(err, new(*ConfigError)) || !strings.Contains(err.Error(), c.says) || u.reloads != 0 {
			t.Errorf("%s: %v, %d reloads", c.name, err, u.reloads)
		}
		if entries, _ := filepath.Glob(h.Dir + "/*.conf"); len(entries) > 0 {
			t.Errorf("%s: there is %q", c.name, entries)
		}
	}
}
