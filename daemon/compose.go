package daemon

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"tvsctl/dockerops"
	"tvsctl/ipc"
)

// putDeclaration remembers where a project's compose files are.
func putDeclaration(d *Daemon, r *http.Request) (any, error) {
	var request ipc.Declaration
	if err := read(r, &request); err != nil {
		return nil, err
	}
	name := r.PathValue("project")
	if !dockerops.ValidProjectName(name) {
		return nil, badRequest("cannot declare a project: %q is not a name that compose allows", name)
	}
	config, err := readProjectConfig(d.config.ProjectDir, name)
	if err != nil {
		return nil, err
	}
	if len(config.Compose) > 0 || len(config.Services) > 0 {
		return nil, &ipc.Error{Code: ipc.CodeConflict, Message: fmt.Sprintf("cannot declare project %s: %s does already", name,
			filepath.Join(d.config.ProjectDir, name+".toml")), Hint: "edit that file, or run tvsctl up without -f"}
	}
	files := dockerops.Files{Directory: request.Directory, Compose: request.Files, Env: request.EnvFiles, Profiles: request.Profiles,
		Owner: dockerops.OwnerOf(request.Directory)}
	if err := files.Untrusted(true); err != nil {
		return nil, badRequest("cannot declare project %s: %v", name, err)
	}
	f, _, _ := asked(r.Context())
	f["TVS_AFTER"] = strings.Join(files.Compose, " ")
	if before := d.state.project(name).Files; before != nil {
		f["TVS_BEFORE"] = strings.Join(before.Compose, " ")
	}
	if err := d.state.update(name, func(k *projectState) { k.Files = &files }); err != nil {
		return nil, &ipc.Error{Code: ipc.CodeState, Message: fmt.Sprintf("cannot declare project %s: %v", name, err)}
	}
	d.log.notice(eventDeclared, fmt.Sprintf("Project %s is declared by %s.", name, strings.Join(files.Compose, " and ")), f)
	return request, nil
}

const ownsTheHost = "who writes a compose file that root runs owns the host"

// declared returns the files of a project that up and down may use.
func (d *Daemon) declared(ctx context.Context, name, verb string) (*dockerops.Project, dockerops.Files, error) {
	p, _, err := d.observe(ctx, name)
	if err != nil {
		return nil, dockerops.Files{}, err
	}
	if p.OfUnits() {
		return nil, dockerops.Files{}, notCompose(fmt.Sprintf("bring project %s %s", name, verb), "tvsctl start, tvsctl stop --db")
	}
	files, declared, err := d.files(p)
	if err != nil {
		return nil, files, err
	}
	if !declared && p.Empty() {
		return nil, files, unknownProject(name)
	}
	if !declared {
		return nil, files, &ipc.Error{Code: ipc.CodeBadRequest, Message: fmt.Sprintf("cannot bring project %s %s: tvsctl does not know its compose files", name, verb),
			Hint: "declare them once, as root: tvsctl up -f DIR"}
	}
	if err := files.Untrusted(true); err != nil {
		return nil, files, &ipc.Error{Code: ipc.CodeForbidden, Message: fmt.Sprintf("cannot bring project %s %s: %v", name, verb, err),
			Hint: ownsTheHost}
	}
	return p, files, nil
}

// notCompose refuses what only compose does for a project of units.
func notCompose(doing, hint string) error {
	return &ipc.Error{Code: ipc.CodeBadRequest, Message: "cannot " + doing + ": its services are units of systemd, of which docker compose knows nothing", Hint: hint}
}

func postUp(d *Daemon, r *http.Request) (any, error) {
	var request ipc.UpRequest
	if err := read(r, &request); err != nil {
		return nil, err
	}
	name, err := d.projectOf(r)
	if err != nil {
		return nil, err
	}
	_, files, err := d.declared(r.Context(), name, "up")
	if err != nil {
		return nil, err
	}
	j, err := newJob("up", request)
	if err != nil {
		return nil, err
	}
	known, err := dockerops.Compose{Project: name, Files: files, Declared: true}.Config(r.Context())
	if err != nil {
		return nil, err
	}
	if mounts := mountsSockets(known); mounts != "" {
		if err := d.permitSockets(r.Context(), name, mounts); err != nil {
			return nil, err
		}
		j.Sockets = true
	}
	return d.launch(r.Context(), d.site(name), "up", "bring up "+name, j)
}

