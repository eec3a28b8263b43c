package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"tvsctl/dockerops"
	"tvsctl/ipc"
)

// change turns an observation into what is wanted. It is asked once to judge the
// request, and again when the project's turn has come and things may have changed.
type change func(p *dockerops.Project, kept projectState) (intent, error)

// changes makes the change of a kind from its request.
var changes = map[string]func(request json.RawMessage) (change, error){
	"scale": decoded(scale), "adjust": decoded(adjust), "reset": decoded(reset), "start": decoded(start), "stop": decoded(stop),
	"restore": decoded(func(struct{}) change { return restored }),
}

func decoded[T any](make func(T) change) func(json.RawMessage) (change, error) {
	return func(text json.RawMessage) (change, error) {
		var request T
		if err := json.Unmarshal(text, &request); err != nil {
			return nil, fmt.Errorf("cannot read the kept request: %v", err)
		}
		return make(request), nil
	}
}

// intent is what a change wants of one observed project.
type intent struct {
	request dockerops.Request
	summary string         // "scale webapp from 1 to 3"
	desired map[string]int // the counts to keep from now on, by service
}

// change answers a request for a change: with a plan for a dry run, else with an
// operation that makes and applies the plan.
func (d *Daemon) change(r *http.Request, dryRun bool, kind string, request any) (any, error) {
	name, err := d.projectOf(r)
	if err != nil {
		return nil, err
	}
	j, err := newJob(kind, request)
	if err != nil {
		return nil, err
	}
	p, want, plan, err := d.plan(r.Context(), name, j)
	if err != nil {
		return nil, err
	}
	if dryRun {
		return ipc.Plan{Project: p.Name, Summary: want.summary, Steps: describeSteps(plan)}, nil
	}
	verb := kind
	if verb == "adjust" {
		verb = "scale"
	}
	return d.launch(r.Context(), d.site(name), verb, want.summary, j)
}

// plan observes a project and plans a job, from what was decided if it was.
func (d *Daemon) plan(ctx context.Context, name string, j job) (*dockerops.Project, intent, *dockerops.Plan, error) {
	fail := func(err error) (*dockerops.Project, intent, *dockerops.Plan, error) { return nil, intent{}, nil, err }
	p, err := d.existing(ctx, name)
	if err != nil {
		return fail(err)
	}
	var want intent
	if j.Decided != nil {
		want = j.Decided.again(p, "")
	} else {
		c, err := j.change()
		if err != nil {
			return fail(err)
		}
		if want, err = c(p, d.state.project(name)); err != nil {
			return fail(err)
		}
	}
	if err := d.check(p, want.request.Goals); err != nil {
		return fail(err)
	}
	if want.request.ViaCompose, err = d.viaCompose(ctx, p, want.request.Goals); err != nil {
		return fail(err)
	}
	return p, want, dockerops.MakePlan(p, want.request), nil
}

// existing observes a project that has containers.
func (d *Daemon) existing(ctx context.Context, name string) (*dockerops.Project, error) {
	p, _, err := d.observe(ctx, name)
	if err != nil {
		return nil, err
	}
	if p.Empty() {
		if _, declared, _ := d.files(p); declared {
			return nil, &ipc.Error{Code: ipc.CodeUnknownProject, Message: fmt.Sprintf("project %s has no containers", name),
				Hint: "bring it up first: tvsctl up"}
		}
		return nil, unknownProject(name)
	}
	return p, nil
}

func (d *Daemon) check(p *dockerops.Project, goals map[string]dockerops.Goal) error {
	err := dockerops.Check(p, goals, ipc.MaxReplicas)
	if refusal := describe(err); refusal != nil && refusal.Code == ipc.CodeUnknownService {
		refusal.Hint = "its services are " + strings.Join(p.ServiceNames(), ", ")
		return refusal
	}
	return err
}

func describe(err error) *ipc.Error {
	if err == nil {
		return nil
	}
	return describeError(err)
}

// carryOut observes, plans and applies, and keeps what is desired from now on.
func (s *site) carryOut(ctx context.Context, o *operation) (string, error) {
	p, want, plan, err := s.d.plan(ctx, s.name, o.job)
	if err != nil {
		return "", err
	}
	if o.job.Decided == nil {
		o.job.settle(p, want)
		o.update(func(r *ipc.Operation) { r.Summary = want.summary })
		if err := s.d.state.record(o.snapshot(), &o.job); err != nil {
			return "", &ipc.Error{Code: ipc.CodeState, Message: "cannot " + want.summary + ": " + err.Error(), Hint: stateHint}
		}
	}
	o.planned(describeSteps(plan))
	compose, err := s.d.compose(p, o.line)
	if err != nil {
		return "", err
	}
	if err := s.d.engine.Apply(ctx, p, plan, s, compose, o.progress); err != nil {
		return "", takenBack(plan, err)
	}
	if !plan.Empty() {
		s.warn(o)
	}
	if err := s.keep(p, want); err != nil {
		return "", &ipc.Error{Code: ipc.CodeState, Message: "the change was made, but cannot be kept for a restart: " + err.Error()}
	}
	result, err := s.outcome(context.WithoutCancel(ctx), want) // of a change that is complete
	if plan.Empty() {
		result += " already: nothing to do"
	}
	return result, err
}

