package dockerops

import (
	"fmt"
	"strings"
	"testing"

	"github.com/docker/docker/api/types/container"
)

// service makes a service of project tvs. A replica is "NUMBER" when it runs,
// else "NUMBER STATE".
func service(name string, replicas ...string) Service {
	s := Service{Name: name, Spec: &Spec{Project: "tvs", Service: name, Separator: "-",
		Config: &container.Config{}, HostConfig: &container.HostConfig{}}}
	for _, text := range replicas {
		r := Replica{State: "running"}
		if _, err := fmt.Sscan(text, &r.Number, &r.State); r.Number == 0 {
			panic(err)
		}
		r.Name = s.Spec.ReplicaName(r.Number)
		r.ID = "id-" + r.Name
		s.Replicas = append(s.Replicas, r)
	}
	return s
}

func (s Service) on(names ...string) Service {
	s.DependsOn = names
	return s
}

func (s Service) balancing(names ...string) Service {
	for _, name := range names {
		s.Settings.Balances = append(s.Settings.Balances, Backend{Service: name, Port: 8080})
	}
	return s
}

func project(services ...Service) *Project {
	p := &Project{Name: "tvs", Services: services, Backends: map[string]Backend{}}
	for _, nginx := range p.Nginx() {
		for _, backend := range nginx.Settings.Balances {
			p.Backends[backend.Service] = backend
		}
	}
	return p
}

// render writes a plan as lines such as "3 start webapp-2 after 1,2".
func render(plan *Plan) string {
	var b strings.Builder
	for _, s := range plan.Steps {
		fmt.Fprintf(&b, "%d %s", s.ID, s.Kind)
		if s.Replica != "" {
			fmt.Fprintf(&b, " %s", strings.TrimPrefix(s.Replica, "tvs-"))
		}
		if s.Kind == StepCompose {
			fmt.Fprintf(&b, " %s=%d", s.Service, s.Count)
		}
		if len(s.Needs) > 0 {
			fmt.Fprintf(&b, " after %s", strings.Trim(strings.ReplaceAll(fmt.Sprint(s.Needs), " ", ","), "[]"))
		}
		b.WriteString("\n")
	}
	return b.String()
}

func scale(name string, count int) Request {
	return Request{Goals: map[string]Goal{name: {Count: count, Running: true}}}
}

func stop(name string, count int) Request {
	return Request{Goals: map[string]Goal{name: {Count: count}}}
}

var entry = service("entry", "1").balancing("webapp")

type planCase struct {
	name    string
	project *Project
	request Request
	want    string
}

func runPlans(t *testing.T, cases []planCase) {
	t.Helper()
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			want := strings.TrimPrefix(strings.ReplaceAll(c.want, "\t", ""), "\n")
			got := MakePlan(c.project, c.request)
			if text := render(got); text != want {
				t.Errorf("got:\n%swant:\n%s", text, want)
			}
			if got.Empty() != (want == "") {
				t.Errorf("Empty() = %v", got.Empty())
			}
		})
	}
}

func TestPlanScale(t *testing.T) {
	both := Request{Goals: map[string]Goal{"api": {Count: 1, Running: true}, "webapp": {Count: 2, Running: true}}}
	runPlans(t, []planCase{
		{"grow by one", project(entry, service("webapp", "1")), scale("webapp", 2), `
			1 create webapp-2
			2 start webapp-2 after 1
			3 ready webapp-2 after 2
			4 publish after 3
		`},
		{"grow by two at once", project(entry, service("webapp", "1", "2")), scale("webapp", 4), `
			1 create webapp-3
			2 start webapp-3 after 1
			3 ready webapp-3 after 2
			4 create webapp-4
			5 start webapp-4 after 4
			6 ready webapp-4 after 5
			7 publish after 3,6
		`},
		{"from none, by the kept spec", project(entry, service("webapp")), scale("webapp", 1), `
			1 create webapp-1
			2 start webapp-1 after 1
			3 ready webapp-1 after 2
			4 publish after 3
		`},
		{"gaps are not filled", project(entry, service("webapp", "2", "5")), scale("webapp", 4), `
			1 create webapp-6
			2 start webapp-6 after 1
			3 ready webapp-6 after 2
			4 create webapp-7
			5 start webapp-7 after 4
			6 ready webapp-7 after 5
			7 publish after 3,6
		`},
		{"a stopped one is started before one is made", project(entry, service("webapp", "1", "2 exited")), scale("webapp", 3), `
			1 start webapp-2
			2 ready webapp-2 after 1
			3 create webapp-3
			4 start webapp-3 after 3
			5 ready webapp-3 after 4
			6 publish after 2,5
		`},
		{"shrink, highest first", project(entry, service("webapp", "1", "3", "4")), scale("webapp", 1), `
			1 publish
			2 drain after 1
			3 stop webapp-4 after 2
			4 remove webapp-4 after 3
			5 stop webapp-3 after 2
			6 remove webapp-3 after 5
		`},
		{"to none", project(entry, service("webapp", "1")), scale("webapp", 0), `
			1 publish
			2 drain after 1
			3 stop webapp-1 after 2
			4 remove webapp-1 after 3
		`},
		{"the lower one is started before the higher one leaves", project(entry, service("webapp", "1 exited", "2")), scale("webapp", 1), `
			1 start webapp-1
			2 ready webapp-1 after 1
			3 publish after 2
			4 drain after 3
			5 stop webapp-2 after 4
			6 remove webapp-2 after 5
		`},
		{"stopped ones leave without a drain", project(entry, service("webapp", "1", "2 exited", "3 created", "4 dead")), scale("webapp", 1), `
			1 remove webapp-4
			2 remove webapp-3
			3 remove webapp-2
		`},
		{"one is grown and one shrunk with one publication",
			project(service("api", "1", "2"), service("entry", "1").balancing("webapp", "api"), service("webapp", "1")), both, `
			1 create webapp-2
			2 start webapp-2 after 1
			3 ready webapp-2 after 2
			4 publish after 3
			5 drain after 4
			6 stop api-2 after 5
			7 remove api-2 after 6
		`},
		{"unbalanced ones concern no nginx", project(entry, service("worker", "1", "2")), scale("worker", 3), `
			1 create worker-3
			2 start worker-3 after 1
			3 ready worker-3 after 2
		`},
		{"unbalanced ones are stopped without a drain", project(entry, service("worker", "1", "2")), scale("worker", 1), `
			1 stop worker-2
			2 remove worker-2 after 1
		`},
		{"nothing to do", project(entry, service("webapp", "1", "2")), scale("webapp", 2), ""},
		{"an unknown service", project(entry, service("webapp", "1")), scale("nothing", 2), ""},
		{"others are not touched", project(entry, service("storage", "1 exited"), service("webapp", "1")), scale("webapp", 1), ""},
	})
}

