package daemon

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"tvsctl/trust"
)

// maxConfig bounds a file of the configuration, in bytes.
const maxConfig = 1 << 20

// readTrusted reads a file of the configuration, which only root may be able to write:
// whoever can decides who is let in, and what for. Where the daemon was not started by
// root, its own user may too.
func readTrusted(path string) ([]byte, error) {
	// What is not there says nothing, whoever could have put it there.
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	text, err := trust.Owners{uint32(os.Geteuid())}.ReadFile(path, maxConfig)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("cannot read the configuration: %w", err)
	}
	return text, err
}
