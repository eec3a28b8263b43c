package main

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"tvsctl/ipc"
)

// numberLike is what was meant as a number, be it usable or not.
var numberLike = regexp.MustCompile(`^[+-]?[0-9]+$`)

// parseCount reads a number of replicas; subject, which may be empty, is what
// it is for. How many a service may have is the daemon's to judge.
func parseCount(cmd *cobra.Command, subject, text string) (int, error) {
	what := strings.TrimSpace(cmd.Name() + " " + subject)
	if strings.Trim(text, "0123456789") != "" || text == "" {
		err := usagef(cmd, "cannot %s: %q is not a number of replicas", what, text)
		if strings.HasPrefix(text, "+") && numberLike.MatchString(text) {
			err.Hint = fmt.Sprintf("to have %s more: tvsctl inc %s", text[1:], strings.TrimSpace(text[1:]+" "+subject))
		} else if numberLike.MatchString(text) {
			err.Hint = fmt.Sprintf("to have %s fewer: tvsctl dec %s", text[1:], strings.TrimSpace(text[1:]+" "+subject))
		}
		return 0, err
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		return 0, &ipc.Error{Code: ipc.CodeOutOfRange,
			Message: fmt.Sprintf("cannot %s: %s is out of range: no service has that many replicas", what, text),
			Hint:    fmt.Sprintf("at most %d, or what the label tvs.scale.max says", ipc.MaxReplicas)}
	}
	return n, nil
}
