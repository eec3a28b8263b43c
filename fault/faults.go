//go:build faults

// Package fault gives every side effect of tvsctld a label, so that a test can end the
// daemon, or let the effect fail, right before or after any of them.
package fault

import "sync/atomic"

// Hook is asked before and after each side effect. What it returns the effect fails
// with; it need not return at all.
var Hook atomic.Pointer[func(label string, after bool) error]

// Do carries out the side effect of that label.
func Do(label string, effect func() error) error {
	if err := ask(label, false); err != nil {
		return err
	}
	if err := effect(); err != nil {
		return err
	}
	return ask(label, true)
}

func ask(label string, after bool) error {
	if hook := Hook.Load(); hook != nil {
		return (*hook)(label, after)
	}
	return nil
}
