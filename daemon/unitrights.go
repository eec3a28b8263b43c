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

// allowUnitDryRun decides whether who made the request may know what it would do to the unit.
// As nothing is changed it counts under no rate: the change itself often follows.
func (d *Daemon) allowUnitDryRun(ctx context.Context, verb policy.Verb, id string) error {
	q := policy.Request{Verb: verb, Target: policy.Target{Unit: id}}
	decision := d.policy().Decide(d.subjectOf(ctx), q)
	if !decision.Allowed {
		return d.refused(ctx, q, decision)
	}
	who, _ := peerOf(ctx)
	d.grant(ctx, who, []policy.Request{q}, []policy.Decision{decision})
	return nil
}

// seesUnit reports whether who made the request is shown the unit in lists.
func (d *Daemon) seesUnit(ctx context.Context, id string) bool {
	return d.policy().Sees(d.subjectOf(ctx), policy.Target{Unit: id})
}
