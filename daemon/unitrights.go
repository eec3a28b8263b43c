package daemon

import (
	"context"
	"fmt"

	"tvsctl/ipc"
)

// allowUnit reports whether who made the request may do this with the unit, whose id was
// resolved: an alias is no way around. The daemon's own is always allowed.
func (d *Daemon) allowUnit(ctx context.Context, verb, id string) error {
	if p, known := peerOf(ctx); known && (p.itself || p.privileged()) {
		return nil
	}
	return &ipc.Error{Code: ipc.CodeForbidden, Message: fmt.Sprintf("cannot %s %s: the units of this host are for root", verb, id),
		Hint: "ask the administrator of this host"}
}

// seesUnit reports whether who made the request is shown the unit in lists.
func (d *Daemon) seesUnit(ctx context.Context, id string) bool {
	return d.allowUnit(ctx, "status", id) == nil
}
