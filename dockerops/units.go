package dockerops

import (
	"fmt"
	"path"
	"strconv"
	"strings"
)

// Units says which units of systemd are the replicas of a service that has no
// containers: the instances of a template, each named after the port that it listens
// on, or one unit alone. Nobody creates or removes an instance: it runs, or it does not.
type Units struct {
	Unit string // "tvsapp@.service"; without @ it is the only one
	Base int    // the first instance's port; 0 where Unit is the only one
}

// Name is the unit that listens on a port.
func (u *Units) Name(port int) string {
	if u.Base == 0 {
		return u.Unit
	}
	suffix := path.Ext(u.Unit)
	return strings.TrimSuffix(u.Unit, suffix) + strconv.Itoa(port) + suffix
}

// Instance is a replica as it is while nothing is known of the unit: it does not run.
func (u *Units) Instance(port int) Replica {
	name := u.Name(port)
	return Replica{ID: name, Name: name, Number: max(port, 1), Port: port, State: "created", HostNetwork: port > 0}
}

// OfUnits reports whether the project's services are units, and none of Docker's concern.
func (p *Project) OfUnits() bool {
	return len(p.Services) > 0 && p.Services[0].Units != nil
}

// Within returns the replicas that a count keeps: the first ones, and of a template the
// instances of consecutive ports, whether they run or not.
func (s *Service) Within(count int) []Replica {
	stay, _ := split(s, count)
	return stay
}

// instances is split for a template.
func (s *Service) instances(count int) (stay, leave []Replica) {
	seen := map[int]Replica{}
	for _, r := range s.Replicas {
		if seen[r.Number] = r; r.Number < s.Units.Base || r.Number >= s.Units.Base+count {
			leave = append(leave, r)
		}
	}
	for port := s.Units.Base; port < s.Units.Base+count; port++ {
		r, there := seen[port]
		if !there {
			r = s.Units.Instance(port)
		}
		stay = append(stay, r)
	}
	return stay, leave
}

// Unscalable returns why there cannot be a second replica of the service, or "".
func (s *Service) Unscalable() string {
	switch {
	case s.Units == nil:
		return s.Spec.Unscalable()
	case s.Units.Base == 0:
		return fmt.Sprintf("it is the one unit %s", s.Units.Unit)
	}
	return ""
}
