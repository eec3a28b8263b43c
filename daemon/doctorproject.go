package daemon

import (
	"context"
	"fmt"
	"net/netip"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"tvsctl/dockerops"
	"tvsctl/nginx"
)

// patient is a project that is examined.
type patient struct {
	d     *Daemon
	p     *dockerops.Project
	host  *hostNginx
	nginx []*examined // those that run
}

// examined is an nginx as its files are now.
type examined struct {
	*balancer
	facts    nginx.Facts
	err      error // why facts is empty
	readOnly error // why nothing can be written into its directory
}

// projectChecks look at one project.
var projectChecks = []struct {
	name string
	look func(ctx context.Context, x *patient, r *report)
}{
	{"labels", checkLabels},
	{"nginx", checkNginx},
	{"upstreams", checkUpstreams},
	{"replicas", checkReplicas},
}

// checkProjects runs them for every project; what is not about labels, for those with an
// nginx that tvsctl manages.
func checkProjects(ctx context.Context, d *Daemon, r *report) {
	projects, err := d.listProjects(ctx)
	if err != nil {
		return // said of Docker already
	}
	for _, summary := range projects {
		x, err := d.examine(ctx, summary.Name)
		if err != nil {
			r.wrong("see tvsctl status -p "+summary.Name, "project %s: %v", summary.Name, err)
			continue
		}
		for i, c := range projectChecks {
			if i > 0 && len(x.p.Nginx()) == 0 && x.host == nil {
				break // but its labels may have meant to name one
			}
			r.check = c.name
			before := len(r.findings)
			c.look(ctx, x, r)
			for j := range r.findings[before:] {
				r.findings[before+j].Text = "project " + summary.Name + ": " + r.findings[before+j].Text
			}
			if len(r.findings) == before {
				r.ok("project %s: nothing wrong", summary.Name)
			}
		}
	}
	r.check = "projects"
	r.fine("there is no project to look at")
}

func (d *Daemon) examine(ctx context.Context, name string) (*patient, error) {
	p, host, err := d.observe(ctx, name)
	if err != nil {
		return nil, err
	}
	x := &patient{d: d, p: p, host: host}
	if len(p.Nginx()) == 0 && host == nil {
		return x, nil
	}
	s := d.site(name)
	running, err := s.balancersNow(ctx, p, host)
	s.mu.Lock()
	for _, b := range running {
		// What is known of them changes at every publication.
		x.nginx = append(x.nginx, &examined{balancer: &balancer{name: b.name, service: b.service, backends: b.backends, peers: b.peers, control: b.control}})
	}
	s.mu.Unlock()
	var group sync.WaitGroup
	for _, b := range x.nginx {
		group.Go(func() { b.facts, b.err = d.sharedFacts(ctx, name, b.balancer) })
		group.Go(func() { b.readOnly = b.control.Writable(ctx) })
	}
	group.Wait()
	return x, err
}

// checkLabels finds labels that are none, or mean nothing.
func checkLabels(_ context.Context, x *patient, r *report) {
	const mend = "mend the label in the compose file, then docker compose up -d"
	if x.p.OfUnits() {
		return // it has none; its file is looked at with the others, and its units with the replicas
	}
	for i := range x.p.Services {
		s := &x.p.Services[i]
		for _, problem := range s.Settings.Problems {
			r.wrong(mend, "service %s: %s", s.Name, problem)
		}
		for _, label := range s.UnknownLabels() {
			r.warn("see the labels in tvsctl's README", "service %s: there is no label %s", s.Name, label)
		}
		if s.Settings.Max > 0 && s.Settings.Min > s.Settings.Max {
			r.wrong(mend, "service %s: tvs.scale.min %d is above tvs.scale.max %d", s.Name, s.Settings.Min, s.Settings.Max)
		}
		for _, b := range s.Settings.Balances {
			if x.p.Service(b.Service) == nil {
				r.wrong(mend, "service %s: tvs.nginx names %s, which the project does not have", s.Name, b.Service)
			}
		}
		if _, balanced := x.p.Backends[s.Name]; balanced && s.Spec.Unscalable() != "" {
			r.warn("change that in the compose file, then docker compose up -d", "service %s cannot be scaled: %s", s.Name, s.Spec.Unscalable())
		}
	}
}

// checkNginx asks each nginx for its configuration, as it is in its files now.
func checkNginx(_ context.Context, x *patient, r *report) {
	for _, s := range x.p.Nginx() {
		for _, replica := range s.Replicas {
			if !replica.Running() && anyRuns(x.p) {
				r.wrong("docker compose up -d "+s.Name+"; see tvsctl logs "+s.Name, "%s is %s", replica.Name, replica.State)
			}
		}
	}
	if x.host != nil && len(x.nginx) == 0 {
		r.wrong("as root: systemctl start "+x.host.Unit, "%s does not run", x.host.Unit)
	}
	for _, b := range x.nginx {
		if b.err != nil {
			r.wrong(remedyOf(b.err, b.name), "%v", b.err)
			continue
		}
		for _, problem := range b.facts.Problems {
			text, remedy, found := strings.Cut(problem, "; ")
			if !found {
				text, remedy, _ = strings.Cut(problem, ": ")
			}
			if b.facts.Includes {
				r.warn(remedy, "%s: %s", b.name, text)
			} else {
				r.wrong(remedy, "%s: %s", b.name, text)
			}
		}
		for _, pitfall := range b.facts.Pitfalls(namesOf(b.balancer)) {
			r.wrong("write proxy_pass http://SERVICE, without a port or a variable, then tvsctl nginx reload", "%s %s", b.name, pitfall)
		}
		if b.readOnly != nil && b.facts.Includes {
			r.wrong(writableRemedy(x, b.balancer), "%v", b.readOnly)
		}
	}
}

