package policy

import (
	"flag"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
)

const (
	manPage    = "../docs/man/tvsctld-policy.5"
	verbsBegin = ".\\\" From here to the end of the verbs: make docs.\n"
	verbsEnd   = ".\\\" The end of the verbs.\n"
)

var update = flag.Bool("update", false, "write the verbs in "+manPage+" anew")

// TestManPage: tvsctld-policy(5) knows every key and verb, and what it shows is a policy.
func TestManPage(t *testing.T) {
	content, err := os.ReadFile(manPage)
	if err != nil {
		t.Fatal(err)
	}
	page := string(content)
	before, rest, begins := strings.Cut(page, verbsBegin)
	_, after, ends := strings.Cut(rest, verbsEnd)
	if !begins || !ends {
		t.Fatalf("%s has no place for the verbs", manPage)
	}
	want := before + verbsBegin + verbTable() + verbsEnd + after
	if *update {
		if err := os.WriteFile(manPage, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if page != want {
		t.Errorf("%s is stale: make docs", manPage)
	}
	for key := range keys {
		if !strings.Contains(page, ".TP\n.B "+key+"\n") {
			t.Errorf("%s does not explain the key %s", manPage, key)
		}
	}
	examples := regexp.MustCompile(`(?s)\.EX\n(\[\[rule.*?)\.EE`).FindAllStringSubmatch(page, -1)
	if len(examples) < 4 {
		t.Errorf("%s has only %d examples", manPage, len(examples))
	}
	for _, example := range examples {
		text := strings.ReplaceAll(example[1], `\-`, "-")
		if _, err := Parse(manPage, []byte(text)); err != nil {
			t.Errorf("an example is no policy: %v\n%s", err, text)
		}
	}
}

// verbTable renders the verbs by role.
func verbTable() string {
	var w strings.Builder
	for _, role := range Roles() {
		fmt.Fprintf(&w, ".SS %s\n", role)
		for _, v := range Verbs() {
			if v.Role != role {
				continue
			}
			of := "of projects and units"
			switch {
			case !v.Units:
				of = "of projects"
			case !v.Projects:
				of = "of units"
			}
			fmt.Fprintf(&w, ".TP\n.B %s\n%s (%s)\n", strings.ReplaceAll(string(v.Verb), "-", `\-`), strings.ReplaceAll(v.Meaning, "-", `\-`), of)
		}
	}
	return w.String()
}
