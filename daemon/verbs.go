package daemon

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"tvsctl/dockerops"
	"tvsctl/ipc"
)

// existingCount is how many replicas a service has, running or not. A change that is relative
// to what is there starts from it, also when it is not what was last asked for:
// what somebody else did is adopted, not undone.
func existingCount(p *dockerops.Project, name string) int {
	if service := p.Service(name); service != nil {
		return len(service.Replicas)
	}
	return 0
}

// balanced returns the services that start, stop and reset act on: those that an
// nginx balances.
func balanced(p *dockerops.Project, verb string) ([]string, error) {
	var names []string
	for _, name := range slices.Sorted(maps.Keys(p.Backends)) {
		if p.Service(name) != nil {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return nil, &ipc.Error{Code: ipc.CodeServiceRequired, Message: fmt.Sprintf("cannot %s: no nginx balances a service of project %s", verb, p.Name),
			Hint: nginxHint(p)}
	}
	return names, nil
}

func postScale(d *Daemon, r *http.Request) (any, error) {
	var request ipc.ScaleRequest
	if err := read(r, &request); err != nil {
		return nil, err
	}
	if len(request.Services) == 0 {
		return nil, &ipc.Error{Code: ipc.CodeServiceRequired, Message: "cannot scale: no service is named"}
	}
	return d.change(r, request.DryRun, "scale", request)
}

func scale(request ipc.ScaleRequest) change {
	return func(p *dockerops.Project, _ projectState) (intent, error) { return scaleTo(p, request.Services), nil }
}

// scaleTo wants running replicas in the given numbers.
func scaleTo(p *dockerops.Project, counts map[string]int) intent {
	goals := map[string]dockerops.Goal{}
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(counts)) {
		goals[name] = dockerops.Goal{Count: counts[name], Running: true}
		parts = append(parts, fmt.Sprintf("%s from %d to %d", name, existingCount(p, name), counts[name]))
	}
	return intent{request: dockerops.Request{Goals: goals}, summary: "scale " + strings.Join(parts, ", "), desired: maps.Clone(counts)}
}

func postAdjust(d *Daemon, r *http.Request) (any, error) {
	var request ipc.AdjustRequest
	if err := read(r, &request); err != nil {
		return nil, err
	}
	if request.By == 0 || request.By > ipc.MaxReplicas || request.By < -ipc.MaxReplicas {
		return nil, badRequest("cannot change a count by %d", request.By)
	}
	return d.change(r, request.DryRun, "adjust", request)
}

func adjust(request ipc.AdjustRequest) change {
	return func(p *dockerops.Project, _ projectState) (intent, error) {
		name := request.Service
		if name == "" {
			names, err := balanced(p, "scale")
			if err != nil {
				return intent{}, err
			}
			if len(names) > 1 {
				return intent{}, &ipc.Error{Code: ipc.CodeServiceRequired, Message: "which service? nginx balances " + strings.Join(names, ", "),
					Hint: "name one of them"}
			}
			name = names[0]
		}
		before := existingCount(p, name)
		after := before + request.By
		if request.By < 0 {
			after = max(after, min(before, 1)) // only scale SERVICE 0 goes to none
		}
		return scaleTo(p, map[string]int{name: after}), nil
	}
}

func postReset(d *Daemon, r *http.Request) (any, error) {
	var request ipc.ResetRequest
	if err := read(r, &request); err != nil {
		return nil, err
	}
	if request.Count < 0 {
		return nil, &ipc.Error{Code: ipc.CodeOutOfRange, Message: fmt.Sprintf("cannot reset: %d is not a number of replicas", request.Count)}
	}
	return d.change(r, request.DryRun, "reset", request)
}

func reset(request ipc.ResetRequest) change {
	return func(p *dockerops.Project, _ projectState) (intent, error) {
		names, err := balanced(p, "reset")
		if err != nil {
			return intent{}, err
		}
		bases, err := newBases(p, names, request)
		if err != nil {
			return intent{}, err
		}
		goals, counts := map[string]dockerops.Goal{}, map[string]int{}
		var parts []string
		for _, name := range names {
			count := request.Count
			if count == 0 {
				count = existingCount(p, name)
			}
			if err := roomFor(p.Service(name), bases[name], count); err != nil {
				return intent{}, err
			}
			goals[name], counts[name] = dockerops.Goal{Count: count}, count
			parts = append(parts, fmt.Sprintf("%s to %d stopped %s", name, count, plural(count, "replica")))
		}
		return intent{request: dockerops.Request{Goals: goals}, desired: counts, bases: bases, summary: "reset " + strings.Join(parts, ", ")}, nil
	}
}

func postStart(d *Daemon, r *http.Request) (any, error) {
	var request ipc.StartRequest
	if err := read(r, &request); err != nil {
		return nil, err
	}
	return d.change(r, request.DryRun, "start", request)
}

func start(ipc.StartRequest) change {
	return func(p *dockerops.Project, kept projectState) (intent, error) {
		names, err := balanced(p, "start")
		if err != nil {
			return intent{}, err
		}
		goals, counts := map[string]dockerops.Goal{}, map[string]int{}
		for _, name := range names {
			count := existingCount(p, name)
			if count == 0 {
				count = kept.Desired[name]
			}
			goals[name], counts[name] = dockerops.Goal{Count: count, Running: true}, count
		}
		return intent{request: dockerops.Request{Goals: goals}, desired: counts, summary: "start " + strings.Join(names, ", ")}, nil
	}
}

func postStop(d *Daemon, r *http.Request) (any, error) {
	var request ipc.StopRequest
	if err := read(r, &request); err != nil {
		return nil, err
	}
	return d.change(r, request.DryRun, "stop", request)
}

func stop(request ipc.StopRequest) change {
	return func(p *dockerops.Project, _ projectState) (intent, error) {
		names, err := balanced(p, "stop")
		if err != nil {
			return intent{}, err
		}
		goals := map[string]dockerops.Goal{}
		for _, name := range names {
			// What is there is stopped, and stays as many.
			goals[name] = dockerops.Goal{Count: len(p.Service(name).Replicas)}
		}
		summary := "stop " + strings.Join(names, ", ")
		if request.Dependencies {
			summary += " and what they depend on"
		}
		return intent{request: dockerops.Request{Goals: goals, StopDependencies: request.Dependencies}, summary: summary}, nil
	}
}
