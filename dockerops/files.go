package dockerops

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"tvsctl/trust"
)

// Untrusted returns why the compose files must not be run, or nil: whoever can
// write them, or rename a directory above them, owns the host. They may be written
// by root, and where root has declared the project, by the owner that its directory had then.
// Where that is not known it is the present one, if nobody else can have become it.
func (f Files) Untrusted(declared bool) error {
	if !filepath.IsAbs(f.Directory) {
		return fmt.Errorf("the project directory %q is not an absolute path", f.Directory)
	}
	info, err := os.Stat(f.Directory)
	if errors.Is(err, fs.ErrPermission) {
		return unreadable(f.Directory)
	}
	if err != nil {
		return fmt.Errorf("cannot use the project directory: %v", err)
	}
	if len(f.Compose) == 0 {
		return errors.New("no compose file is named")
	}
	var owners trust.Owners
	now := info.Sys().(*syscall.Stat_t).Uid
	switch {
	case declared && f.Owner != nil:
		owners = trust.Owners{*f.Owner}
	case declared:
		owners = trust.Owners{now}
	}
	paths := append(append([]string{f.Directory}, f.Compose...), f.Env...)
	// Compose reads that one without being told.
	if unasked := filepath.Join(f.Directory, ".env"); exists(unasked) {
		paths = append(paths, unasked)
	}
	for _, path := range paths {
		var flaw *trust.Error
		var denied *fs.PathError
		switch err := owners.Check(path); {
		case errors.As(err, &flaw) && flaw.Foreign && declared && f.Owner != nil:
			return fmt.Errorf("%s belongs to neither root nor uid %d, who owned the project's directory when it was declared; to declare it anew: tvsctl up -f", flaw.Path, *f.Owner)
		case errors.As(err, &flaw) && flaw.Foreign && declared:
			return fmt.Errorf("%s belongs to neither root nor the owner of the project's directory", flaw.Path)
		case errors.As(err, &flaw) && flaw.Foreign:
			return fmt.Errorf("%s belongs to somebody other than root, and root has not declared the project", flaw.Path)
		case errors.As(err, &denied) && errors.Is(err, fs.ErrPermission):
			return unreadable(denied.Path)
		case err != nil:
			return err
		}
	}
	// Nobody else becomes root, or whom the daemon runs as.
	if declared && f.Owner == nil && now != 0 && now != uint32(os.Geteuid()) {
		if err := owners.CheckPlace(f.Directory); err != nil {
			return fmt.Errorf("%w; move the project, or declare it with tvsctl up -f: that keeps whose it is", err)
		}
	}
	return f.Unreadable()
}

// OwnerOf returns the uid of a directory; nil where there is none to be seen.
func OwnerOf(dir string) *uint32 {
	info, err := os.Stat(dir)
	if err != nil {
		return nil
	}
	uid := info.Sys().(*syscall.Stat_t).Uid
	return &uid
}

// maxComposeFile bounds what is read of a compose or environment file, in bytes.
const maxComposeFile = 4 << 20

// ReadComposeFile reads one of a project's files, which anybody can have written, up to
// 4 MiB. What is no regular file is an error at once.
func ReadComposeFile(path string) ([]byte, error) { return trust.ReadPlain(path, maxComposeFile) }

// Unreadable returns which of the files this process is not let read, and what would
// let it, or which is none that compose should open, or nil. A file that is not there is
// another matter.
func (f Files) Unreadable() error {
	paths := append(append([]string{}, f.Compose...), f.Env...)
	if f.Directory != "" {
		// Compose leaves a directory of that name alone.
		unasked := filepath.Join(f.Directory, ".env")
		if info, err := os.Stat(unasked); err != nil || !info.IsDir() {
			paths = append(paths, unasked)
		}
	}
	for _, path := range paths {
		file, err := trust.OpenPlain(path, maxComposeFile)
		if err == nil {
			file.Close()
		}
		if errors.Is(err, fs.ErrPermission) {
			return unreadable(path)
		}
		if errors.As(err, new(*trust.Error)) && !isNull(path) {
			return err
		}
	}
	return nil
}

// unreadable names the file, and the directory above it that has to be opened first, if any.
func unreadable(path string) error {
	remedy := "setfacl -m u:tvsctld:r " + path
	for dir := filepath.Dir(path); dir != "/" && dir != "."; dir = filepath.Dir(dir) {
		if info, err := os.Stat(dir); err == nil && info.Mode().Perm()&0o001 == 0 {
			remedy = "setfacl -m u:tvsctld:x " + dir + "; " + remedy
		}
	}
	return fmt.Errorf("tvsctld may not read %s; as root: %s", path, remedy)
}

// isNull reports whether a path leads to /dev/null, which is as good as an empty file.
func isNull(path string) bool {
	info, err := os.Stat(path)
	null, nullErr := os.Stat(os.DevNull)
	return err == nil && nullErr == nil && os.SameFile(info, null)
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}
