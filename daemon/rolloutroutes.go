package daemon

import (
	"net/http"

	"tvsctl/dockerops"
	"tvsctl/ipc"
	"tvsctl/policy"
)

func postRollout(d *Daemon, r *http.Request) (any, error) {
	var request ipc.RolloutRequest
	if err := read(r, &request); err != nil {
		return nil, err
	}
	return d.replacement(r, request.DryRun, "rollout", request)
}

func postRestart(d *Daemon, r *http.Request) (any, error) {
	var request ipc.RestartRequest
	if err := read(r, &request); err != nil {
		return nil, err
	}
	if name, err := d.projectOf(r); err == nil && d.ofUnits(name) {
		return d.change(r, request.DryRun, "restart", request)
	}
	return d.replacement(r, request.DryRun, "restart", request)
}

func postRollback(d *Daemon, r *http.Request) (any, error) {
	var request ipc.RollbackRequest
	if err := read(r, &request); err != nil {
		return nil, err
	}
	return d.replacement(r, request.DryRun, "rollback", request)
}

func postContinue(d *Daemon, r *http.Request) (any, error) {
	var request ipc.ContinueRequest
	if err := read(r, &request); err != nil {
		return nil, err
	}
	return d.replacement(r, request.DryRun, "continue", request)
}

// asks is what the policy is asked about it. An image of another repository is another
// program, which would run with what the service may do.
func (want decision) asks(verb policy.Verb, project string, request any) policy.Request {
	q := policy.Request{Verb: verb, Target: policy.Target{Project: project, Service: want.rollout.Service}, Sockets: want.sockets}
	if rollout, is := request.(ipc.RolloutRequest); is {
		q.Image = rollout.Image
		q.OwnRepository = dockerops.Repository(rollout.Image) == dockerops.Repository(want.rollout.From.Config.Image)
	}
	return q
}

// replacement answers a request that replaces replicas.
func (d *Daemon) replacement(r *http.Request, dryRun bool, kind string, request any) (any, error) {
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
	p, want, err := d.decideRollout(r.Context(), name, j)
	if err != nil {
		return nil, err
	}
	if dryRun {
		err = d.permitPlan(r.Context(), name, []string{want.rollout.Service})
	} else {
		err = d.permit(r.Context(), want.asks(j.asks(), name, request))
	}
	if err != nil {
		return nil, err
	}
	if dryRun {
		steps := []ipc.Step{}
		if want.pull != "" {
			steps = append(steps, ipc.Step{ID: 1, Kind: "pull", State: ipc.StepPending, Text: "pull " + want.pull})
		} else if !want.current {
			steps = describeSteps(want.rollout.plan(p))
		}
		return ipc.Plan{Project: p.Name, Summary: want.rollout.Summary, Steps: steps}, nil
	}
	j.Sockets = want.sockets != ""
	return d.launch(r.Context(), d.site(name), kind, want.rollout.Summary, j)
}
