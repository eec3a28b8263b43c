package main

import (
	"strconv"
	"strings"

	"github.com/spf13/cobra"
)

// replicaArgument reads SERVICE or SERVICE.N; number is 0 where none is given.
func replicaArgument(cmd *cobra.Command, text string) (service string, number int, err error) {
	service = text
	if at := strings.LastIndexByte(text, '.'); at >= 0 && numberLike.MatchString(text[at+1:]) {
		service = text[:at]
		if number, err = strconv.Atoi(text[at+1:]); err != nil || number < 1 {
			return "", 0, usagef(cmd, "cannot %s %s: %s is not the number of a replica", cmd.Name(), text, text[at+1:])
		}
	}
	if service == "." || service == ".." { // another path on the wire
		return "", 0, usagef(cmd, "cannot %s %q: it is not a service", cmd.Name(), service)
	}
	service, err = serviceArgument(cmd, service)
	return service, number, err
}
