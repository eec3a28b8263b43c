package nginx

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"tvsctl/fault"
)

// While an upstream file is on disk that the workers may not have, there is a mark beside
// it: of two lives of the daemon the first may be killed in between, and neither nginx -T
// nor a clock tells the second what the workers have. nginx includes no file with a dot in
// front.

func (h *Host) mark(name string) string { return filepath.Join(h.Dir, "."+name+".unproven") }

// doubt marks a file before it is written.
func (h *Host) doubt(name string) error { return os.WriteFile(h.mark(name), nil, 0o644) }

// prove removes the marks of files that are in force as they are on disk.
func (h *Host) prove(names []string) {
	for _, name := range names {
		// One that stays costs a reload.
		_ = fault.Do("nginx prove", func() error { return os.Remove(h.mark(name)) })
	}
}

// unproven reports whether a file on disk is perhaps not in force.
func (h *Host) unproven(name string) bool {
	_, err := os.Lstat(h.mark(name))
	return !errors.Is(err, fs.ErrNotExist)
}
