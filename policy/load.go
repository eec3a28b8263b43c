package policy

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
)

// Where the policy is installed.
const (
	File    = "/etc/tvsctld/policy.toml"
	DropIns = "/etc/tvsctld/policy.d"
)

// maxBytes bounds a file of rules.
const maxBytes = 1 << 20

// Load reads the file and then the drop-ins, the files *.toml in a directory, by name.
// Where there is neither, the policy is Default. Files, directories and links that lead
// there must belong to root, or to one of the owners, and nobody else may be able to
// write them. The error is of type Problems and holds all that is wrong in any file.
func Load(file, dropins string, owners ...uint32) (*Policy, error) {
	t := trust{owners: append([]uint32{0}, owners...)}
	var files []string
	var rules []*rule
	var problems Problems
	read := func(path string) {
		switch text, err := t.read(path); {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			problems = append(problems, problemOf(path, err))
		default:
			more, wrong := parse(path, text)
			files, rules, problems = append(files, path), append(rules, more...), append(problems, wrong...)
		}
	}
	read(file)
	names, err := t.list(dropins)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		problems = append(problems, problemOf(dropins, err))
	}
	for _, name := range names {
		read(filepath.Join(dropins, name))
	}
	if len(problems) > 0 {
		return nil, problems
	}
	if len(files) == 0 {
		return Default(), nil
	}
	return assemble(files, rules)
}

func problemOf(path string, err error) Problem {
	if untrusted, ok := errors.AsType[Problem](err); ok {
		return untrusted
	}
	return Problem{File: path, Message: fmt.Sprintf("cannot read it: %v", err)}
}

func (t trust) read(path string) ([]byte, error) {
	f, err := t.open(path, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxBytes+1))
	if err == nil && len(text) > maxBytes {
		return nil, fmt.Errorf("it is larger than %d bytes", maxBytes)
	}
	return text, err
}

// list returns the names of the drop-ins, sorted.
func (t trust) list(dir string) ([]string, error) {
	f, err := t.open(dir, fs.ModeDir)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	all, err := f.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	names := slices.DeleteFunc(all, func(name string) bool { return !IsDropIn(name) })
	slices.Sort(names)
	return names, nil
}

// IsDropIn reports whether a file of that name in a directory is one of rules.
func IsDropIn(name string) bool {
	return strings.HasSuffix(name, ".toml") && !strings.HasPrefix(name, ".")
}
