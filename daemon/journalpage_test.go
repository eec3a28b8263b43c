package daemon

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestManPageOfTheJournal: tvsctld(8) names every field that entries have, and every unit
// that helps.
func TestManPageOfTheJournal(t *testing.T) {
	page, err := os.ReadFile("../docs/man/tvsctld.8")
	if err != nil {
		t.Fatal(err)
	}
	text := strings.ReplaceAll(string(page), `\-`, "-")
	_, journal, _ := strings.Cut(text, ".SH JOURNAL\n")
	journal, _, _ = strings.Cut(journal, ".SH ")
	named := strings.FieldsFunc(journal, func(r rune) bool { return r != '_' && (r < 'A' || r > 'Z') })
	known := map[string]bool{}
	for _, word := range named {
		known[word] = true
	}
	_, fields := eventsIn(t)
	for field := range fields {
		if field, _, _ = strings.Cut(field, "="); !known[field] {
			t.Errorf("the page does not name the field %s", field)
		}
	}
	units, err := filepath.Glob("../units/*.service")
	if err != nil || len(units) < 5 {
		t.Fatalf("units %q, %v", units, err)
	}
	for _, unit := range units {
		if !strings.Contains(text, filepath.Base(unit)) {
			t.Errorf("the page does not name %s", filepath.Base(unit))
		}
	}
}