func TestPlanOddStates(t *testing.T) {
	runPlans(t, []planCase{
		{"paused and restarting ones that stay are left alone", project(entry, service("webapp", "1 paused", "2 restarting")), scale("webapp", 2), ""},
		{"paused and restarting ones are stopped when they leave", project(entry, service("webapp", "1", "2 paused", "3 restarting")), scale("webapp", 1), `
			1 publish
			2 drain after 1
			3 stop webapp-3 after 2
			4 remove webapp-3 after 3
			5 stop webapp-2 after 2
			6 remove webapp-2 after 5
		`},
		{"the one that stays is paused", project(entry, service("webapp", "1 paused", "2")), scale("webapp", 1), `
			1 ready webapp-1
			2 publish after 1
			3 drain after 2
			4 stop webapp-2 after 3
			5 remove webapp-2 after 4
		`},
		{"neither serves", project(entry, service("webapp", "1 restarting", "2 paused")), scale("webapp", 1), `
			1 publish
			2 drain after 1
			3 stop webapp-2 after 2
			4 remove webapp-2 after 3
		`},
		{"one under removal", project(entry, service("webapp", "1", "2 removing")), scale("webapp", 1), `
			1 remove webapp-2
		`},
		{"its number is not used again", project(entry, service("webapp", "1", "2 removing")), scale("webapp", 3), `
			1 create webapp-3
			2 start webapp-3 after 1
			3 ready webapp-3 after 2
			4 publish after 3
		`},
		{"one that was created and not started", project(entry, service("webapp", "1", "2 created")), scale("webapp", 2), `
			1 start webapp-2
			2 ready webapp-2 after 1
			3 publish after 2
		`},
	})
}

func TestPlanCompose(t *testing.T) {
	via := func(r Request) Request {
		r.ViaCompose = map[string]bool{"webapp": true}
		return r
	}
	runPlans(t, []planCase{
		{"compose makes and starts", project(entry, service("webapp", "2")), via(scale("webapp", 3)), `
			1 compose webapp=3
			2 ready webapp-3 after 1
			3 ready webapp-4 after 1
			4 publish after 2,3
		`},
		{"after what the service depends on", project(entry, service("storage", "1 exited"), service("webapp", "1").on("storage")), via(scale("webapp", 2)), `
			1 start storage-1
			2 ready storage-1 after 1
			3 compose webapp=2 after 2
			4 ready webapp-2 after 3
			5 publish after 2,4
		`},
		{"shrinking needs no compose", project(entry, service("webapp", "1", "2")), via(scale("webapp", 1)), `
			1 publish
			2 drain after 1
			3 stop webapp-2 after 2
			4 remove webapp-2 after 3
		`},
	})
}

func TestStepText(t *testing.T) {
	for want, step := range map[string]Step{
		"create tvs-webapp-2":                  {Kind: StepCreate, Replica: "tvs-webapp-2"},
		"wait until tvs-webapp-2 is ready":     {Kind: StepReady, Replica: "tvs-webapp-2"},
		"publish to nginx":                     {Kind: StepPublish},
		"drain requests in flight":             {Kind: StepDrain},
		"let docker compose scale webapp to 3": {Kind: StepCompose, Service: "webapp", Count: 3},
		"remove tvs-webapp-2":                  {Kind: StepRemove, Replica: "tvs-webapp-2"},
	} {
		if got := step.Text(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
