package systemd

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/coreos/go-systemd/v22/unit"
)

// maxName is the longest name of a unit, in bytes (systemd.unit(5)).
const maxName = 255

// Suffixes are the types of units, as their names end.
var Suffixes = []string{".service", ".socket", ".device", ".mount", ".automount", ".swap", ".target", ".path", ".timer", ".slice", ".scope"}

// NameError is the error of a text that is no name of a unit.
type NameError struct {
	Name string
	Text string
}

func (e *NameError) Error() string { return fmt.Sprintf("%q is no name of a unit: %s", e.Name, e.Text) }

// UnitName completes a name as systemctl does: nginx is nginx.service, /srv is
// srv.mount, and /dev/sda1 a device. What cannot be a name is a NameError.
func UnitName(text string) (string, error) {
	name := text
	switch {
	case strings.HasPrefix(name, "/"):
		clean := path.Clean(name)
		suffix := ".mount"
		if strings.HasPrefix(clean, "/dev/") {
			suffix = ".device"
		}
		name = unit.UnitNamePathEscape(clean) + suffix
	case !hasSuffix(name):
		name += ".service"
	}
	if problem := misnamed(name, ""); problem != "" {
		return "", &NameError{text, problem}
	}
	return name, nil
}

// UnitPattern completes a pattern of shell(7) globs: nginx is nginx.service, php* stays.
func UnitPattern(text string) (string, error) {
	if !strings.ContainsAny(text, "*?[") {
		return UnitName(text)
	}
	if problem := misnamed(text, "*?[]!^"); problem != "" {
		return "", &NameError{text, problem}
	}
	return text, nil
}

func hasSuffix(name string) bool { return slices.Contains(Suffixes, path.Ext(name)) }

// misnamed says what keeps a complete name from being one; besides its letters it may
// have those of also.
func misnamed(name, also string) string {
	if len(name) > maxName {
		return fmt.Sprintf("it is longer than %d characters", maxName)
	}
	for _, r := range name {
		if !strings.ContainsRune(`ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789:-_.\@`+also, r) {
			return fmt.Sprintf("it has a %q", r)
		}
	}
	if strings.HasPrefix(name, ".") || strings.HasPrefix(name, "@") {
		return "it begins with its suffix"
	}
	return ""
}

// Template reports whether a name is that of a template, foo@.service, of which only
// instances can be started.
func Template(name string) bool {
	return strings.HasSuffix(strings.TrimSuffix(name, path.Ext(name)), "@") && strings.Count(name, "@") == 1
}
