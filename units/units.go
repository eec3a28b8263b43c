// Package units holds the files that an installation puts into the host's
// configuration, as they are shipped.
package units

import "embed"

// Files are the unit files by name.
//
//go:embed *.service *.socket
var Files embed.FS
