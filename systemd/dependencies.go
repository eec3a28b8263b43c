package systemd

import (
	"context"
	"slices"
	"strings"
)

// The properties that systemctl list-dependencies follows, and those in reverse.
var (
	forward  = []string{"Requires", "Requisite", "Wants", "ConsistsOf", "BindsTo", "Upholds"}
	backward = []string{"RequiredBy", "RequisiteOf", "WantedBy", "PartOf", "BoundBy", "UpheldBy"}
)

// relations are all properties that name other units and that something here follows.
var relations = func() map[string]bool {
	all := map[string]bool{"TriggeredBy": true}
	for _, name := range slices.Concat(forward, backward) {
		all[name] = true
	}
	return all
}()

// Node is a unit with what it depends on.
type Node struct {
	ID     string
	Active string
	Needs  []string // sorted; empty for one that is not followed further
}

// Dependencies returns the units that a unit depends on, directly or not, the unit itself
// first; or in reverse those that depend on it. As systemctl does, it follows other units
// than the first and targets only with all.
func (u *Units) Dependencies(ctx context.Context, unit string, reverse, all bool) (nodes []Node, err error) {
	follow := forward
	if reverse {
		follow = backward
	}
	err = u.persist(ctx, func(b *bus) error {
		nodes = nil
		seen := map[string]bool{unit: true}
		for next := []string{unit}; len(next) > 0; next = next[1:] {
			found, err := b.unitFrom(ctx, next[0], unitIface)
			if err != nil {
				return err
			}
			node := Node{ID: next[0], Active: found.ActiveState}
			if len(nodes) == 0 || all || strings.HasSuffix(found.ID, ".target") {
				node.Needs = found.relatives(follow)
			}
			nodes = append(nodes, node)
			for _, name := range node.Needs {
				if !seen[name] {
					seen[name] = true
					next = append(next, name)
				}
			}
		}
		return nil
	})
	return nodes, err
}

// relatives returns the units in the given properties, sorted, each once.
func (u *Unit) relatives(names []string) []string {
	var list []string
	for _, name := range names {
		list = append(list, u.related[name]...)
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// unitFrom looks at one interface of a unit.
func (b *bus) unitFrom(ctx context.Context, name, iface string) (*Unit, error) {
	return b.unitAt(ctx, "look at "+name, unitPath(name), iface)
}

// pulled are the dependencies that a start starts too.
var pulled = []string{"Requires", "BindsTo", "Wants", "Upholds"}

// Isolation returns the units that are up and that isolating a unit would stop: all but it
// and what its start pulls in, what the kept ones are triggered by, and those that ignore
// an isolation (systemctl(1)).
func (u *Units) Isolation(ctx context.Context, unit string) (stop []string, err error) {
	err = u.persist(ctx, func(b *bus) error {
		stop = nil
		kept := map[string]bool{}
		for next := []string{unit}; len(next) > 0; next = next[1:] {
			found, err := b.unitFrom(ctx, next[0], unitIface)
			if err != nil {
				return err
			}
			if kept[found.ID] || found.LoadState != "loaded" {
				continue
			}
			kept[found.ID] = true
			next = append(next, found.relatives(pulled)...)
		}
		var listed []listed
		if err := b.call(ctx, "list the units", managerPath, manager+".ListUnits", nil, &listed); err != nil {
			return err
		}
		for _, l := range listed {
			if l.Following != "" || kept[l.ID] || l.Active == "inactive" || l.Active == "failed" {
				continue
			}
			found, err := b.unitAt(ctx, "look at "+l.ID, l.Path, unitIface)
			if err != nil {
				return err
			}
			if found.IgnoreOnIsolate || slices.ContainsFunc(found.related["TriggeredBy"], func(name string) bool { return kept[name] }) {
				continue
			}
			stop = append(stop, l.ID)
		}
		slices.Sort(stop)
		return nil
	})
	return stop, err
}
