package main

import (
	"fmt"
	"io"

	"tvsctl/look"
)

// lookAt is what the unit tvsctld-inspect@.service runs, as root.
func lookAt(args []string, stderr io.Writer) int {
	if len(args) != 1 {
		fmt.Fprintln(stderr, "usage: tvsctld look CONTAINER-ID")
		return exitUsage
	}
	result, err := look.Look("/", args[0])
	if err == nil {
		err = look.Write(look.Dir, result)
	}
	if err != nil {
		fmt.Fprintf(stderr, "tvsctld: %v\n", err)
		return exitFailure
	}
	return 0
}
