package daemon

import (
	"context"

	"tvsctl/policy"
)

// allowUnit decides whether who made the request may do this with the unit, whose id was
// resolved: an alias is no way around.
func (d *Daemon) allowUnit(ctx context.Context, verb policy.Verb, id string) error {
	return d.permit(ctx, policy.Request{Verb: verb, Target: policy.Target{Unit: id}})
}

// seesUnit reports whether who made the request is shown the unit in lists.
func (d *Daemon) seesUnit(ctx context.Context, id string) bool {
	return d.policy().Sees(d.subjectOf(ctx), policy.Target{Unit: id})
}
