package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/user"
	"path/filepath"
	"strings"

	"tvsctl/policy"
)

const policyUsage = `usage: tvsctld policy check [FILE|DIR]...

Reads policy files as tvsctld would and prints what is wrong with them, each as
FILE:LINE:COLUMN: MESSAGE. Of a DIR it reads what ends in .toml. Without an argument
it checks what is installed, ` + policy.File + ` and ` + policy.DropIns + `,
whose owners and modes matter, too. The exit status is 1 when anything is wrong.
`

// policyCommand carries out tvsctld policy.
func policyCommand(args []string, stdout, stderr io.Writer) int {
	if len(args) > 0 && args[0] == "check" {
		args = args[1:]
	} else if len(args) > 0 && !asksHelp(args[0]) {
		fmt.Fprintf(stderr, "tvsctld: there is no policy %s\n%s", args[0], policyUsage)
		return exitUsage
	} else if len(args) == 0 {
		fmt.Fprint(stderr, policyUsage)
		return exitUsage
	}
	switch {
	case len(args) == 0:
		return checkInstalled(policy.File, policy.DropIns, stdout, stderr)
	case asksHelp(args[0]):
		fmt.Fprint(stdout, policyUsage)
		return 0
	case strings.HasPrefix(args[0], "-"):
		fmt.Fprintf(stderr, "tvsctld: policy check has no option %s\n%s", args[0], policyUsage)
		return exitUsage
	}
	return checkFiles(args, stdout, stderr)
}

func asksHelp(arg string) bool { return arg == "-h" || arg == "-help" || arg == "--help" }

func checkInstalled(file, dropins string, stdout, stderr io.Writer, owners ...uint32) int {
	p, err := policy.Load(file, dropins, owners...)
	if err != nil {
		fmt.Fprintln(stderr, err)
		return exitFailure
	}
	if p.Files()[0] == policy.DefaultName {
		fmt.Fprintf(stdout, "%s is not there: the built-in policy is in force\n", file)
	}
	report(p, stdout, stderr)
	return 0
}

func checkFiles(args []string, stdout, stderr io.Writer) int {
	status := 0
	fail := func(err error) {
		fmt.Fprintln(stderr, err)
		status = exitFailure
	}
	for _, arg := range args {
		files, err := policyFiles(arg)
		if err != nil {
			fail(fmt.Errorf("tvsctld: cannot check: %w", err))
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				fail(fmt.Errorf("tvsctld: cannot check: %w", err))
				continue
			}
			p, err := policy.Parse(file, text)
			if err != nil {
				fail(err)
				continue
			}
			report(p, stdout, stderr)
		}
	}
	return status
}

// policyFiles returns the file itself, or the files of rules in a directory.
func policyFiles(path string) ([]string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return []string{path}, nil
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, err
	}
	var files []string
	for _, entry := range entries {
		if policy.IsDropIn(entry.Name()) {
			files = append(files, filepath.Join(path, entry.Name()))
		}
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("%s has no file *.toml", path)
	}
	return files, nil
}

// report says of a policy that it can be used, and who in it is not known here.
func report(p *policy.Policy, stdout, stderr io.Writer) {
	for _, name := range p.Names() {
		if kind, known := isKnown(name); !known {
			fmt.Fprintf(stderr, "%s: warning: tvsctld knows no %s %q: it reads /etc/passwd and /etc/group; of others give the number\n", name.Source, kind, name.Name)
		}
	}
	plural := "s"
	if p.Rules() == 1 {
		plural = ""
	}
	fmt.Fprintf(stdout, "%s: ok, %d rule%s\n", strings.Join(p.Files(), ", "), p.Rules(), plural)
}

func isKnown(name policy.Name) (kind string, known bool) {
	if name.Group {
		_, err := user.LookupGroup(name.Name)
		return "group", !errors.As(err, new(user.UnknownGroupError))
	}
	_, err := user.Lookup(name.Name)
	return "user", !errors.As(err, new(user.UnknownUserError))
}
