package main

import (
	"bytes"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestManPage: tvsctld(8) explains every flag, and none that is not there.
func TestManPage(t *testing.T) {
	content, err := os.ReadFile("../../docs/man/tvsctld.8")
	if err != nil {
		t.Fatal(err)
	}
	page := strings.ReplaceAll(string(content), `\-`, "-")
	var help bytes.Buffer
	if status := run([]string{"-help"}, &help); status != 0 {
		t.Fatalf("tvsctld -help: %d", status)
	}
	flags := regexp.MustCompile(`(?m)^  -([a-z-]+)`).FindAllStringSubmatch(help.String(), -1)
	explained := regexp.MustCompile(`(?m)^\.TP\n\.BI? -([a-z-]+)`).FindAllStringSubmatch(page, -1)
	if len(flags) < 5 || len(flags) != len(explained) {
		t.Errorf("%d flags, %d are explained", len(flags), len(explained))
	}
	for _, flag := range flags {
		if !slices.ContainsFunc(explained, func(e []string) bool { return e[1] == flag[1] }) {
			t.Errorf("tvsctld(8) does not explain -%s", flag[1])
		}
	}
}
