package dockerops

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
)

// Reason names why a change is refused.
type Reason int

const (
	UnknownService Reason = iota + 1
	NotScalable
	OutOfRange
	Unsupported // by the kernel of the host
)

// RefusedError is a change that cannot be planned; nothing was touched.
type RefusedError struct {
	Verb    string // "" means scale
	Reason  Reason
	Service string
	Text    string // "port 8080/tcp is published on the fixed host port 80"
	Hint    string
}

func (e *RefusedError) Error() string {
	return fmt.Sprintf("cannot %s %s: %s", cmp.Or(e.Verb, "scale"), e.Service, e.Text)
}

// Check tells whether the goals are possible: services that exist, counts that are there
// already or between the service's own bounds and most, nothing that only one container
// can have.
func Check(p *Project, goals map[string]Goal, most int) error {
	for _, name := range slices.Sorted(maps.Keys(goals)) {
		goal, service := goals[name], p.Service(name)
		refuse := func(reason Reason, hint, format string, args ...any) error {
			return &RefusedError{Reason: reason, Service: name, Text: fmt.Sprintf(format, args...), Hint: hint}
		}
		if service == nil {
			return refuse(UnknownService, "", "project %s has no such service", p.Name)
		}
		if !goal.Running && goal.Count == len(service.Replicas) {
			continue // a stop changes no count
		}
		s, limit, bound := service.Settings, most, "tvs.scale."
		if service.Units != nil {
			bound = ""
		}
		if s.Max > 0 {
			limit = min(limit, s.Max)
		}
		switch why := service.Unscalable(); {
		case service.Units != nil && why != "":
			return refuse(NotScalable, "see tvsctl unit --help", "%s", why)
		case goal.Count == len(service.Replicas) && (service.Units == nil || goal.Count <= limit):
			// Their number does not change, and may be out of bounds; for more units there are no ports.
		case len(s.Balances) > 0 && goal.Count != 1:
			return refuse(NotScalable, "name the service behind it", "it is the nginx of the project")
		case goal.Count > limit && s.Max > 0:
			return refuse(OutOfRange, "", "%d is above its %smax of %d", goal.Count, bound, s.Max)
		case goal.Count < 0 || goal.Count > limit:
			return refuse(OutOfRange, "", "%d is not a number of replicas from 0 to %d", goal.Count, limit)
		case goal.Count > 0 && goal.Count < s.Min:
			return refuse(OutOfRange, "", "%d is below its %smin of %d", goal.Count, bound, s.Min)
		case goal.Count > 1 && goal.Count > len(service.Replicas) && why != "":
			return refuse(NotScalable, "change that in the compose file, then docker compose up -d", "%s", why)
		case service.Spec != nil && goal.Count > len(service.Replicas) && service.Spec.Separator == "":
			return refuse(NotScalable, "bring it up with docker compose", "%s", why)
		}
	}
	return nil
}
