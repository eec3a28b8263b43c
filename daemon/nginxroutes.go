package daemon

import (
	"context"
	"fmt"
	"net/http"

	"tvsctl/dockerops"
	"tvsctl/ipc"
	"tvsctl/nginx"
)

func getNginx(d *Daemon, r *http.Request) (any, error) {
	name, err := d.projectOf(r)
	if err != nil {
		return nil, err
	}
	p, host, err := d.withNginx(r.Context(), name)
	if err != nil {
		return nil, err
	}
	return d.status(r.Context(), p, host).Nginx, nil
}

func postNginxTest(d *Daemon, r *http.Request) (any, error) {
	name, err := d.projectOf(r)
	if err != nil {
		return nil, err
	}
	running, err := d.runningNginx(r.Context(), name)
	if err != nil {
		return nil, err
	}
	results := []ipc.NginxTest{}
	for _, b := range running {
		result, err := d.sharedTest(r.Context(), b)
		if err != nil {
			return nil, err
		}
		results = append(results, result)
	}
	return results, nil
}

// sharedTest tests the configuration of an nginx for all who ask meanwhile: to ask costs
// nothing, and each test would hold up the publications that it goes before.
func (d *Daemon) sharedTest(ctx context.Context, b *balancer) (ipc.NginxTest, error) {
	return shared(ctx, &d.tests, b.name, func(ctx context.Context) (ipc.NginxTest, error) {
		ok, output, err := b.control.Test(ctx)
		return ipc.NginxTest{Name: b.name, OK: ok, Output: output}, err
	})
}

// sharedFacts is the same for what an nginx has of a project. Nothing in it is to be written
// to.
func (d *Daemon) sharedFacts(ctx context.Context, project string, b *balancer) (nginx.Facts, error) {
	return shared(ctx, &d.facts, project+" "+b.name, b.control.Facts)
}

func shared[T any](ctx context.Context, f *flights, question string, ask func(context.Context) (T, error)) (T, error) {
	reply, err := f.ask(ctx, question, func(ctx context.Context) (any, error) { return ask(ctx) })
	if err != nil {
		var none T
		if ctx.Err() != nil {
			err = ctx.Err() // it is not Docker that did not answer
		}
		return none, err
	}
	return reply.(T), nil
}

func postNginxReload(d *Daemon, r *http.Request) (any, error) {
	name, err := d.projectOf(r)
	if err != nil {
		return nil, err
	}
	if _, err := d.runningNginx(r.Context(), name); err != nil {
		return nil, err
	}
	return d.launch(r.Context(), d.site(name), "reload", "reload nginx of "+name, job{Kind: "reload"})
}

func (s *site) reloadNginx(ctx context.Context, o *operation) (string, error) {
	running, err := s.d.runningNginx(ctx, s.name)
	if err != nil {
		return "", err
	}
	o.begun = true
	for _, b := range running {
		err := s.step(o, "test and reload "+b.name, func() error {
			if err := s.lock(ctx); err != nil {
				return err
			}
			defer s.unlock()
			return b.control.Reload(ctx)
		})
		if err != nil {
			return "", err
		}
	}
	s.forget() // its configuration may say something else now
	return fmt.Sprintf("%d nginx reloaded", len(running)), nil
}

// nginxHint says how a project gets an nginx that tvsctld manages.
func nginxHint(p *dockerops.Project) string {
	if p.OfUnits() {
		return "give its file in /etc/tvsctld/projects an [nginx]"
	}
	return "put label tvs.nginx: SERVICE:PORT on its nginx"
}

// runningNginx returns the nginx of a project that run; that there is none is an error.
func (d *Daemon) runningNginx(ctx context.Context, name string) ([]*balancer, error) {
	p, host, err := d.withNginx(ctx, name)
	if err != nil {
		return nil, err
	}
	running, err := d.site(name).balancersNow(ctx, p, host)
	if err != nil {
		return nil, err
	}
	if len(running) == 0 {
		return nil, &ipc.Error{Code: ipc.CodeNginx, Message: fmt.Sprintf("no nginx of project %s runs", name), Hint: "see tvsctl status"}
	}
	return running, nil
}

// withNginx observes a project that has an nginx of ours.
func (d *Daemon) withNginx(ctx context.Context, name string) (*dockerops.Project, *hostNginx, error) {
	p, host, err := d.observe(ctx, name)
	if err != nil {
		return nil, nil, err
	}
	if p.Empty() {
		return nil, nil, unknownProject(name)
	}
	if len(p.Nginx()) == 0 && host == nil {
		return nil, nil, &ipc.Error{Code: ipc.CodeNginx, Message: fmt.Sprintf("project %s has no nginx that tvsctl manages", name),
			Hint: nginxHint(p)}
	}
	return p, host, nil
}
