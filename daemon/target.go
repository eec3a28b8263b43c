package daemon

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"tvsctl/dockerops"
	"tvsctl/ipc"
)

// decision is what a request to replace replicas comes to.
type decision struct {
	rollout  *rollout
	current  bool   // the replicas are what they would become
	pull     string // the image that this host has to get first
	warnings []string
	sockets  string // what the new replicas mount that controls the host, as the policy wants it
}

// decideRollout says what a job that replaces replicas means now. It changes nothing.
func (d *Daemon) decideRollout(ctx context.Context, name string, j job) (*dockerops.Project, decision, error) {
	fail := func(err error) (*dockerops.Project, decision, error) { return nil, decision{}, err }
	var request ipc.RolloutRequest // which has the fields of the others
	if err := json.Unmarshal(j.Request, &request); err != nil {
		return fail(err)
	}
	p, err := d.existing(ctx, name)
	if err != nil {
		return fail(err)
	}
	kept := d.state.project(name)
	held := kept.Rollouts[request.Service]
	switch {
	case j.Kind == "continue" && (held == nil || !held.Paused):
		return fail(&ipc.Error{Code: ipc.CodeConflict, Message: fmt.Sprintf("cannot continue: no rollout of %q holds", request.Service), Hint: "see tvsctl status"})
	case j.Kind == "continue" && p.Service(request.Service) == nil:
		return fail(d.named(ctx, p, dockerops.CheckRollout(p, request.Service)))
	case j.Kind == "continue":
		r := held.copy()
		r.Hold, r.Back, r.Failure, r.Summary = 0, false, nil, "continue to "+strings.TrimPrefix(held.Summary, "continue to ")
		if held.abandoned(p) {
			r.Settled = 0
		}
		return p, decision{rollout: r}, nil
	case j.Kind == "rollback" && held != nil:
		r := held.copy()
		r.Back, r.Failure, r.Summary = true, nil, "go back instead of: "+held.Summary
		return p, decision{rollout: r}, nil
	}
	t, err := d.newTarget(ctx, p, kept, request, j.Kind)
	if err != nil {
		return fail(err)
	}
	switch {
	case j.Kind == "restart":
		err = t.same(ctx)
	case j.Kind == "rollback":
		err = t.previous(ctx)
	case request.Image != "":
		err = t.image(ctx, request.Image)
	default:
		err = t.files(ctx)
	}
	return p, t.decision, err
}

// target finds out what a rollout leads to.
type target struct {
	decision
	d        *Daemon
	p        *dockerops.Project
	service  *dockerops.Service
	kept     projectState
	request  ipc.RolloutRequest
	compose  dockerops.Compose
	declared bool
}

func (d *Daemon) newTarget(ctx context.Context, p *dockerops.Project, kept projectState, request ipc.RolloutRequest, verb string) (*target, error) {
	if request.Service == "" {
		return nil, &ipc.Error{Code: ipc.CodeServiceRequired, Message: fmt.Sprintf("cannot %s: no service is named", verb)}
	}
	if request.MaxSurge < 0 || request.MaxSurge > ipc.MaxReplicas || request.PauseAfter < 0 {
		return nil, badRequest("cannot %s %s: a number of replicas is from 1 to %d", verb, request.Service, ipc.MaxReplicas)
	}
	if err := kept.heldBack(p, verb, request.Service); err != nil {
		return nil, err
	}
	if err := d.named(ctx, p, dockerops.CheckRollout(p, request.Service)); err != nil {
		return nil, err
	}
	service := p.Service(request.Service)
	r := &rollout{Rollout: dockerops.NewRollout(service), From: service.Spec}
	if request.MaxSurge > 0 {
		r.Surge = request.MaxSurge
	}
	if r.Hold = request.PauseAfter; r.Hold >= r.Count && r.Hold > 0 {
		return nil, &ipc.Error{Code: ipc.CodeOutOfRange, Message: fmt.Sprintf("cannot %s %s: it has %d %s, and would not hold after %d", verb, service.Name,
			r.Count, plural(r.Count, "replica"), r.Hold)}
	}
	files, declared, err := d.files(p)
	if err != nil {
		return nil, err
	}
	return &target{decision: decision{rollout: r}, d: d, p: p, service: service, kept: kept, request: request, declared: declared,
		compose: dockerops.Compose{Project: p.Name, Files: files, Declared: declared}}, nil
}