// takenBack says what became of a change that failed because a replica did not
// become ready.
func takenBack(plan *dockerops.Plan, err error) error {
	var notReady *dockerops.NotReadyError
	if !errors.As(err, &notReady) {
		return err
	}
	refusal := describeError(err)
	refusal.Message += "; what was started for this has been stopped again"
	if slices.ContainsFunc(plan.Steps, func(s dockerops.Step) bool { return s.Kind == dockerops.StepCreate || s.Kind == dockerops.StepCompose }) {
		refusal.Message = notReady.Error() + "; what was new has been removed again"
	}
	return refusal
}

// warn says in what way the nginx may have lost requests by the change.
func (s *site) warn(o *operation) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, b := range sortBalancers(s.balancers) {
		for _, problem := range b.facts.Problems {
			o.line(fmt.Sprintf("warning: %s: %s", b.name, problem))
		}
	}
}

// keep makes what was asked for the desired state, and the create specs those of
// the replicas as they were seen.
func (s *site) keep(p *dockerops.Project, want intent) error {
	return s.d.state.update(s.name, func(k *projectState) {
		for name, goal := range want.request.Goals {
			if goal.Running {
				delete(k.Stopped, name)
			} else {
				k.Stopped[name] = true
			}
		}
		// What was asked for settles what somebody meant by ending a replica.
		k.Exited = slices.DeleteFunc(k.Exited, func(id string) bool {
			return slices.ContainsFunc(p.Services, func(service dockerops.Service) bool {
				_, asked := want.request.Goals[service.Name]
				return asked && slices.ContainsFunc(service.Replicas, func(r dockerops.Replica) bool { return r.ID == id })
			})
		})
		maps.Copy(k.Desired, want.desired)
		for _, service := range p.Services {
			if service.Spec != nil && len(service.Settings.Balances) == 0 {
				k.Specs[service.Name] = service.Spec
			}
		}
	})
}

// outcome says what the services have now, which can be less than ready: a replica
// that is paused, or restarts over and over, is left as it is.
func (s *site) outcome(ctx context.Context, want intent) (string, error) {
	p, _, err := s.d.observe(ctx, s.name)
	if err != nil {
		return "", err
	}
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(want.request.Goals)) {
		goal, replicas := want.request.Goals[name], []dockerops.Replica(nil)
		if service := p.Service(name); service != nil {
			replicas = service.Replicas
		}
		ready := len(s.readyOf(ctx, p, name, replicas))
		switch {
		case !goal.Running:
			parts = append(parts, fmt.Sprintf("%s has %d stopped %s", name, len(replicas), plural(len(replicas), "replica")))
		case ready < len(replicas):
			parts = append(parts, fmt.Sprintf("%s has %d %s, but only %d ready", name, len(replicas), plural(len(replicas), "replica"), ready))
		default:
			parts = append(parts, fmt.Sprintf("%s has %d ready %s", name, ready, plural(ready, "replica")))
		}
	}
	return strings.Join(parts, ", "), nil
}

// readyOf returns the replicas that are ready: healthy, or without a health check
// listening where nginx balances them, else running.
func (s *site) readyOf(ctx context.Context, p *dockerops.Project, name string, replicas []dockerops.Replica) []dockerops.Replica {
	_, isBalanced := p.Backends[name]
	if isBalanced {
		s.look(ctx, replicas, p.Probe(name))
	}
	var ready []dockerops.Replica
	for _, r := range replicas {
		if r.Running() && (r.Health == "healthy" || r.Health == "" && (!isBalanced || s.listens(r))) {
			ready = append(ready, r)
		}
	}
	return ready
}

func plural(n int, word string) string {
	if n == 1 {
		return word
	}
	return word + "s"
}

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
			Hint: "put label tvs.nginx: SERVICE:PORT on its nginx"}
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
		goals, counts := map[string]dockerops.Goal{}, map[string]int{}
		var parts []string
		for _, name := range names {
			count := request.Count
			if count == 0 {
				count = existingCount(p, name)
			}
			goals[name], counts[name] = dockerops.Goal{Count: count}, count
			parts = append(parts, fmt.Sprintf("%s to %d stopped %s", name, count, plural(count, "replica")))
		}
		return intent{request: dockerops.Request{Goals: goals}, desired: counts, summary: "reset " + strings.Join(parts, ", ")}, nil
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
