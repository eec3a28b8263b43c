//go:build !faults

// Package fault gives every side effect of tvsctld a label, so that a test can end the
// daemon, or let the effect fail, right before or after any of them. That takes a build
// with the tag faults; in any other, which is what gets installed, Do only does.
package fault

// Do carries out the side effect of that label.
func Do(_ string, effect func() error) error { return effect() }
