package policy

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"tvsctl/trust"
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
	var files []string
	var rules []*rule
	var problems Problems
	read := func(path string) {
		switch text, err := trust.Owners(owners).ReadFile(path, maxBytes); {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			problems = append(problems, problemOf(path, err))
		default:
			more, wrong := parse(path, text)
			files, rules, problems = append(files, path), append(rules, more...), append(problems, wrong...)
		}
	}
	read(file)
	names, err := trust.Owners(owners).ReadDir(dropins)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		problems = append(problems, problemOf(dropins, err))
	}
	for _, name := range names {
		if IsDropIn(name) {
			read(filepath.Join(dropins, name))
		}
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
	untrusted, ok := errors.AsType[*trust.Error](err)
	switch {
	case !ok:
		return Problem{File: path, Message: fmt.Sprintf("cannot read it: %v", err)}
	case untrusted.Remedy == "":
		return Problem{File: untrusted.Path, Message: untrusted.Problem}
	}
	return Problem{File: untrusted.Path, Message: fmt.Sprintf("cannot trust it: %s: %s", untrusted.Problem, untrusted.Remedy)}
}

// IsDropIn reports whether a file of that name in a directory is one of rules.
func IsDropIn(name string) bool {
	return strings.HasSuffix(name, ".toml") && !strings.HasPrefix(name, ".")
}
