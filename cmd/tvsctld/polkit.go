package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"tvsctl/daemon"
)

// writePolkitRule is the subcommand that tvsctld-polkit.service runs as root, which
// can neither read nor write polkit's rules.
func writePolkitRule(args []string, _, stderr io.Writer) int {
	flags := flag.NewFlagSet("tvsctld polkit-rule", flag.ContinueOnError)
	flags.SetOutput(stderr)
	rule := flags.String("rule", "/etc/polkit-1/rules.d/60-tvsctld.rules", "write the rule to `FILE`, unless that says so already")
	user := flags.String("user", "tvsctld", "whom the rule is for")
	var config daemon.Config
	configured(flags, &config)
	if err := flags.Parse(args); err != nil {
		return exitUsage
	}
	text, problems := daemon.PolkitRule(config, *user)
	for _, err := range problems {
		fmt.Fprintf(stderr, "tvsctld: %v\n", err)
	}
	for _, path := range []string{*rule, daemon.PolkitCopy} {
		if err := replace(path, text); err != nil {
			fmt.Fprintf(stderr, "tvsctld: cannot write the polkit rule: %v\n", err)
			return exitFailure
		}
	}
	return 0
}

// replace writes a file that others watch: whole, and only when it changes. Without text
// it is removed; where polkit is not installed there is nothing to write.
func replace(path string, text []byte) error {
	before, err := os.ReadFile(path)
	switch {
	case err == nil && bytes.Equal(before, text), errors.Is(err, fs.ErrNotExist) && len(text) == 0:
		return nil
	case len(text) == 0:
		return os.Remove(path)
	}
	if _, err := os.Stat(filepath.Dir(path)); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err := os.WriteFile(path+".new", text, 0o644); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}