// up runs compose with the desired counts, waits until the balanced replicas are
// ready, and publishes them.
func (s *site) up(ctx context.Context, o *operation) (string, error) {
	var request ipc.UpRequest
	if err := json.Unmarshal(o.job.Request, &request); err != nil {
		return "", err
	}
	before, files, err := s.d.declared(ctx, s.name, "up")
	if err != nil {
		return "", err
	}
	compose := dockerops.Compose{Project: s.name, Files: files, Declared: true, Line: o.line}
	kept := s.d.state.project(s.name)
	if err := kept.heldBack(before, "bring up", slices.Sorted(maps.Keys(kept.Rollouts))...); err != nil {
		return "", err
	}
	known, err := compose.Config(ctx)
	if err != nil {
		return "", err
	}
	if err := o.job.mayMount(mountsSockets(known)); err != nil {
		return "", err
	}
	for _, service := range slices.Sorted(maps.Keys(kept.Images)) {
		if config, there := known[service]; there && config.Image != kept.Images[service] {
			return "", &ipc.Error{Code: ipc.CodeConflict,
				Message: fmt.Sprintf("cannot bring up %s: %s was rolled out to %s, and its compose file says %s", s.name, service, kept.Images[service], config.Image),
				Hint:    fmt.Sprintf("write it down with tvsctl override -w, or return to the file with tvsctl rollout %s", service)}
		}
	}
	desired, err := s.decideCounts(before, known)
	if err != nil {
		return "", err
	}
	if err := s.endAbandoned(before, slices.Collect(maps.Keys(kept.Rollouts))...); err != nil {
		return "", notBegun("bring up "+s.name, err)
	}
	o.begun = true
	if err := s.step(o, "let docker compose bring up "+s.name, func() error { return compose.Up(ctx, request.Build, desired) }); err != nil {
		return "", err
	}
	if err := s.midway(false); err != nil {
		return "", err
	}
	p, _, err := s.d.observe(ctx, s.name)
	if err != nil {
		return "", err
	}
	if err := s.limitAll(ctx, o, p); err != nil {
		return "", err
	}
	counts := map[string]int{}
	for service := range p.Backends {
		if replicas := p.Service(service); replicas != nil {
			counts[service] = len(replicas.Replicas)
		}
	}
	for _, service := range slices.Sorted(maps.Keys(counts)) {
		for _, replica := range p.Service(service).Replicas {
			err := s.step(o, fmt.Sprintf("wait until %s is ready", replica.Name), func() error {
				return s.d.engine.WaitReady(ctx, replica.ID, p.Probe(service), p.Service(service).Settings.ReadyTimeout)
			})
			if err != nil && ctx.Err() != nil {
				return "", context.Cause(ctx)
			} else if err != nil {
				refusal := describeError(err)
				if refusal.Log != nil {
					refusal.Log.Service = service
				}
				refusal.Message = fmt.Sprintf("project %s is up, but %s", s.name, refusal.Message)
				return "", refusal
			}
		}
	}
	if err := s.step(o, "publish to nginx", func() error { return s.sync(ctx) }); err != nil {
		return "", err
	}
	want := scaleTo(p, counts)
	if err := s.keep(p, want); err != nil {
		return "", err
	}
	if err := s.forgetGone(ctx, compose, p, known); err != nil {
		return "", err
	}
	result, err := s.outcome(ctx, want)
	if result != "" {
		result = ": " + result
	}
	return s.name + " is up" + result, err
}

// step runs one step that is not part of a plan.
func (s *site) step(o *operation, text string, do func() error) error {
	step := ipc.Step{ID: 1, Kind: strings.Fields(text)[0], State: ipc.StepPending, Text: text}
	progress := o.planned([]ipc.Step{step})
	progress(dockerops.Step{ID: 1}, false, nil)
	err := do()
	progress(dockerops.Step{ID: 1}, true, err)
	return err
}

func postDown(d *Daemon, r *http.Request) (any, error) {
	var request ipc.DownRequest
	if err := read(r, &request); err != nil {
		return nil, err
	}
	name, err := d.projectOf(r)
	if err != nil {
		return nil, err
	}
	if _, _, err := d.declared(r.Context(), name, "down"); err != nil {
		return nil, err
	}
	j, err := newJob("down", request)
	if err != nil {
		return nil, err
	}
	return d.launch(r.Context(), d.site(name), "down", "take down "+name, j)
}

func (s *site) down(ctx context.Context, o *operation) (string, error) {
	_, files, err := s.d.declared(ctx, s.name, "down")
	if err != nil {
		return "", err
	}
	compose := dockerops.Compose{Project: s.name, Files: files, Declared: true, Line: o.line}
	if err := notBegun("take down "+s.name, s.midway(true)); err != nil {
		return "", err
	}
	o.begun = true
	if err = s.step(o, "let docker compose take down "+s.name, func() error { return compose.Down(ctx) }); err == nil {
		// There is nothing left to go on or back with.
		err = s.d.state.update(s.name, func(k *projectState) {
			clear(k.Rollouts)
			k.Midway = false
		})
	}
	return s.name + " is down; its desired counts are kept", err
}

// injects finds the parts of a compose file that a clone might not carry, or that
// only compose can read. It only spares the question to compose where the answer
// is plain.
var injects = regexp.MustCompile(`(?m)^\s*(post_start|content|configs|secrets|include|extends)\s*:`)

