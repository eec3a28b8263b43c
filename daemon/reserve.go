package daemon

import (
	"fmt"
	"maps"

	"tvsctl/ipc"
)

const (
	// maxQueued bounds how many operations of one project run or wait for their turn, and
	// maxQueuedByUser how many of them are one user's: the others need a turn too. Of root
	// only its own count.
	maxQueued       = 32
	maxQueuedByUser = maxQueued / 2
)

// butRoots is how much of a bound on the whole host is for others than root: a sixteenth,
// 16 at most, is kept. Whoever fills the rest must not keep out who could end that.
func butRoots(most bound, uid uint32) int {
	if uid == 0 {
		return int(most)
	}
	return int(most - min(most/16, 16))
}

// place is what an operation takes up.
type place struct {
	uid     uint32
	project string // "": of a unit
}

func (o *operation) place() place { return place{o.record.UID, o.record.Project} }

// reserve makes room for an operation until release, by when it is admitted or was
// refused. The daemon's own are always let in.
func (d *Daemon) reserve(o *operation, who peer) (release func(), refused error) {
	id, own := o.record.ID, place{who.UID, o.record.Project}
	d.mu.Lock()
	defer d.mu.Unlock()
	if full := d.full(own, who); full != "" && !who.itself {
		return nil, &ipc.Error{Code: ipc.CodeBusy, Message: fmt.Sprintf("cannot %s: %s", o.record.Summary, full), Hint: "see tvsctl ops"}
	}
	d.reserved[id] = own
	return func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		delete(d.reserved, id)
	}, nil
}

// full says why there is no room for an operation, or "". mu is held.
func (d *Daemon) full(own place, who peer) string {
	all, bounds := maps.Clone(d.reserved), d.settings.Load()
	for id, o := range d.running {
		all[id] = o.place()
	}
	ofUser, ofProject, ofBoth := 0, 0, 0
	for _, p := range all {
		if p.uid == own.uid {
			ofUser++
		}
		if p.project == own.project {
			ofProject++
		}
		if p == own {
			ofBoth++
		}
	}
	root := own.uid == 0
	switch {
	case len(all) >= butRoots(bounds.MaxOperations, own.uid):
		return fmt.Sprintf("%d operations run or wait already", len(all))
	case !root && ofUser >= int(bounds.MaxOperationsPerUser):
		return fmt.Sprintf("%d operations of %s run or wait already", ofUser, who.name())
	case own.project == "":
	case root && ofBoth >= maxQueued, !root && ofProject >= maxQueued:
		return fmt.Sprintf("%d operations of project %s wait already", ofProject, own.project)
	case !root && ofBoth >= maxQueuedByUser:
		return fmt.Sprintf("%d operations of %s in project %s wait already", ofBoth, who.name(), own.project)
	}
	return ""
}
