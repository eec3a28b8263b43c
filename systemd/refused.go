package systemd

import (
	"fmt"
	"strings"
)

// Problem is a kind of refusal.
type Problem int

const (
	// Other is a refusal for a reason that its text gives: the unit is masked, has
	// nothing to reload, may only be started as a dependency.
	Other Problem = iota
	// NoSuchUnit means that the manager knows no such unit or unit file.
	NoSuchUnit
	// Already means that what was asked for is so.
	Already
	// Gone means that there is no such job or unit any more.
	Gone
	// Denied means that neither the caller's uid nor polkit lets it do this.
	Denied
)

var problems = map[string]Problem{
	"org.freedesktop.systemd1.AlreadySubscribed":                  Already,
	"org.freedesktop.systemd1.NoSuchUnit":                         NoSuchUnit,
	"org.freedesktop.DBus.Error.FileNotFound":                     NoSuchUnit,
	"org.freedesktop.DBus.Error.UnknownObject":                    Gone,
	"org.freedesktop.DBus.Error.UnknownMethod":                    Gone,
	"org.freedesktop.DBus.Error.UnknownInterface":                 Gone,
	"org.freedesktop.DBus.Error.AccessDenied":                     Denied,
	"org.freedesktop.DBus.Error.InteractiveAuthorizationRequired": Denied,
	"org.freedesktop.DBus.Error.AuthFailed":                       Denied,
	"org.freedesktop.PolicyKit1.Error.NotAuthorized":              Denied,
}

// RefusedError is what the service manager answered that it would not do.
type RefusedError struct {
	Doing   string // "start nginx.service"
	Problem Problem
	Text    string // as systemd says it
}

func (e *RefusedError) Error() string {
	return fmt.Sprintf("cannot %s: %s", e.Doing, strings.TrimSuffix(e.Text, "."))
}
