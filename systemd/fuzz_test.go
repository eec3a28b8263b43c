package systemd

import (
	"errors"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/coreos/go-systemd/v22/unit"
)

// FuzzUnitName: what is a name is complete, has its bounds and letters, and comes back from
// the escaping of a helper's instance; anything else is refused in one line.
func FuzzUnitName(f *testing.F) {
	for _, text := range []string{"", "nginx", "a.service", "a@b.service", "a@.socket", "/", "/dev/sda1", "/srv/../etc/", "//.a", `dev-disk\x2d1.device`, "-", "..", ".service", "@",
		"a b", "a/b", "ünit", "a\x00", "\xff", "a*", strings.Repeat("a", 247), strings.Repeat("/a", 200)} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		name, err := UnitName(text)
		pattern, noPattern := UnitPattern(text)
		if err != nil {
			var wrong *NameError
			if !errors.As(err, &wrong) || name != "" || strings.Contains(err.Error(), "\n") {
				t.Errorf("%q: %q, %v", text, name, err)
			}
			return
		}
		if !strings.ContainsAny(text, "*?[") && (pattern != name || noPattern != nil) {
			t.Errorf("%q is %q, as a pattern %q, %v", text, name, pattern, noPattern)
		}
		if again, err := UnitName(name); again != name || err != nil {
			t.Errorf("%q is %q, and that %q, %v", text, name, again, err)
		}
		if len(name) > 255 || !slices.Contains(Suffixes, path.Ext(name)) || name == path.Ext(name) || strings.ContainsAny(name, "/ *?[]\n\x00") {
			t.Errorf("%q is %q", text, name)
		}
		helper := UnitFileHelper("mask", name)
		_, instance, _ := strings.Cut(strings.TrimSuffix(helper, ".service"), "@")
		if back := unit.UnitNameUnescape(instance); back != "mask:"+name {
			t.Errorf("%q has the helper %s, which is for %q", name, helper, back)
		}
	})
}

// FuzzUnitFileListed: a list has the changes of its lines, literally and one by one.
func FuzzUnitFileListed(f *testing.F) {
	for _, list := range []string{"", "enable a.service", "# enable a.service\n", " enable\ta.service # x\r\n", "enable a.service b.service", "enable\na.service", "enable *", "enable a.service\x00", "\xff"} {
		f.Add([]byte(list), "enable", "a.service")
	}
	f.Add([]byte("enable #"), "enable", "#")
	f.Add([]byte("enable"), "enable", "")
	file := filepath.Join(f.TempDir(), "list")
	f.Fuzz(func(t *testing.T, list []byte, verb, name string) {
		if err := os.WriteFile(file, list, 0o600); err != nil {
			t.Fatal(err)
		}
		err := UnitFileListed(file, os.Geteuid(), verb, name)
		if err != nil && !errors.Is(err, ErrNotListed) {
			t.Fatalf("%q: %v", list, err)
		}
		found := false
		for line := range strings.SplitSeq(string(list), "\n") {
			line, _, _ = strings.Cut(line, "#")
			words := strings.Fields(line)
			found = found || len(words) == 2 && words[0] == verb && words[1] == name
		}
		if found != (err == nil) {
			t.Errorf("%q has %q %q: %v, want %v", list, verb, name, err, found)
		}
	})
}
