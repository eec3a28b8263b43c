package daemon

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"tvsctl/ipc"
	"tvsctl/policy"
)

// access says who may use a route. The zero access is for nobody: it is what a route
// has that forgot to say.
type access struct {
	kind accessKind
	verb policy.Verb
}

type accessKind int

const (
	_ accessKind = iota
	// open: whoever may connect. It tells of nobody but the caller.
	open
	// filtered: whoever may connect; the reply holds only what the caller may see.
	filtered
	// whole: who may do the verb to all of the path's project.
	whole
	// partly: who may do the verb to something in the path's project; what of it, the
	// handler asks.
	partly
	// onUnit: who may do the verb to the path's unit, by the id that systemd has for its
	// name: the handler asks (unitOf).
	onUnit
	// host: who may do the verb to the whole host.
	host
)

// subject is the caller as the policy knows callers.
func (d *Daemon) subject(p peer) policy.Subject {
	switch {
	case p.itself, p.UID != 0 && p.privileged():
		return policy.Daemon()
	case p.UID == 0:
		return policy.User(0, "root", nil, nil)
	}
	return policy.User(p.UID, p.name(), p.gids(), d.names.groups(p.gids()))
}

// subjectOf is who made a request; one of whom nothing is known may do nothing.
func (d *Daemon) subjectOf(ctx context.Context) policy.Subject {
	p, known := peerOf(ctx)
	if !known {
		return policy.Subject{}
	}
	return d.subject(p)
}

// allow decides what can be decided before the request's body is read.
func (d *Daemon) allow(route route, r *http.Request) error {
	if _, known := peerOf(r.Context()); !known {
		return &ipc.Error{Code: ipc.CodeForbidden, Message: "it is not known who asks"}
	}
	switch route.access.kind {
	case open, filtered, onUnit:
		return nil
	case host:
		return d.permit(r.Context(), policy.Request{Verb: route.access.verb})
	case whole, partly:
		// The only project is found among those that the caller sees.
		name, err := d.projectOf(r)
		if err != nil {
			return err
		}
		r.SetPathValue("project", name)
		if route.access.kind == whole {
			return d.permit(r.Context(), policy.Request{Verb: route.access.verb, Target: policy.Target{Project: name}})
		}
		if info, _ := route.access.verb.Info(); info.Changes && d.policy().May(d.subjectOf(r.Context()), policy.Plan, name) {
			return nil // it may be a dry run
		}
		return d.permitPart(r.Context(), route.access.verb, name)
	}
	return &ipc.Error{Code: ipc.CodeForbidden, Message: fmt.Sprintf("%s %q is for nobody", r.Method, r.URL.Path)}
}

// permitPart refuses who may do the verb to nothing in the project.
func (d *Daemon) permitPart(ctx context.Context, verb policy.Verb, project string) error {
	who := d.subjectOf(ctx)
	if d.policy().May(who, verb, project) {
		return nil
	}
	q := policy.Request{Verb: verb, Target: policy.Target{Project: project}}
	return d.refused(ctx, q, d.policy().Decide(who, q))
}

// permit decides requests that are about to be carried out: all of them are allowed, or
// none is. What was decided is on record, and goes with the context into the record of
// an operation.
func (d *Daemon) permit(ctx context.Context, requests ...policy.Request) error {
	who, _ := peerOf(ctx)
	decisions, allowed := d.limiter.Admit(d.policy(), d.subjectOf(ctx), time.Now(), requests...)
	for i, decision := range decisions {
		if !decision.Allowed {
			return d.refused(ctx, requests[i], decision)
		}
	}
	if !allowed || len(decisions) == 0 {
		return &ipc.Error{Code: ipc.CodeForbidden, Message: "nothing was asked for"}
	}
	d.grant(ctx, who, requests, decisions)
	return nil
}

// permitBeforehand refuses a change, or its dry run, of who may make it of nothing in the
// project, before anything is said of what is there.
func (d *Daemon) permitBeforehand(ctx context.Context, verb policy.Verb, dryRun bool, project string) error {
	if dryRun {
		verb = policy.Plan
	}
	return d.permitPart(ctx, verb, project)
}

