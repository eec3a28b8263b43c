package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"

	"tvsctl/look"
)

// lookInto is what tvsctld-inspect@.service runs, for one container.
func lookInto(id string) error {
	result, err := look.Look("/", id)
	if err != nil {
		return err
	}
	return look.Write(look.Dir, result)
}

// hangUp is what tvsctld-hangup@.service runs, for CONTAINER-PID.
func hangUp(instance string) error {
	id, number, _ := strings.Cut(instance, "-")
	pid, err := strconv.Atoi(number)
	if err != nil {
		return fmt.Errorf("cannot hang up %q: give CONTAINER-PID", instance)
	}
	return look.HangUp("/", id, pid)
}

// helper makes a subcommand of what takes one argument.
func helper(do func(string) error) func(args []string, stdout, stderr io.Writer) int {
	return func(args []string, _, stderr io.Writer) int {
		if len(args) != 1 {
			fmt.Fprintln(stderr, "tvsctld: it takes one argument")
			return exitUsage
		}
		if err := do(args[0]); err != nil {
			fmt.Fprintf(stderr, "tvsctld: %v\n", err)
			return exitFailure
		}
		return 0
	}
}
