package daemon

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"net/http"
	"slices"
	"strings"

	"tvsctl/dockerops"
	"tvsctl/ipc"
	"tvsctl/policy"
)

// postLimit changes what the replicas of a service may use.
func postLimit(d *Daemon, r *http.Request) (any, error) {
	var request ipc.LimitRequest
	if err := read(r, &request); err != nil {
		return nil, err
	}
	name, err := d.projectOf(r)
	if err != nil {
		return nil, err
	}
	if request.DryRun {
		err = d.permitPlan(r.Context(), name, []string{request.Service})
	} else {
		err = d.permit(r.Context(), policy.Request{Verb: policy.Limit, Target: policy.Target{Project: name, Service: request.Service}})
	}
	if err != nil {
		return nil, err
	}
	p, plan, err := d.planLimit(r.Context(), name, request)
	if err != nil {
		return nil, err
	}
	summary := fmt.Sprintf("limit %s to %s", request.Service, limitSet(request))
	if request.DryRun {
		return ipc.Plan{Project: p.Name, Summary: summary, Steps: describeSteps(plan)}, nil
	}
	j, err := newJob("limit", request)
	if err != nil {
		return nil, err
	}
	return d.launch(r.Context(), d.site(name), "limit", summary, j)
}

func limitSet(request ipc.LimitRequest) dockerops.LimitSet {
	set := dockerops.LimitSet{Memory: request.Memory, Pids: request.Pids}
	if request.CPUs != nil {
		nano := int64(math.Round(*request.CPUs * 1e9))
		set.CPUs = &nano
	}
	return set
}

func (d *Daemon) planLimit(ctx context.Context, name string, request ipc.LimitRequest) (*dockerops.Project, *dockerops.Plan, error) {
	set := limitSet(request)
	switch {
	case request.Service == "":
		return nil, nil, &ipc.Error{Code: ipc.CodeServiceRequired, Message: "cannot limit: no service is named"}
	case set == (dockerops.LimitSet{}):
		return nil, nil, badRequest("cannot limit %s: no limit is given", request.Service)
	case request.CPUs != nil && !(*request.CPUs >= 0 && *request.CPUs < 1e6):
		return nil, nil, badRequest("cannot limit %s: %v is not a number of processors", request.Service, *request.CPUs)
	}
	p, err := d.existing(ctx, name)
	if err != nil {
		return nil, nil, err
	}
	if s := p.Service(request.Service); s != nil && s.Units != nil {
		return nil, nil, notContainers("limit", s)
	}
	host, err := d.engine.Host(ctx)
	if err != nil {
		return nil, nil, err
	}
	if err := d.named(ctx, p, dockerops.CheckLimits(p, request.Service, set, host)); err != nil {
		return nil, nil, err
	}
	if err := d.state.project(name).heldBack(p, "limit", request.Service); err != nil {
		return nil, nil, err
	}
	return p, dockerops.PlanLimit(p, request.Service, set, host), nil
}

// limit updates the replicas that there are, and keeps the limits for those to come.
func (s *site) limit(ctx context.Context, o *operation) (string, error) {
	var request ipc.LimitRequest
	if err := json.Unmarshal(o.job.Request, &request); err != nil {
		return "", err
	}
	result := ""
	err := s.d.insist(o, false, func() error {
		p, plan, err := s.d.planLimit(o.planning(ctx), s.name, request)
		if err != nil {
			return err
		}
		o.begun = true
		compose, err := s.d.compose(p, o.line)
		if err != nil {
			return err
		}
		if err := s.d.engine.Apply(ctx, p, plan, s, compose, o.planned(describeSteps(plan))); err != nil {
			return err
		}
		result = limited(p, request, plan)
		set := limitSet(request)
		if err := s.d.state.update(s.name, func(k *projectState) { k.Limits[request.Service] = set.Over(k.Limits[request.Service]) }); err != nil {
			return &ipc.Error{Code: ipc.CodeState, Message: "the replicas are limited, but that cannot be kept for those to come: " + err.Error()}
		}
		return nil
	})
	if err == nil {
		o.line("docker compose does not know of it: a plain docker compose up -d leaves it as it is, but what compose creates anew has what its file says")
	}
	return result, err
}

// limited says what came of a limit.
func limited(p *dockerops.Project, request ipc.LimitRequest, plan *dockerops.Plan) string {
	n := len(p.Service(request.Service).Replicas)
	text := fmt.Sprintf("%s is limited to %s: %d %s, and those to come", request.Service, limitSet(request), n, plural(n, "replica"))
	if len(plan.Steps) == 0 && n > 0 {
		text += "; nothing to do, they were already"
	}
	lifted := func(asked *int64) bool { return asked != nil && *asked == 0 }
	set := limitSet(request)
	if len(plan.Steps) > 0 && (lifted(set.CPUs) || lifted(set.Memory)) {
		text += "; Docker cannot lift a limit of processors or memory, so the present ones may use as much as the host has"
	}
	return text
}

// limitAll gives what compose has made the limits that are kept.
func (s *site) limitAll(ctx context.Context, o *operation, p *dockerops.Project) error {
	for i := range p.Services {
		service := &p.Services[i]
		if service.Limits == (dockerops.LimitSet{}) {
			continue
		}
		host, err := s.d.engine.Host(ctx)
		if err != nil {
			return err
		}
		for _, step := range dockerops.PlanLimit(p, service.Name, service.Limits, host).Steps {
			if err := s.step(o, step.Text(), func() error { return s.d.engine.Limit(ctx, step.Container, step.Limits) }); err != nil {
				return err
			}
		}
	}
	return nil
}

// limitNotes says in the override file what it does not hold: in it limits would change
// the hash of the service, and compose would recreate all replicas for them.
func limitNotes(limits map[string]dockerops.LimitSet) string {
	var notes strings.Builder
	for _, name := range slices.Sorted(maps.Keys(limits)) {
		if !limits[name].Limits() {
			continue
		}
		fmt.Fprintf(&notes, "# %s is limited to %s by tvsctl limit. docker compose up -d leaves that as it is. Written\n"+
			"# here (deploy.resources.limits) it would make compose recreate the replicas; put it\n"+
			"# into the compose file and run tvsctl rollout %s instead.\n", name, limits[name], name)
	}
	return notes.String()
}
