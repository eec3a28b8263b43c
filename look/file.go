package look

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"time"
)

const (
	// Dir is where results are left. Who knows a container's id may reach its file, but
	// not list the others.
	Dir = "/run/tvs/inspect"
	// User is whom the daemon runs as, if there is such a user; else it is root.
	User = "tvsctld"
	// kept is how long a result is left there at least.
	kept = 10 * time.Minute
)

// Write leaves a result in the directory, readable by the daemon alone, and removes
// what has been there for long.
func Write(dir string, r Result) (err error) {
	text, err := json.Marshal(r)
	if err != nil {
		return err
	}
	// A name that is new: nobody else can have it open.
	file, err := os.CreateTemp(dir, ".*.new")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(file.Name()))
		}
	}()
	_, err = file.Write(text)
	if err == nil {
		err = share(file)
	}
	if err = errors.Join(err, file.Close()); err != nil {
		return err
	}
	if err := os.Rename(file.Name(), path(dir, r.Container)); err != nil {
		return err
	}
	return sweep(dir)
}

// share lets the daemon's group read the file, where there is one.
func share(file *os.File) error {
	daemon, err := user.Lookup(User)
	if err != nil {
		return nil // the daemon is root
	}
	gid, err := strconv.Atoi(daemon.Gid)
	if err == nil {
		err = file.Chown(-1, gid)
	}
	if err == nil {
		err = file.Chmod(0o640)
	}
	return err
}

func sweep(dir string) error {
	list, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, entry := range list {
		info, err := entry.Info()
		if err == nil && time.Since(info.ModTime()) > kept {
			// Somebody else may have removed it.
			_ = os.Remove(filepath.Join(dir, entry.Name()))
		}
	}
	return nil
}

// Read returns the result of a look at a container that began at the given time or later.
func Read(dir, container string, since time.Time) (Result, error) {
	if !ValidID(container) {
		return Result{}, fmt.Errorf("%q is not the whole id of a container", container)
	}
	text, err := os.ReadFile(path(dir, container))
	if err != nil {
		return Result{}, err
	}
	var r Result
	if err := json.Unmarshal(text, &r); err != nil {
		return Result{}, fmt.Errorf("%s: %v", path(dir, container), err)
	}
	if r.Time.Before(since) {
		return Result{}, fmt.Errorf("%s is of an earlier look", path(dir, container))
	}
	return r, nil
}

func path(dir, container string) string { return filepath.Join(dir, container+".json") }