// viaCompose returns the services among the goals that only compose can create
// further replicas of.
func (d *Daemon) viaCompose(ctx context.Context, p *dockerops.Project, goals map[string]dockerops.Goal) (map[string]bool, error) {
	var growing []string
	for _, name := range slices.Sorted(maps.Keys(goals)) {
		if goals[name].Count > len(p.Service(name).Replicas) {
			growing = append(growing, name)
		}
	}
	compose, err := d.compose(p, nil)
	if err != nil {
		return nil, err
	}
	via := map[string]bool{}
	for _, name := range growing {
		why, err := d.composeOnly(ctx, p, name)
		if err != nil {
			return nil, err
		}
		if why == "" {
			continue
		}
		refuse := func(code ipc.Code, hint, format string, args ...any) error {
			return &ipc.Error{Code: code, Hint: hint, Message: fmt.Sprintf("cannot scale %s: only docker compose can create its replicas (%s), ", name, why) +
				fmt.Sprintf(format, args...)}
		}
		if !goals[name].Running {
			return nil, refuse(ipc.CodeNotScalable, fmt.Sprintf("tvsctl scale %s N, then tvsctl stop", name), "and it starts them")
		}
		if err := compose.Files.Untrusted(compose.Declared); err != nil {
			return nil, refuse(ipc.CodeForbidden, ownsTheHost, "and %v", err)
		}
		hash, err := compose.Hash(ctx, name)
		if err != nil {
			return nil, err
		}
		// The labels do not hold the environment and the profiles that the user had.
		if spec := p.Service(name).Spec; spec.Hash() != hash {
			return nil, refuse(ipc.CodeNotScalable, "tvsctl up makes them equal; a stack that needs an environment is declared with tvsctl up -f … --env-file",
				"and its compose file no longer says what its replicas were made from")
		}
		via[name] = true
	}
	return via, nil
}

// composeOnly says why only compose can create replicas of a service, or "".
func (d *Daemon) composeOnly(ctx context.Context, p *dockerops.Project, service string) (string, error) {
	compose, err := d.compose(p, nil)
	if err != nil {
		return "", err
	}
	suspect := false
	for _, path := range compose.Files.Compose {
		text, err := dockerops.ReadComposeFile(path)
		suspect = suspect || err == nil && injects.Match(text)
	}
	if !suspect {
		return "", nil
	}
	config, err := compose.Config(ctx)
	return config[service].ComposeOnly, err
}

// compose is the plugin for a project, with the declared files or those that compose noted.
func (d *Daemon) compose(p *dockerops.Project, line func(string)) (dockerops.Compose, error) {
	files, declared, err := d.files(p)
	return dockerops.Compose{Project: p.Name, Files: files, Declared: declared, Line: line}, err
}

// getOverride writes down the desired counts in the form that the project's own
// file uses, so that plain docker compose up agrees with them.
func getOverride(d *Daemon, r *http.Request) (any, error) {
	name, err := d.projectOf(r)
	if err != nil {
		return nil, err
	}
	p, err := d.existing(r.Context(), name)
	if err != nil {
		return nil, err
	}
	if p.OfUnits() {
		return nil, notCompose("write an override for project "+name, "")
	}
	compose, err := d.compose(p, nil)
	if err != nil {
		return nil, err
	}
	config, err := compose.Config(r.Context())
	if err != nil {
		return nil, err
	}
	kept := d.state.project(name)
	override := ipc.Override{YAML: renderOverride(name, kept.Desired, kept.Images, config) + limitNotes(kept.Limits)}
	if len(compose.Files.Compose) > 0 {
		first := compose.Files.Compose[0]
		override.File = strings.TrimSuffix(first, filepath.Ext(first)) + ".override" + filepath.Ext(first)
	}
	return override, nil
}

// renderOverride makes the override file. A service whose file has deploy.replicas
// gets that key: scale beside it with another value is an error to compose, and
// adding deploy where there is none would change the service's hash.
func renderOverride(project string, counts map[string]int, images map[string]string, config map[string]dockerops.ServiceConfig) string {
	var services strings.Builder
	for _, name := range slices.Sorted(maps.Keys(config)) {
		count, counted := counts[name]
		image := images[name]
		if !counted && image == "" {
			continue
		}
		fmt.Fprintf(&services, "  %s:\n", name)
		if image != "" {
			fmt.Fprintf(&services, "    image: %q\n", image)
		}
		switch {
		case !counted:
		case config[name].Replicas:
			fmt.Fprintf(&services, "    deploy:\n      replicas: %d\n", count)
		default:
			fmt.Fprintf(&services, "    scale: %d\n", count)
		}
	}
	head := fmt.Sprintf("# What tvsctl keeps for project %s. Made by: tvsctl -p %s override\n", project, project)
	if services.Len() == 0 {
		return head + "services: {}\n"
	}
	return head + "services:\n" + services.String()
}
