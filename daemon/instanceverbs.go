package daemon

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	"tvsctl/dockerops"
	"tvsctl/ipc"
)

// newBases returns the ports that a reset gives the first instances of services: the one
// that was asked for, else those of the project's file.
func newBases(p *dockerops.Project, names []string, request ipc.ResetRequest) (map[string]int, error) {
	if !p.OfUnits() {
		if request.Base != 0 {
			return nil, badRequest("cannot reset: only instances of a template unit have a base port")
		}
		return nil, nil
	}
	if request.Base != 0 && len(names) > 1 {
		return nil, badRequest("cannot reset: %d is the base port of one service, and nginx balances %s", request.Base, strings.Join(names, ", "))
	}
	bases := map[string]int{}
	for _, name := range names {
		bases[name] = cmp.Or(request.Base, p.Service(name).Units.First)
	}
	return bases, nil
}

// notContainers refuses what only containers have.
func notContainers(verb string, s *dockerops.Service) error {
	unit := s.Units.Unit
	if s.Units.Base > 0 {
		unit = s.Units.Name(s.Units.Base)
	}
	hint := map[string]string{"inspect": "tvsctl unit status " + unit, "limit": "as root: systemctl edit " + s.Units.Unit + ", with MemoryMax= and CPUQuota="}[verb]
	return &dockerops.RefusedError{Verb: verb, Reason: dockerops.NotScalable, Service: s.Name, Text: "its replicas are units of systemd, not containers", Hint: hint}
}

// roomFor refuses instances on ports that a service's may not have.
func roomFor(s *dockerops.Service, base, count int) error {
	if s.Units == nil {
		return nil
	}
	first, last := s.Units.First, s.Units.Base+s.Settings.Max-1
	if base >= first && base+count-1 <= last {
		return nil
	}
	return &ipc.Error{Code: ipc.CodeOutOfRange, Hint: "base_port and max in the project's file say which",
		Message: fmt.Sprintf("cannot reset %s to %d from port %d on: its instances have ports from %d to %d", s.Name, count, base, first, last)}
}

// restartUnits wants the instances of a service that run now to be started anew.
func restartUnits(request ipc.RestartRequest) change {
	return func(p *dockerops.Project, kept projectState) (intent, error) {
		service := p.Service(request.Service)
		switch {
		case request.Service == "":
			return intent{}, &ipc.Error{Code: ipc.CodeServiceRequired, Message: "cannot restart: no service is named"}
		case service == nil:
			return intent{}, &dockerops.RefusedError{Verb: "restart", Reason: dockerops.UnknownService, Service: request.Service,
				Text: fmt.Sprintf("project %s has no such service", p.Name)}
		case service.Unscalable() != "":
			return intent{}, &dockerops.RefusedError{Verb: "restart", Reason: dockerops.NotScalable, Service: request.Service,
				Text: service.Unscalable(), Hint: "tvsctl unit restart " + service.Units.Unit}
		case request.MaxSurge > 1:
			return intent{}, badRequest("cannot restart %s: its instances are restarted one after the other: leave out --max-surge", request.Service)
		}
		_, balanced := p.Backends[request.Service]
		if balanced && service.Settings.Max == 1 {
			return intent{}, &dockerops.RefusedError{Verb: "restart", Reason: dockerops.NotScalable, Service: request.Service,
				Text: "there is no room for another instance that serves meanwhile", Hint: "raise max in the project's file, or tvsctl stop and tvsctl start"}
		}
		count, asked := kept.Desired[request.Service]
		if !asked {
			count = len(service.Replicas)
		}
		return intent{request: dockerops.Request{Goals: map[string]dockerops.Goal{request.Service: {Count: count, Running: !kept.Stopped[request.Service]}}},
			restart: &restarting{Service: request.Service, Started: startsOf(service)}, summary: "restart " + request.Service}, nil
	}
}

// startsOf returns since when the running instances of a service run.
func startsOf(service *dockerops.Service) map[string]time.Time {
	starts := map[string]time.Time{}
	for _, r := range service.Replicas {
		if r.Running() {
			starts[r.ID] = r.Started
		}
	}
	return starts
}

// endRestart ends a restart that was canceled: what it has stopped runs again, and the
// further instance goes.
func (s *site) endRestart(ctx context.Context, o *operation, want intent) error {
	p, _, err := s.d.observe(ctx, s.name)
	if err != nil {
		return err
	}
	service := want.restart.Service
	none := func(dockerops.Replica) bool { return false }
	return s.apply(ctx, p, dockerops.PlanRestart(p, service, want.request.Goals[service].Count, none, o.job.ran()), o)
}
