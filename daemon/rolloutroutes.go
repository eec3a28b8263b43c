package daemon

import (
	"fmt"
	"net/http"

	"tvsctl/dockerops"
	"tvsctl/ipc"
)

func postRollout(d *Daemon, r *http.Request) (any, error) {
	var request ipc.RolloutRequest
	if err := read(r, &request); err != nil {
		return nil, err
	}
	return d.replacement(r, request.DryRun, "rollout", request)
}

// mayUse refuses an image of another repository to all but root: it would run with what
// the service may do.
func mayUse(r *http.Request, want decision, image string) error {
	who, known := peerOf(r.Context())
	now := dockerops.Repository(want.rollout.From.Config.Image)
	if image == "" || known && who.privileged() || dockerops.Repository(image) == now {
		return nil
	}
	return &ipc.Error{Code: ipc.CodeForbidden, Message: fmt.Sprintf("cannot roll out %s to %s: only root may give it an image other than %s:TAG", want.rollout.Service, image, now),
		Hint: "ask the administrator of this host"}
}

func postRestart(d *Daemon, r *http.Request) (any, error) {
	var request ipc.RestartRequest
	if err := read(r, &request); err != nil {
		return nil, err
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
	p, want, err := d.decideRollout(r.Context(), name, j)
	if err != nil {
		return nil, err
	}
	if request, is := request.(ipc.RolloutRequest); is {
		if err := mayUse(r, want, request.Image); err != nil {
			return nil, err
		}
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
	return d.launch(r.Context(), d.site(name), kind, want.rollout.Summary, j)
}
