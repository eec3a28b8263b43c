package daemon

import (
	"context"
	"maps"
	"slices"

	"tvsctl/dockerops"
)

// decideCounts returns with how many replicas compose is to bring up the services that
// its files know, and keeps them as desired: one that is interrupted, or fails half way,
// goes on to the same. What somebody else scaled is adopted, but not what compose itself
// left when it was last interrupted.
func (s *site) decideCounts(before *dockerops.Project, known map[string]dockerops.ServiceConfig) (map[string]int, error) {
	counts := map[string]int{}
	err := s.d.state.update(s.name, func(k *projectState) {
		for service, count := range k.Desired {
			if !has(known, service) {
				continue
			}
			if n := existingCount(before, service); n > 0 && !k.Midway {
				count = n
			}
			k.Desired[service], counts[service] = count, count
		}
		k.Midway = true
	})
	return counts, notBegun("bring up "+s.name, err)
}

// midway keeps whether compose has begun to make another of the project and not ended that.
func (s *site) midway(is bool) error {
	return s.d.state.update(s.name, func(k *projectState) { k.Midway = is })
}

// forgetGone forgets what is kept of the services that the files no longer have. One in a
// profile that is not active they have, and one with containers is still there.
func (s *site) forgetGone(ctx context.Context, compose dockerops.Compose, p *dockerops.Project, known map[string]dockerops.ServiceConfig) error {
	kept := s.d.state.project(s.name)
	services := slices.Concat(slices.Collect(maps.Keys(kept.Desired)), slices.Collect(maps.Keys(kept.Specs)), slices.Collect(maps.Keys(kept.Limits)))
	services = slices.DeleteFunc(services, func(service string) bool { return has(known, service) || existingCount(p, service) > 0 })
	if len(services) == 0 {
		return nil
	}
	compose.Files.Profiles = []string{"*"}
	all, err := compose.Config(ctx)
	if err != nil {
		return nil // other profiles may need what this one does not: then it is not known what is gone
	}
	return s.d.state.update(s.name, func(k *projectState) {
		for _, service := range services {
			if !has(all, service) {
				delete(k.Desired, service)
				delete(k.Specs, service)
				delete(k.Limits, service)
			}
		}
	})
}

func has(known map[string]dockerops.ServiceConfig, service string) bool {
	_, there := known[service]
	return there
}
