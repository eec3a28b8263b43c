package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"tvsctl/ipc"
)

// The files that docker compose looks for, in its order (compose-go,
// cli.DefaultFileNames and cli.DefaultOverrideFileNames).
var (
	composeFiles  = []string{"compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml"}
	overrideFiles = []string{"compose.override.yml", "compose.override.yaml",
		"docker-compose.override.yml", "docker-compose.override.yaml"}
)

var validProject = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]*$`)

// newDeclaration resolves what -f, --env-file and --profile name.
func newDeclaration(files, envFiles, profiles []string) (*ipc.Declaration, error) {
	declaration := &ipc.Declaration{Profiles: profiles}
	for _, name := range files {
		path, err := filepath.Abs(name)
		if err != nil {
			return nil, failuref("cannot declare %s: %v", name, err)
		}
		info, err := os.Stat(path)
		if name == "" || err != nil {
			return nil, undeclarable(name, err)
		}
		if !info.IsDir() {
			declaration.Files = append(declaration.Files, path)
			continue
		}
		file := firstFile(path, composeFiles)
		if file == "" {
			return nil, &ipc.Error{Code: ipc.CodeBadRequest,
				Message: fmt.Sprintf("cannot declare %s: the directory has no compose file", name),
				Hint:    "compose looks for " + strings.Join(composeFiles, ", ")}
		}
		declaration.Files = append(declaration.Files, file)
		if override := firstFile(path, overrideFiles); override != "" {
			declaration.Files = append(declaration.Files, override)
		}
	}
	declaration.Directory = filepath.Dir(declaration.Files[0])
	for _, name := range envFiles {
		path, err := filepath.Abs(name)
		if err != nil {
			return nil, failuref("cannot declare %s: %v", name, err)
		}
		if info, err := os.Stat(path); name == "" || err != nil || info.IsDir() {
			return nil, undeclarable(name, err)
		}
		declaration.EnvFiles = append(declaration.EnvFiles, path)
	}
	return declaration, nil
}

func undeclarable(name string, err error) *ipc.Error {
	why := "it is not a file"
	if pathError, ok := err.(*fs.PathError); ok {
		why = pathError.Err.Error()
	}
	return &ipc.Error{Code: ipc.CodeBadRequest, Message: fmt.Sprintf("cannot declare %q: %s", name, why)}
}

func firstFile(directory string, names []string) string {
	for _, name := range names {
		path := filepath.Join(directory, name)
		if info, err := os.Stat(path); err == nil && !info.IsDir() {
			return path
		}
	}
	return ""
}

// projectName derives the name as docker compose does: the name in the last
// file that has one, else the normalised name of the directory.
func projectName(declaration *ipc.Declaration) (string, error) {
	for i := len(declaration.Files) - 1; i >= 0; i-- {
		file := declaration.Files[i]
		name, err := nameInFile(file)
		if err != nil {
			return "", undeclarable(file, err)
		}
		if strings.Contains(name, "$") {
			return "", &ipc.Error{Code: ipc.CodeBadRequest,
				Message: fmt.Sprintf("cannot declare %s: the project's name there depends on a variable: %s", file, oneLine(name)),
				Hint:    "give the name with -p"}
		}
		if name != "" {
			return name, nil
		}
	}
	name := normalise(filepath.Base(declaration.Directory))
	if name == "" {
		return "", &ipc.Error{Code: ipc.CodeBadRequest,
			Message: fmt.Sprintf("cannot declare %s: no project name can be made of the directory's name", declaration.Directory),
			Hint:    "give the name with -p"}
	}
	return name, nil
}

var topLevelName = regexp.MustCompile(`^name\s*:\s*(.*?)\s*$`)

// nameInFile finds a name: at the top level. It reads lines, not YAML: what
// people write there is one plain or quoted word.
func nameInFile(file string) (string, error) {
	raw, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	lines := bufio.NewScanner(bytes.NewReader(raw))
	lines.Buffer(nil, len(raw)+1)
	for lines.Scan() {
		match := topLevelName.FindStringSubmatch(lines.Text())
		if match == nil {
			continue
		}
		value := match[1]
		if value != "" && (value[0] == '"' || value[0] == '\'') {
			if end := strings.IndexByte(value[1:], value[0]); end >= 0 {
				return value[1 : end+1], nil
			}
		}
		value, _, _ = strings.Cut(value, " #")
		return strings.TrimSpace(value), nil
	}
	return "", nil
}

// normalise is compose-go's loader.NormalizeProjectName.
func normalise(name string) string {
	kept := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '-' || r == '_' {
			return r
		}
		return -1
	}, strings.ToLower(name))
	return strings.TrimLeft(kept, "_-")
}
