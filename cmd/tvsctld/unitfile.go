package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"tvsctl/systemd"
)

// unitFileDeadline bounds a change of unit files: the manager reads all of them again.
const unitFileDeadline = 2 * time.Minute

// unitFile is what tvsctld-unit-file@.service runs as root: it changes a unit's files if its
// own list has that change. Whoever starts it is not asked, and not trusted.
func unitFile(args []string, list string, stdout, stderr io.Writer) int {
	if len(args) != 1 {
		fmt.Fprintln(stderr, "usage: tvsctld unit-file VERB:UNIT")
		return exitUsage
	}
	verb, name, _ := strings.Cut(args[0], ":")
	if complete, err := systemd.UnitName(name); err != nil || complete != name || !slices.Contains(systemd.UnitFileVerbs, verb) {
		fmt.Fprintf(stderr, "tvsctld: cannot change unit files: %q is not VERB:UNIT with one of the verbs %s\n", args[0], strings.Join(systemd.UnitFileVerbs, ", "))
		return exitUsage
	}
	if err := systemd.UnitFileListed(list, os.Geteuid(), verb, name); err != nil {
		fmt.Fprintf(stderr, "tvsctld: cannot %s %s: %v\n", verb, name, err)
		return exitFailure
	}
	ctx, cancel := context.WithTimeout(context.Background(), unitFileDeadline)
	defer cancel()
	done, err := new(systemd.Units).ChangeUnitFile(ctx, verb, name)
	if err != nil {
		fmt.Fprintf(stderr, "tvsctld: %v\n", err)
		return exitFailure
	}
	for _, line := range done {
		fmt.Fprintln(stdout, line)
	}
	return 0
}
