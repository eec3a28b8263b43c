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
	"time"

	"tvsctl/dockerops"
	"tvsctl/ipc"
	"tvsctl/policy"
)

// change turns an observation into what is wanted. It is asked once to judge the
// request, and again when the project's turn has come and things may have changed.
type change func(p *dockerops.Project, kept projectState) (intent, error)

// changes makes the change of a kind from its request.
var changes = map[string]func(request json.RawMessage) (change, error){
	"scale": decoded(scale), "adjust": decoded(adjust), "reset": decoded(reset), "start": decoded(start), "stop": decoded(stop),
	"restart": decoded(restartUnits), "restore": decoded(func(struct{}) change { return restored }),
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
	bases   map[string]int // and the ports of first instances
	restart *restarting    // of units: it is all that is wanted
}

// restarting is the restart of a service's instances that ran when it was decided.
type restarting struct {
	Service string `json:"service"`
	// Started is since when each ran then: what runs since another time was restarted.
	Started map[string]time.Time `json:"started"`
	// Before is what earlier versions kept instead: what was started before is old.
	Before time.Time `json:"before,omitzero"`
}

// old reports whether an instance that runs is yet to be restarted. The clock may have
// been set back since its start: times are only compared with those of the same start.
func (r restarting) old(i dockerops.Replica) bool {
	if r.Started == nil {
		return i.Started.Before(r.Before)
	}
	started, ran := r.Started[i.ID]
	return ran && started.Equal(i.Started)
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
	if err := d.permitBeforehand(r.Context(), j.asks(), dryRun, name); err != nil {
		return nil, err
	}
	p, want, plan, err := d.plan(r.Context(), name, j)
	if err != nil {
		return nil, err
	}
	if err := d.permitGoals(r.Context(), j.asks(), dryRun, name, want); err != nil {
		return nil, err
	}
	if dryRun {
		return ipc.Plan{Project: p.Name, Summary: want.summary, Steps: describeSteps(plan)}, nil
	}
	return d.launch(r.Context(), d.site(name), j.verb(), want.summary, j)
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
		kept := d.state.project(name)
		if want, err = c(p, kept); err != nil {
			return fail(err)
		}
		if j.Kind != "restore" { // which touches nothing that a rollout has set aside
			if err := kept.heldBack(p, j.verb(), slices.Sorted(maps.Keys(want.request.Goals))...); err != nil {
				return fail(err)
			}
		}
	}
	for service, base := range want.bases {
		p.Service(service).Rebase(base)
	}
	ahead := j.ahead(p, want.request.Goals)
	if j.Kind != "restore" { // which must not fail for one service that is out of its bounds
		if err := d.check(ctx, p, ahead); err != nil {
			return fail(err)
		}
	}
	if r := want.restart; r != nil {
		return p, want, dockerops.PlanRestart(p, r.Service, want.request.Goals[r.Service].Count, r.old, j.ran()), nil
	}
	if want.request.ViaCompose, err = d.viaCompose(ctx, p, ahead); err != nil {
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

// check refuses goals that are not possible; one for a service that is not there
// says which are.
func (d *Daemon) check(ctx context.Context, p *dockerops.Project, goals map[string]dockerops.Goal) error {
	return d.named(ctx, p, dockerops.Check(p, goals, ipc.MaxReplicas))
}

// named adds to the refusal of a service that is not there which are, as far as the
// caller sees them.
func (d *Daemon) named(ctx context.Context, p *dockerops.Project, err error) error {
	var refused *dockerops.RefusedError
	if !errors.As(err, &refused) || refused.Reason != dockerops.UnknownService {
		return err
	}
	who := d.subjectOf(ctx)
	seen := keep(p.ServiceNames(), func(name string) bool {
		return d.policy().Sees(who, policy.Target{Project: p.Name, Service: name})
	})
	if len(seen) > 0 {
		refused.Hint = "its services are " + strings.Join(seen, ", ")
	}
	return err
}

// carryOut observes, plans and applies, and keeps what is desired from now on.
func (s *site) carryOut(ctx context.Context, o *operation) (string, error) {
	var result string
	err := s.d.insist(o, false, func() (err error) {
		result, err = s.attempt(ctx, o)
		return err
	})
	return result, err
}

func (s *site) attempt(ctx context.Context, o *operation) (string, error) {
	if err := s.bringBackFirst(ctx, o); err != nil {
		return "", err
	}
	p, want, plan, err := s.d.plan(o.planning(ctx), s.name, o.job)
	if err != nil {
		return "", err
	}
	if o.job.Decided == nil {
		if err := o.job.within(want); err != nil {
			return "", err
		}
		o.change(func(j *job) { j.settle(p, want) })
		o.update(func(r *ipc.Operation) { r.Summary = want.summary })
		err := s.keepVanishing(p, want.request.Goals)
		if err != nil {
			return "", notBegun(want.summary, err)
		}
		err = s.endAbandoned(p, slices.Collect(maps.Keys(want.request.Goals))...)
		if err == nil {
			err = s.d.state.record(o.snapshot(), &o.job)
		}
		if err := notBegun(want.summary, err); err != nil {
			return "", err
		}
		o.begun = true
	}
	if err := s.apply(ctx, p, plan, o); err != nil {
		if want.restart != nil && ctx.Err() != nil {
			if left := s.endRestart(context.WithoutCancel(ctx), o, want); left != nil {
				err = &dockerops.LeftoverError{Err: err, Left: left}
			}
		}
		return "", takenBack(plan, err)
	}
	if plan.Empty() {
		// The guard may not have told nginx yet.
		if err := s.sync(ctx); err != nil {
			o.line("warning: cannot tell whether nginx serves what is there: " + err.Error())
		}
	} else {
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
// become ready; where it could not be taken back, the error says so itself.
func takenBack(plan *dockerops.Plan, err error) error {
	var notReady *dockerops.NotReadyError
	if !errors.As(err, &notReady) || errors.As(err, new(*dockerops.LeftoverError)) {
		return err
	}
	refusal := describeError(err)
	if plan.Staged {
		refusal.Message += "; those after it were not restarted"
		return refusal
	}
	has := func(kinds ...dockerops.StepKind) bool {
		return slices.ContainsFunc(plan.Steps, func(s dockerops.Step) bool { return slices.Contains(kinds, s.Kind) })
	}
	switch {
	case has(dockerops.StepCreate, dockerops.StepCompose):
		refusal.Message = notReady.Error() + "; what was new has been removed again"
	case has(dockerops.StepStart):
		refusal.Message += "; what was started for this has been stopped again"
	default:
		refusal.Message += "; nothing was changed"
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
		maps.Copy(k.Bases, want.bases)
		for _, service := range p.Services {
			if service.Spec != nil && len(service.Settings.Balances) == 0 {
				k.Specs[service.Name] = service.Spec
			}
		}
	})
}

// ahead are the goals of which something is left to do: an earlier life of the job may have removed
// the last replica of a service, which then is not to be seen.
func (j job) ahead(p *dockerops.Project, goals map[string]dockerops.Goal) map[string]dockerops.Goal {
	goals = maps.Clone(goals)
	maps.DeleteFunc(goals, func(name string, goal dockerops.Goal) bool {
		return j.Decided != nil && goal.Count == 0 && p.Service(name) == nil
	})
	return goals
}

// keepVanishing keeps how to create what nothing will be left of.
func (s *site) keepVanishing(p *dockerops.Project, goals map[string]dockerops.Goal) error {
	specs := map[string]*dockerops.Spec{}
	for name, goal := range goals {
		if service := p.Service(name); service != nil && goal.Count == 0 && len(service.Replicas) > 0 && service.Spec != nil {
			specs[name] = service.Spec
		}
	}
	if len(specs) == 0 {
		return nil
	}
	return s.d.state.update(s.name, func(k *projectState) { maps.Copy(k.Specs, specs) })
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