// become sets what the new replicas are made from.
func (t *target) become(spec *dockerops.Spec, summary string) {
	t.rollout.Spec, t.rollout.Summary = spec, summary
	t.current = !slices.ContainsFunc(t.service.Replicas, func(r dockerops.Replica) bool { return !spec.MadeFrom(r) })
}

// same is a restart: the new replicas are what the old ones are.
func (t *target) same(ctx context.Context) error {
	t.become(t.service.Spec, "restart "+t.service.Name)
	t.current = false
	t.rollout.Image = t.kept.Images[t.service.Name]
	why, err := t.d.composeOnly(ctx, t.p, t.service.Name)
	if err != nil || why == "" {
		return err
	}
	hash, err := t.compose.Hash(ctx, t.service.Name)
	if err == nil && hash != t.service.Spec.Hash() {
		err = t.refuse("only docker compose can create its replicas (%s), and its compose file no longer says what they were made from", why)
	}
	if err != nil {
		return err
	}
	return t.byCompose(why)
}

// image leads to another image with the same configuration.
func (t *target) image(ctx context.Context, reference string) error {
	t.rollout.Summary = fmt.Sprintf("roll out %s to %s", t.service.Name, reference)
	if !dockerops.ValidImage(reference) {
		return badRequest("cannot roll out %s: %q is not the name of an image", t.service.Name, reference)
	}
	if why, err := t.d.composeOnly(ctx, t.p, t.service.Name); err != nil || why != "" {
		if err == nil {
			err = t.refuse("only docker compose can create its replicas (%s): put the image into the compose file, then tvsctl rollout %s", why, t.service.Name)
		}
		return err
	}
	image, err := t.d.engine.Image(ctx, reference)
	if err != nil {
		return err
	}
	if image == nil {
		t.pull = reference
		return nil
	}
	old, err := t.d.engine.Image(ctx, t.service.Spec.ImageID)
	if err != nil {
		return err
	}
	t.become(t.service.Spec.WithImage(reference, old, image, t.hashWith(ctx, reference)), t.rollout.Summary)
	return nil
}

// hashWith asks compose for the hash of the service with another image, and notes
// whether the files name that image themselves.
func (t *target) hashWith(ctx context.Context, reference string) string {
	t.rollout.Image = reference
	compose := t.compose
	if config, err := compose.Config(ctx); err == nil && config[t.service.Name].Image == reference {
		t.rollout.Image = ""
	} else {
		compose.Override = fmt.Sprintf("services: {%q: {image: %q}}\n", t.service.Name, reference)
	}
	hash, err := compose.Hash(ctx, t.service.Name)
	if err != nil {
		t.warnings = append(t.warnings, fmt.Sprintf("a plain docker compose up -d may replace the new replicas: %v", err))
	}
	return hash
}

