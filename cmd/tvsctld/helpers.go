package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"

	"tvsctl/look"
)

// helpers are what units of their own run, as root, for a daemon that may not.
var helpers = map[string]func(argument string) error{
	"look": func(id string) error { // tvsctld-inspect@.service
		result, err := look.Look("/", id)
		if err != nil {
			return err
		}
		return look.Write(look.Dir, result)
	},
	"hangup": func(instance string) error { // tvsctld-hangup@.service
		id, number, _ := strings.Cut(instance, "-")
		pid, err := strconv.Atoi(number)
		if err != nil {
			return fmt.Errorf("cannot hang up %q: give CONTAINER-PID", instance)
		}
		return look.HangUp("/", id, pid)
	},
}

// help runs a helper and returns the exit status.
func help(name string, do func(string) error, args []string, stderr io.Writer) int {
	if len(args) != 1 {
		fmt.Fprintf(stderr, "tvsctld: %s takes one argument\n", name)
		return exitUsage
	}
	if err := do(args[0]); err != nil {
		fmt.Fprintf(stderr, "tvsctld: %v\n", err)
		return exitFailure
	}
	return 0
}
