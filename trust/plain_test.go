package trust

import (
	"errors"
	"io/fs"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

func TestReadPlain(t *testing.T) {
	dir := t.TempDir()
	large := make([]byte, most+1)
	if err := errors.Join(os.WriteFile(dir+"/file", []byte("text"), 0o666), os.WriteFile(dir+"/full", large[1:], 0o600),
		os.WriteFile(dir+"/large", large, 0o600), os.Symlink("file", dir+"/link"), unix.Mkfifo(dir+"/pipe", 0o666),
		os.Symlink("pipe", dir+"/to-a-pipe")); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]int{dir + "/file": 4, dir + "/link": 4, dir + "/full": most} {
		if text, err := ReadPlain(path, most); err != nil || len(text) != want {
			t.Errorf("%s: %d bytes, %v", path, len(text), err)
		}
	}
	for path, says := range map[string]string{dir + "/pipe": "it is not a regular file", dir + "/to-a-pipe": "it is not a regular file",
		"/dev/zero": "it is not a regular file", dir: "it is not a regular file", dir + "/large": "it is larger than 1000 bytes"} {
		var flaw *Error
		if _, err := ReadPlain(path, most); !errors.As(err, &flaw) || err.Error() != path+": "+says {
			t.Errorf("%s: %v", path, err)
		}
	}
	if _, err := ReadPlain(dir+"/none", most); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("of none: %v", err)
	}
}
