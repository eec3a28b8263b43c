package daemon

import (
	"os"
	"path/filepath"
	"testing"
)

// writeProject writes a project's file.
func writeProject(t *testing.T, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name+".toml"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
