package daemon

import (
	"os"
	"strings"
	"testing"

	"tvsctl/ipc"
)

// A declaration keeps whose the directory is: when it is somebody else's, up does not run
// what is there by then.
func TestDeclarationKeepsTheOwner(t *testing.T) {
	s := newStack(t)
	dir := t.TempDir()
	file, uid := dir+"/compose.yaml", uint32(os.Getuid())
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.Put(t.Context(), ipc.ProjectPath("tvs", "declaration"), ipc.Declaration{Directory: dir, Files: []string{file}}, nil); err != nil {
		t.Fatal(err)
	}
	if kept := s.d.state.project("tvs").Files; kept == nil || kept.Owner == nil || *kept.Owner != uid {
		t.Fatalf("kept is %+v", kept)
	}
	if uid == 0 {
		if err := os.Chown(dir, 12345, -1); err != nil {
			t.Fatal(err)
		}
	} else if err := s.d.state.update("tvs", func(k *projectState) { *k.Files.Owner = uid + 1 }); err != nil { // who cannot give it away
		t.Fatal(err)
	}
	err := s.Post(t.Context(), ipc.ProjectPath("tvs", "up"), ipc.UpRequest{}, nil)
	if err == nil || describeError(err).Code != ipc.CodeForbidden || !strings.Contains(err.Error(), "who owned the project's directory when it was declared") {
		t.Errorf("up: %v", err)
	}
}