// files leads to what the compose files, and the tags that they name, mean now.
func (t *target) files(ctx context.Context) error {
	name, spec := t.service.Name, t.service.Spec
	if len(t.compose.Files.Compose) == 0 {
		return t.refuse("tvsctl does not know its compose files: name an image with --image, or declare the project with tvsctl up -f DIR")
	}
	hash, err := t.compose.Hash(ctx, name)
	if err != nil {
		return err
	}
	if hash == spec.Hash() {
		moved, err := t.d.engine.Moved(ctx, spec)
		if err != nil {
			return err
		}
		if moved == nil {
			moved = spec
		}
		t.rollout.Image = t.kept.Images[name]
		t.become(moved, fmt.Sprintf("roll out %s to %s as it is now", name, spec.Config.Image))
		return nil
	}
	if err := t.compose.Files.Untrusted(t.declared); err != nil {
		return &ipc.Error{Code: ipc.CodeForbidden, Message: fmt.Sprintf("cannot roll out %s: %v", name, err), Hint: ownsTheHost}
	}
	if !t.declared {
		if variable := t.interpolates(); variable != "" {
			return t.refuse("its compose file uses %s of an environment that tvsctl does not know: declare the project with tvsctl up -f DIR --env-file FILE", variable)
		}
	}
	config, err := t.compose.Config(ctx)
	if err != nil {
		return err
	}
	t.sockets = config[name].Sockets
	why, err := t.d.composeOnly(ctx, t.p, name)
	if err != nil {
		return err
	}
	t.rollout.Summary = fmt.Sprintf("roll out %s as its compose file is now", name)
	t.rollout.Creator = dockerops.ByComposeFirst
	if image := t.kept.Images[name]; image != "" {
		t.warnings = append(t.warnings, fmt.Sprintf("the image %s of an earlier rollout gives way to what the compose file says", image))
	}
	if why != "" {
		return t.byCompose(why)
	}
	return nil
}

// byCompose lets compose create and start all new replicas, which it does all at once.
func (t *target) byCompose(why string) error {
	if t.rollout.Hold > 0 || t.request.MaxSurge > 0 && t.request.MaxSurge < t.rollout.Count {
		return t.refuse("only docker compose can create its replicas (%s), and it starts all at once: leave out --max-surge and --pause-after", why)
	}
	if err := t.compose.Files.Untrusted(t.declared); err != nil {
		return &ipc.Error{Code: ipc.CodeForbidden, Message: fmt.Sprintf("cannot roll out %s: %v", t.service.Name, err), Hint: ownsTheHost}
	}
	t.rollout.Creator, t.rollout.Surge = dockerops.ByComposeAll, t.rollout.Count
	return nil
}

// variable finds what compose takes from the environment; $$ is a plain $.
var variable = regexp.MustCompile(`(?:^|[^$])(\$\{?[A-Za-z_][A-Za-z0-9_]*)`)

func (t *target) interpolates() string {
	for _, path := range t.compose.Files.Compose {
		text, err := dockerops.ReadComposeFile(path)
		if found := variable.FindSubmatch(text); err == nil && found != nil {
			return string(found[1])
		}
	}
	return ""
}

// previous leads back to what the last rollout replaced.
func (t *target) previous(ctx context.Context) error {
	name, previous := t.service.Name, t.kept.Previous[t.service.Name]
	if previous == nil {
		return &ipc.Error{Code: ipc.CodeConflict, Message: fmt.Sprintf("cannot roll back %s: no rollout has replaced its replicas", name)}
	}
	if why, err := t.d.composeOnly(ctx, t.p, name); err != nil || why != "" {
		if err == nil {
			err = t.refuse("only docker compose can create its replicas (%s): restore the compose file, then tvsctl rollout %s", why, name)
		}
		return err
	}
	named, err := t.d.engine.Image(ctx, previous.Config.Image)
	if err != nil {
		return err
	}
	if named == nil || named.ID != previous.ImageID {
		image, err := t.d.engine.Image(ctx, previous.ImageID)
		if err != nil {
			return err
		}
		if image == nil {
			return t.refuse("the image that it had, %s (%s), is no longer on this host", previous.Config.Image, previous.ImageID)
		}
		previous = previous.WithImage(image.ID, image, image, t.hashWith(ctx, image.ID))
	} else if t.hashWith(ctx, previous.Config.Image) != previous.Hash() {
		t.warnings = append(t.warnings, "its compose file says otherwise: docker compose up -d, or tvsctl rollout, would go forward again")
	}
	t.become(previous, fmt.Sprintf("roll back %s to %s", name, previous.Config.Image))
	return nil
}

func (t *target) refuse(format string, args ...any) error {
	return &dockerops.RefusedError{Verb: "roll out", Reason: dockerops.NotScalable, Service: t.service.Name, Text: fmt.Sprintf(format, args...)}
}
