package daemon

import (
	"context"
	"slices"

	"tvsctl/dockerops"
	"tvsctl/ipc"
	"tvsctl/policy"
)

// permitLogs refuses who may not read the logs of a service that is named, also where it
// has no replica now. Without names it refuses who may read none of the services that are
// meant; what of them is not theirs is left out as it is read (mayRead).
func (d *Daemon) permitLogs(ctx context.Context, p *dockerops.Project, names []string) error {
	var refused func() error
	for _, name := range logNames(p, names) {
		q := policy.Request{Verb: policy.Logs, Target: policy.Target{Project: p.Name, Service: name}}
		if service, _ := serviceNamed(p, name); service != nil {
			q.Target.Service = service.Name
		}
		decision := d.policy().Decide(d.subjectOf(ctx), q)
		if decision.Allowed && len(names) == 0 {
			return nil
		}
		if !decision.Allowed && refused == nil {
			refused = func() error { return d.refused(ctx, q, decision) }
		}
	}
	if refused == nil {
		return nil
	}
	return refused()
}

// mayRead reports whether the caller may read a line, or any of its replica or unit, by
// the rules that are in force now: what is followed lasts longer than they may.
func (l *logReader) mayRead(of ipc.LogLine) bool {
	if rules := l.d.policy(); l.rules != rules {
		l.rules, l.readable = rules, map[policy.Target]bool{}
	}
	target := policy.Target{Project: l.request.Project, Service: of.Service}
	asks := []policy.Request{{Verb: policy.Logs, Target: target}}
	if of.Service == "" {
		target = policy.Target{Unit: of.Name}
		asks = logsOfUnit(of.Name)
	}
	may, decided := l.readable[target]
	if !decided {
		may = allows(l.rules, l.d.subjectOf(l.ctx), asks)
		l.readable[target] = may
	}
	return may
}

// logsOfUnit is what is asked of the policy for the log of a unit. That of tvsctld is the
// audit: it has what everybody ran, or was refused.
func logsOfUnit(id string) []policy.Request {
	about := policy.Target{Unit: id}
	requests := []policy.Request{{Verb: policy.Logs, Target: about}}
	if id == ownUnit {
		requests = append(requests, policy.Request{Verb: policy.Audit, Target: about})
	}
	return requests
}

// allows reports whether all the requests are allowed, as a look that leaves no record.
func allows(rules *policy.Policy, who policy.Subject, requests []policy.Request) bool {
	return !slices.ContainsFunc(requests, func(q policy.Request) bool { return !rules.Decide(who, q).Allowed })
}
