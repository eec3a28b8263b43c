package daemon

import (
	"context"
	"maps"
	"slices"

	"tvsctl/dockerops"
	"tvsctl/ipc"
	"tvsctl/policy"
)

// mountsSockets says what of the sockets that control this host a stack mounts, "" for
// none: the first service that does so is enough.
func mountsSockets(services map[string]dockerops.ServiceConfig) string {
	for _, name := range slices.Sorted(maps.Keys(services)) {
		if mounts := services[name].Sockets; mounts != "" {
			return mounts
		}
	}
	return ""
}

// permitSockets decides whether the caller, who may bring up the project, may do so
// although it mounts such sockets. A rate has counted the command already.
func (d *Daemon) permitSockets(ctx context.Context, project, mounts string) error {
	q := policy.Request{Verb: policy.Up, Target: policy.Target{Project: project}, Sockets: mounts}
	decision := d.policy().Decide(d.subjectOf(ctx), q)
	if !decision.Allowed {
		return d.refused(ctx, q, decision)
	}
	who, _ := peerOf(ctx)
	d.grant(ctx, who, []policy.Request{q}, []policy.Decision{decision})
	return nil
}

// mayMount refuses what was not decided on: the compose file can have changed since.
func (j job) mayMount(mounts string) error {
	if mounts == "" || j.Sockets {
		return nil
	}
	return &ipc.Error{Code: ipc.CodeForbidden, Message: "cannot " + j.verb() + ": " + mounts + ", which was not so when it was asked for", Hint: "ask again"}
}
