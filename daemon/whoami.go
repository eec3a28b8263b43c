package daemon

import (
	"net/http"
	"strconv"

	"tvsctl/ipc"
	"tvsctl/policy"
)

// getWhoami tells the caller who it is here, and what the policy gives it.
func getWhoami(d *Daemon, r *http.Request) (any, error) {
	who, _ := peerOf(r.Context())
	answer := ipc.Whoami{User: who.name(), UID: who.UID, GIDs: who.gids(), Groups: d.names.groups(who.gids()), Policy: d.policy().Hash(),
		Files: d.policy().Files(), Grants: []ipc.Grant{}}
	for _, g := range d.policy().Summary(d.subjectOf(r.Context())) {
		effect := "allow"
		if g.Deny {
			effect = "deny"
		}
		answer.Grants = append(answer.Grants, ipc.Grant{Rule: g.Rule, Source: g.Source, Through: g.Through, Effect: effect, Role: g.Role, Verbs: g.Verbs,
			Projects: g.Projects, Services: g.Services, Units: g.Units, Images: g.Images, Sockets: g.Sockets, MaxReplicas: g.MaxReplicas, Rate: g.Rate})
	}
	return answer, nil
}

// getCanI tells the caller whether it may do something, and which rule says so. It is
// about the rules alone: that the target exists is not looked at.
func getCanI(d *Daemon, r *http.Request) (any, error) {
	query := r.URL.Query()
	verb, err := policy.ParseVerb(query.Get("verb"))
	if err != nil {
		return nil, badRequest("%v", err)
	}
	q := policy.Request{Verb: verb, Image: query.Get("image"),
		Target: policy.Target{Project: query.Get("project"), Service: query.Get("service"), Unit: query.Get("unit")}}
	if text := query.Get("replicas"); text != "" {
		if q.Replicas, err = strconv.Atoi(text); err != nil || q.Replicas < 0 {
			return nil, badRequest("%q is not a number of replicas", text)
		}
	}
	if info, _ := verb.Info(); !info.Suits(q.Target) {
		return nil, badRequest("%s is nothing that is done to %s", verb, q.Target)
	}
	decision := d.policy().Decide(d.subjectOf(r.Context()), q)
	return ipc.Verdict{Allowed: decision.Allowed, Default: decision.Default, Rule: decision.Rule, Source: decision.Source, Reason: decision.Reason, Policy: d.policy().Hash()}, nil
}
