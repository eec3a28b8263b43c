package daemon

import (
	"context"
	"fmt"

	"tvsctl/ipc"
)

// allowUnit says whether who asks may do what the verb says with a unit, by its
// resolved id: an alias would hide which one it is.
func (d *Daemon) allowUnit(ctx context.Context, verb, id string) error {
	if p, known := peerOf(ctx); known && p.privileged() {
		return nil
	}
	return &ipc.Error{Code: ipc.CodeForbidden, Message: fmt.Sprintf("cannot use %s of %s: units are for root", verb, id),
		Hint: "ask the administrator of this host"}
}
