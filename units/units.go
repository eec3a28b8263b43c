// Package units holds the files that an installation puts into the host's
// configuration, as they are shipped.
package units

import (
	"embed"
	"io/fs"
)

// Files are the unit files by name.
//
//go:embed *.service *.socket
var Files embed.FS

// Names lists them, sorted.
func Names() []string {
	names, err := fs.Glob(Files, "*.*")
	if err != nil {
		panic(err) // no pattern of ours is wrong
	}
	return names
}
