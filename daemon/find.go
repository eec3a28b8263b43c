package daemon

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"tvsctl/ipc"
)

// findOperation returns a running or recent operation, or a record from the state.
// An id may be shortened while it is unambiguous among those that the caller may see.
func (d *Daemon) findOperation(ctx context.Context, id string) (*operation, ipc.Operation, error) {
	d.mu.Lock()
	var live []*operation
	for _, o := range d.running {
		live = append(live, o)
	}
	live = append(live, d.recent...)
	d.mu.Unlock()
	found := map[string]ipc.Operation{}
	var running *operation
	for _, record := range d.state.history() {
		if id != "" && strings.HasPrefix(record.ID, id) && d.showsOperation(ctx, record) {
			found[record.ID] = record
		}
	}
	for _, o := range live {
		if record := o.snapshot(); id != "" && strings.HasPrefix(record.ID, id) && d.showsOperation(ctx, record) {
			found[record.ID], running = record, o
		}
	}
	if len(found) != 1 {
		text := "there is no operation " + strconv.Quote(id)
		if len(found) > 1 {
			text = fmt.Sprintf("%d operations begin with %s", len(found), strconv.Quote(id))
		}
		return nil, ipc.Operation{}, &ipc.Error{Code: ipc.CodeUnknownOperation, Message: text, Hint: "see tvsctl ops"}
	}
	for _, record := range found {
		return running, record, nil
	}
	panic("unreachable")
}

// runningIn returns the unfinished operations of a project, oldest first.
func (d *Daemon) runningIn(project string) []ipc.Operation {
	list := []ipc.Operation{}
	for _, o := range d.live() {
		if record := o.snapshot(); record.Project == project && !record.State.Finished() {
			list = append(list, record)
		}
	}
	return list
}

// live returns the operations that run or wait, in the order of their coming.
func (d *Daemon) live() []*operation {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.SortedFunc(maps.Values(d.running), func(a, b *operation) int { return a.number - b.number })
}
