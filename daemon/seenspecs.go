package daemon

import (
	"fmt"
	"slices"

	"tvsctl/dockerops"
)

// keepSpecs keeps from what the replicas are made now, where a count is desired: what grows
// from none is made as it was last seen, whoever made that. kept is the state before the
// project was looked at. What an operation changes, it keeps itself.
func (s *site) keepSpecs(w *watcher, kept projectState, p *dockerops.Project) {
	seen := map[string]*dockerops.Spec{}
	for _, service := range p.Services {
		_, asked := kept.Desired[service.Name]
		if asked && kept.Rollouts[service.Name] == nil && made(&service) && !service.Spec.Same(kept.Specs[service.Name]) {
			seen[service.Name] = service.Spec
		}
	}
	if len(seen) == 0 || s.changing() {
		return
	}
	err := s.d.state.update(s.name, func(k *projectState) {
		for name, spec := range seen {
			if k.Rollouts[name] == nil {
				k.Specs[name] = spec
			}
		}
	})
	if err != nil && !w.unkept {
		s.d.log.error(eventState, fmt.Sprintf("Cannot keep from what the replicas of %s are made: %v.", s.name, err), fields{"TVS_PROJECT": s.name})
	}
	w.unkept = err != nil
}

// made reports whether a service's replicas show from what they are made: one that compose
// is about to make has another name and not yet all of its networks.
func made(service *dockerops.Service) bool {
	return service.Spec != nil && service.Spec.Separator != "" && len(service.Settings.Balances) == 0 && len(service.Replicas) > 0 &&
		!slices.ContainsFunc(service.Replicas, func(r dockerops.Replica) bool { return r.State == "created" })
}
