package daemon

import (
	"context"
	"maps"
	"slices"
	"strings"

	"tvsctl/ipc"
	"tvsctl/policy"
)

// auditKinds are the kinds of events that tell what somebody ran, or was allowed or not:
// the audit, as it is written.
var auditKinds = []string{"exec", "allowed", "refused"}

// auditOnly are those that only the audit has of what anybody may follow: who the
// caller is beyond the user, and how it was decided.
var auditOnly = []string{"TVS_PID", "TVS_GIDS", "TVS_LOGINUID", "TVS_DECISION", "TVS_RULE", "TVS_POLICY", "TVS_COMMAND", "TVS_SESSION"}

// told returns what the caller is told of an event, if anything.
func (d *Daemon) told(ctx context.Context, e ipc.HostEvent) (_ ipc.HostEvent, shown bool) {
	if !d.showsEvent(ctx, e) {
		return e, false
	}
	if d.audits(ctx, e) {
		return e, true
	}
	e.Fields = maps.Clone(e.Fields) // others follow too
	maps.DeleteFunc(e.Fields, func(name, _ string) bool { return slices.Contains(auditOnly, name) })
	return e, !slices.Contains(auditKinds, e.Kind)
}

// audits reports whether the caller may read who did what to that which an event is about:
// a unit, a service, and where none is named all of the project, or all of the host.
func (d *Daemon) audits(ctx context.Context, e ipc.HostEvent) bool {
	about := policy.Target{Project: e.Fields["TVS_PROJECT"]}
	if services := strings.Fields(e.Fields["TVS_SERVICE"]); len(services) == 1 {
		about.Service = services[0]
	}
	if unit := e.Fields["TVS_UNIT"]; unit != "" {
		about = policy.Target{Unit: unit}
	}
	return d.policy().Decide(d.subjectOf(ctx), policy.Request{Verb: policy.Audit, Target: about}).Allowed
}
