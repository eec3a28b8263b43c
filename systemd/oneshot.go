package systemd

import "context"

// Run runs a unit of Type=oneshot from its beginning, also when it runs already, and
// returns the exit status of its program. A status that the unit does not count as a
// success is an error.
func (u *Units) Run(ctx context.Context, unit string) (status int, err error) {
	before, err := u.Unit(ctx, unit)
	if err != nil {
		return 0, err
	}
	if before.Missing() {
		return 0, &RefusedError{Doing: "start " + unit, Problem: NoSuchUnit, Text: "it is not installed"}
	}
	after, err := u.Do(ctx, Job{Verb: "restart", Before: before.Mark()})
	if err != nil {
		return 0, err
	}
	return after.ExitStatus, nil
}
