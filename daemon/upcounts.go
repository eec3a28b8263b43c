package daemon

import (
	"tvsctl/dockerops"
	"tvsctl/ipc"
)

// decideCounts returns with how many replicas compose is to bring up the services that
// its files know, and keeps them as desired: one that is interrupted, or fails half way,
// goes on to the same. What somebody else scaled is adopted, but not what compose itself
// left when it was last interrupted.
func (s *site) decideCounts(before *dockerops.Project, known map[string]dockerops.ServiceConfig) (map[string]int, error) {
	counts := map[string]int{}
	err := s.d.state.update(s.name, func(k *projectState) {
		for service, count := range k.Desired {
			if _, there := known[service]; !there {
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

// notBegun is the refusal of what cannot be kept before it is begun; nil for nil.
func notBegun(doing string, err error) error {
	if err == nil {
		return nil
	}
	return &ipc.Error{Code: ipc.CodeState, Message: "cannot " + doing + ": " + err.Error(), Hint: stateHint}
}