// writableRemedy says how files can be written into the directory that b includes.
func writableRemedy(x *patient, b *balancer) string {
	dir := dirOf(x, b)
	if x.p.Service(b.service) != nil {
		return "make " + dir + " a directory that can be written, or set label tvs.nginx.upstreams"
	}
	remedy := "as root: install -d -o tvsctld " + dir
	if dir != hostUpstreamDir { // which the unit lets it write
		remedy += "; systemctl edit tvsctld, with ReadWritePaths=" + dir + " under [Service]; systemctl restart tvsctld"
	}
	return remedy
}

// remedyOf knows what nginx's complaints come from.
func remedyOf(err error, name string) string {
	switch complaint := err.Error(); {
	case strings.Contains(complaint, "may not have port"):
		return "write proxy_pass http://SERVICE without the port: the upstream has it"
	case strings.Contains(complaint, "host not found"):
		return "let something write a default upstream before nginx starts, as the README says: a start script, or tmpfiles"
	case strings.Contains(complaint, "no shell"):
		return "use an image with a POSIX shell for " + name
	}
	return "mend the configuration; see tvsctl nginx test"
}

func anyRuns(p *dockerops.Project) bool {
	return slices.ContainsFunc(p.Services, func(s dockerops.Service) bool {
		return slices.ContainsFunc(s.Replicas, func(r dockerops.Replica) bool { return r.Running() })
	})
}

func namesOf(b *balancer) []string {
	var names []string
	for _, backend := range b.backends {
		names = append(names, backend.Service)
	}
	return names
}

func dirOf(x *patient, b *balancer) string {
	if s := x.p.Service(b.service); s != nil {
		return s.Settings.UpstreamDir
	}
	return path.Clean(x.host.Upstreams)
}

// checkUpstreams compares the addresses in nginx's files with the replicas. What is wrong
// now may be about to be mended, so it looks twice.
func checkUpstreams(ctx context.Context, x *patient, r *report) {
	wrong := x.strangers()
	if len(wrong) > 0 && pause(ctx, time.Second) {
		again, err := x.d.examine(ctx, x.p.Name)
		if err != nil {
			return // said of Docker already
		}
		wrong = again.strangers()
	}
	for _, text := range wrong {
		r.wrong("tvsctl nginx reload -p "+x.p.Name, "%s", text)
	}
}

// strangers are the addresses that nginx sends requests to and no running replica has.
func (x *patient) strangers() []string {
	var list []string
	for _, b := range x.nginx {
		// One that cannot be asked has no files, which is said of nginx.
		for _, backend := range b.backends {
			u, err := nginx.ParseUpstream(b.facts.Files[nginx.Upstream{Name: backend.Service}.File()])
			if err != nil {
				continue // it has none, which is said of nginx
			}
			known := x.addresses(b.balancer, backend)
			for _, server := range u.Servers {
				// A name is what a start script wrote, or somebody who knows why.
				if _, err := netip.ParseAddrPort(server.Address); err == nil && !slices.Contains(known, server.Address) {
					list = append(list, fmt.Sprintf("%s sends requests to %s, where no replica of %s runs", b.name, server.Address, backend.Service))
				}
			}
		}
	}
	return list
}

func (x *patient) addresses(b *balancer, backend dockerops.Backend) []string {
	var list []string
	if s := x.p.Service(backend.Service); s != nil {
		for _, replica := range slices.Concat(s.Replicas, s.Retired) {
			if endpoint := replica.Endpoint(b.peers, backend.Port); endpoint != "" && replica.Running() {
				list = append(list, endpoint)
			}
		}
	}
	return list
}

// checkReplicas compares what runs with what is desired.
func checkReplicas(ctx context.Context, x *patient, r *report) {
	s := x.d.site(x.p.Name)
	if s.changing() {
		r.ok("a change is under way")
		return
	}
	// Without an nginx that can be given upstreams, that is what is wrong.
	published := len(x.nginx) > 0 && !slices.ContainsFunc(x.nginx, func(b *examined) bool { return !b.facts.Includes })
	for _, service := range x.d.status(ctx, x.p, x.host).Services {
		if service.Rollout != nil {
			continue // which says for itself how far it is
		}
		if x.p.OfUnits() {
			instanceFindings(service, r)
		}
		count, asked := x.d.state.project(x.p.Name).Desired[service.Name]
		asked = asked && !x.p.OfUnits()
		if asked && count != len(service.Replicas) {
			r.wrong(fmt.Sprintf("tvsctl scale -p %s %s %d, or another number", x.p.Name, service.Name, count),
				"drift: %d %s of %s, where %d are desired", len(service.Replicas), plural(len(service.Replicas), "replica"), service.Name, count)
		}
		for _, problem := range service.Problems {
			if strings.Contains(problem, "different configurations") {
				r.warn(fmt.Sprintf("tvsctl rollout -p %s %s", x.p.Name, service.Name), "service %s: %s", service.Name, problem)
			}
		}
		for _, replica := range service.Replicas {
			switch {
			case service.Running == 0: // somebody stopped it
			case replica.Problem != "" && replica.Problem != "starting":
				r.wrong(fmt.Sprintf("see tvsctl logs -p %s %s.%d", x.p.Name, service.Name, replica.Number), "%s %s", replica.Name, replica.Problem)
			case service.Balanced && replica.Ready && !replica.Serving && published:
				r.wrong("tvsctl nginx reload -p "+x.p.Name, "%s is ready, and nginx does not serve it", replica.Name)
			}
		}
	}
}