// permitGoals decides a change by what it comes to: for each service that it is about,
// and for the whole project where it stops what that depends on.
func (d *Daemon) permitGoals(ctx context.Context, verb policy.Verb, dryRun bool, project string, want intent) error {
	services := slices.Sorted(maps.Keys(want.request.Goals))
	if dryRun {
		return d.permitPlan(ctx, project, services)
	}
	var requests []policy.Request
	for _, name := range services {
		q := policy.Request{Verb: verb, Target: policy.Target{Project: project, Service: name}}
		if want.counted(verb, name) {
			q.Replicas = want.request.Goals[name].Count
		}
		requests = append(requests, q)
	}
	if want.request.StopDependencies {
		requests = append(requests, policy.Request{Verb: verb, Target: policy.Target{Project: project}})
	}
	return d.permit(ctx, requests...)
}

// permitPlan decides whether the caller may know what a change of services would do.
func (d *Daemon) permitPlan(ctx context.Context, project string, services []string) error {
	for _, name := range services {
		q := policy.Request{Verb: policy.Plan, Target: policy.Target{Project: project, Service: name}}
		if decision := d.policy().Decide(d.subjectOf(ctx), q); !decision.Allowed {
			return d.refused(ctx, q, decision)
		}
	}
	return nil
}

// refused is the answer to who may not do what was asked for. That too is on record.
func (d *Daemon) refused(ctx context.Context, q policy.Request, decision policy.Decision) error {
	who, _ := peerOf(ctx)
	text := printable(fmt.Sprintf("cannot %s %s: %s", q.Verb, q.Target, decision.Reason))
	f := d.auditFields(who, q)
	f["TVS_DECISION"], f["TVS_RULE"], f["TVS_ERROR"] = "deny", decision.Rule, string(ipc.CodeForbidden)
	if decision.Default {
		f["TVS_RULE"] = "default" // that it is denied unless a rule allows it
	}
	setRecorded(ctx)
	d.refusals.note(d.log, eventDenied, who, string(q.Verb), fmt.Sprintf("Denied %s: %s.", who.name(), text), f)
	if decision.Retry > 0 {
		return &ipc.Error{Code: ipc.CodeBusy, Message: text, Hint: fmt.Sprintf("try again in %v", decision.Retry.Round(time.Second))}
	}
	hint := "see what you may: tvsctl whoami; the host's administrator writes the rules, /etc/tvsctld/policy.toml"
	return &ipc.Error{Code: ipc.CodeForbidden, Message: text, Hint: hint}
}

// sees reports whether the caller may know of a project.
func (d *Daemon) sees(ctx context.Context, project string) bool {
	return d.policy().Sees(d.subjectOf(ctx), policy.Target{Project: project})
}

// showsOperation reports whether the caller may know of an operation: who may know of a
// part of the project knows of what changes all of it.
func (d *Daemon) showsOperation(ctx context.Context, o ipc.Operation) bool {
	who := d.subjectOf(ctx)
	if o.Unit == "" && len(o.Services) == 0 {
		return d.policy().May(who, policy.Operations, o.Project)
	}
	return slices.ContainsFunc(aboutOperation(policy.Operations, o), func(q policy.Request) bool { return d.policy().Decide(who, q).Allowed })
}

// showsEvent reports whether the caller may see what the journal tells: of a service, of
// a project, or of what concerns the whole host.
func (d *Daemon) showsEvent(ctx context.Context, e ipc.HostEvent) bool {
	if unit := e.Fields["TVS_UNIT"]; unit != "" {
		return d.seesUnit(ctx, unit)
	}
	who, about := d.subjectOf(ctx), policy.Target{Project: e.Fields["TVS_PROJECT"]}
	services := strings.Fields(e.Fields["TVS_SERVICE"])
	switch {
	case len(services) > 0:
		return slices.ContainsFunc(services, func(name string) bool {
			about.Service = name
			return d.policy().Decide(who, policy.Request{Verb: policy.Events, Target: about}).Allowed
		})
	case about.Project != "":
		return d.policy().May(who, policy.Events, about.Project)
	}
	return d.policy().Decide(who, policy.Request{Verb: policy.Events, Target: about}).Allowed
}
