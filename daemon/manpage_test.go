package daemon

import (
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
)

// TestManPage: the configuration that tvsctld(8) shows is read, and shows every key; every
// label is explained.
func TestManPage(t *testing.T) {
	content, err := os.ReadFile("../docs/man/tvsctld.8")
	if err != nil {
		t.Fatal(err)
	}
	page := strings.ReplaceAll(string(content), `\-`, "-")
	examples := regexp.MustCompile(`(?s)\.EX\n(.*?)\.EE`).FindAllStringSubmatch(page, -1)
	if len(examples) != 3 {
		t.Fatalf("the page has %d examples, not those of tvsctld.toml and two of NAME.toml", len(examples))
	}
	dir := t.TempDir()
	for i, name := range []string{"tvsctld.toml", "shop.toml", "units.toml"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(examples[i][1]), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	d := &Daemon{}
	shown, err := readSettings(filepath.Join(dir, "tvsctld.toml"), settings{})
	if err != nil {
		t.Errorf("the page's tvsctld.toml: %v", err)
	}
	everyField(t, reflect.ValueOf(shown))
	defaults := d.defaults()
	defaults.Idle, defaults.Units = shown.Idle, shown.Units
	if !reflect.DeepEqual(shown, defaults) {
		t.Errorf("the page shows %+v, and the defaults are %+v", shown, defaults)
	}
	project, err := readProjectFile(dir, "shop")
	if err != nil {
		t.Errorf("the page's NAME.toml: %v", err)
	}
	instances, err := readProjectFile(dir, "units") // beside the other they would clash
	if err != nil || len(instances.Services) != 1 {
		t.Fatalf("the page's NAME.toml with services: %v, %v", instances.Services, err)
	}
	for _, service := range instances.Services {
		everyField(t, reflect.ValueOf(service))
	}
	project.Services = instances.Services
	everyField(t, reflect.ValueOf(project))

	labels, err := os.ReadFile("../dockerops/labels.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, label := range regexp.MustCompile(`"(tvs\.[a-z.]+)"`).FindAllStringSubmatch(string(labels), -1) {
		if !strings.Contains(page, label[1]) {
			t.Errorf("the page does not explain the label %s", label[1])
		}
	}
}

// everyField wants each key of a configuration to be given; a list may be empty.
func everyField(t *testing.T, v reflect.Value) {
	t.Helper()
	v = reflect.Indirect(v)
	for i := range v.NumField() {
		field, f := v.Type().Field(i), reflect.Indirect(v.Field(i))
		switch {
		case !field.IsExported(), field.Tag.Get("toml") == "-":
		case f.Kind() == reflect.Struct:
			everyField(t, f)
		case !f.IsValid(), f.IsZero():
			t.Errorf("the page does not show the key %s of %s", field.Name, v.Type())
		}
	}
}
