package dockerops

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
)

// TestPlanProperties applies plans for random projects, in random orders that
// their Needs allow, to a model, and looks for a moment at which a request is lost.
func TestPlanProperties(t *testing.T) {
	for seed := range uint64(5000) {
		random := rand.New(rand.NewPCG(seed, 1))
		p, request := randomProject(random), Request{}
		request.Goals = map[string]Goal{}
		for _, name := range []string{"api", "webapp", "worker", "storage"} {
			if random.IntN(2) == 0 {
				request.Goals[name] = Goal{Count: random.IntN(6), Running: random.IntN(4) > 0}
			}
		}
		if random.IntN(4) == 0 {
			request.ViaCompose = map[string]bool{"webapp": true}
		}
		request.StopDependencies = random.IntN(4) == 0
		m := newModel(p, request)
		if err := m.apply(random); err != nil {
			t.Fatalf("seed %d: %v\ngoals %v\nbefore %v\nplan:\n%s", seed, err, request, m.start, render(m.plan))
		}
	}
}

func randomProject(random *rand.Rand) *Project {
	some := func(name string) Service {
		var replicas []string
		number := 0
		for range random.IntN(5) {
			number += 1 + random.IntN(2)
			states := []string{"running", "running", "running", "exited", "created", "paused", "restarting"}
			replicas = append(replicas, fmt.Sprint(number, " ", states[random.IntN(len(states))]))
		}
		return service(name, replicas...)
	}
	return project(some("api").on("storage"), service("entry", "1").balancing("api", "webapp"), some("storage"),
		some("webapp").on("api", "storage"), some("worker").on("storage"))
}

type model struct {
	project   *Project
	request   Request
	plan      *Plan
	start     map[string]string // states by replica name
	state     map[string]string
	service   map[string]string
	ready     map[string]bool
	published map[string]bool
	drained   bool
}

func newModel(p *Project, request Request) *model {
	m := &model{project: p, request: request, plan: MakePlan(p, request), state: map[string]string{},
		service: map[string]string{}, ready: map[string]bool{}, published: map[string]bool{}}
	for _, s := range p.Services {
		for _, r := range s.Replicas {
			m.state[r.Name], m.service[r.Name] = r.State, s.Name
			m.ready[r.Name] = r.State == "running"
		}
	}
	m.start = maps.Clone(m.state)
	m.publish(nil)
	return m
}

func (m *model) publish(leave map[string]bool) {
	m.published = map[string]bool{}
	for name, state := range m.state {
		if _, balanced := m.project.Backends[m.service[name]]; balanced && state == "running" && m.ready[name] && !leave[name] {
			m.published[name] = true
		}
	}
	m.drained = false
}

// serving counts the replicas of a service that nginx has and that answer.
func (m *model) serving(service string) (n int) {
	for name := range m.published {
		if m.service[name] == service && m.state[name] == "running" && m.ready[name] {
			n++
		}
	}
	return n
}

func (m *model) count(service string, state string) (n int) {
	for name, s := range m.state {
		if m.service[name] == service && (state == "" || s == state) {
			n++
		}
	}
	return n
}

func (m *model) apply(random *rand.Rand) error {
	least := map[string]int{}
	for name := range m.project.Backends {
		least[name] = m.serving(name)
		if goal, has := m.request.Goals[name]; has && !goal.Running {
			least[name] = 0
		} else if has {
			stay, _ := split(m.project.Service(name), goal.Count)
			broken := 0 // those that stay and are somebody else's doing
			for _, r := range stay {
				if r.State != "running" && !startable(r) {
					broken++
				}
			}
			if least[name] = min(least[name], goal.Count); least[name] > 0 { // and then it never comes to none
				least[name] = min(least[name], max(1, goal.Count-broken))
			}
		} else if m.request.StopDependencies {
			least[name] = 0
		}
	}
	done := map[int]bool{}
	for len(done) < len(m.plan.Steps) {
		var can []Step
		for i, s := range m.plan.Steps {
			if s.ID != i+1 || slices.ContainsFunc(s.Needs, func(n int) bool { return n >= s.ID || n < 1 }) {
				return fmt.Errorf("step %d needs %v", s.ID, s.Needs)
			}
			if !done[s.ID] && !slices.ContainsFunc(s.Needs, func(n int) bool { return !done[n] }) {
				can = append(can, s)
			}
		}
		s := can[random.IntN(len(can))]
		if s.Kind == StepReady && m.start[s.Replica] != "" && m.state[s.Replica] == m.start[s.Replica] && !startable(Replica{State: m.state[s.Replica]}) && m.state[s.Replica] != "running" {
			return m.takenBack(done) // it is somebody else's doing, and does not become ready
		}
		if err := m.step(s); err != nil {
			return fmt.Errorf("step %d: %v", s.ID, err)
		}
		done[s.ID] = true
		for name := range m.project.Backends {
			if n := m.serving(name); n < least[name] {
				return fmt.Errorf("after step %d only %d of %s serve, and %d before and after", s.ID, n, name, least[name])
			}
		}
	}
	return m.end()
}

// takenBack looks for what could not be undone in a change that failed before its end.
func (m *model) takenBack(done map[int]bool) error {
	for _, s := range m.plan.Steps {
		if done[s.ID] && slices.Contains([]StepKind{StepPublish, StepDrain, StepStop, StepRemove}, s.Kind) {
			return fmt.Errorf("step %d was done before all are ready", s.ID)
		}
	}
	return nil
}

func (m *model) step(s Step) error {
	switch s.Kind {
	case StepCompose:
		highest := 0
		for _, r := range m.project.Service(s.Service).Replicas {
			highest = max(highest, r.Number)
		}
		for m.count(s.Service, "") < s.Count {
			highest++
			name := fmt.Sprintf("tvs-%s-%d", s.Service, highest)
			m.state[name], m.service[name] = "running", s.Service
		}
	case StepCreate:
		if _, there := m.state[s.Replica]; there {
			return fmt.Errorf("%s is there", s.Replica)
		}
		m.state[s.Replica], m.service[s.Replica] = "created", s.Service
	case StepStart:
		if m.state[s.Replica] != "created" && m.state[s.Replica] != "exited" {
			return fmt.Errorf("%s is %q", s.Replica, m.state[s.Replica])
		}
		for _, name := range m.project.Service(s.Service).DependsOn {
			if _, has := m.request.Goals[name]; !has && m.count(name, "exited")+m.count(name, "created") > 0 {
				return fmt.Errorf("%s is stopped", name)
			}
		}
		m.state[s.Replica] = "running"
	case StepReady:
		if m.state[s.Replica] != "running" {
			return fmt.Errorf("%s is %q", s.Replica, m.state[s.Replica])
		}
		m.ready[s.Replica] = true
	case StepPublish:
		leave := map[string]bool{}
		for _, other := range m.plan.Steps {
			leave[other.Replica] = leave[other.Replica] || other.Kind == StepStop || other.Kind == StepRemove
			if other.Kind == StepReady && !m.ready[other.Replica] {
				return fmt.Errorf("%s is not ready", other.Replica)
			}
		}
		m.publish(leave)
	case StepDrain:
		m.drained = true
	case StepStop:
		_, balanced := m.project.Backends[s.Service]
		if _, has := m.request.Goals[s.Service]; has && balanced && (m.published[s.Replica] || !m.drained) {
			return fmt.Errorf("%s may still have requests", s.Replica)
		}
		m.state[s.Replica] = "exited"
	case StepRemove:
		if occupied(Replica{State: m.state[s.Replica]}) {
			return fmt.Errorf("%s is %q", s.Replica, m.state[s.Replica])
		}
		delete(m.state, s.Replica)
		delete(m.published, s.Replica)
	}
	return nil
}

func (m *model) end() error {
	for name, goal := range m.request.Goals {
		if n := m.count(name, ""); n != goal.Count {
			return fmt.Errorf("%s has %d replicas", name, n)
		}
		idle, busy := m.count(name, "exited")+m.count(name, "created"), m.count(name, "running")
		if goal.Running && idle > 0 || !goal.Running && busy+m.count(name, "paused")+m.count(name, "restarting") > 0 {
			return fmt.Errorf("%s has %d stopped and %d running", name, idle, busy)
		}
		if _, balanced := m.project.Backends[name]; balanced && goal.Running && m.serving(name) != busy {
			return fmt.Errorf("nginx has %d of %d of %s", m.serving(name), busy, name)
		}
		highest := 0
		for _, r := range m.project.Service(name).Replicas {
			highest = max(highest, r.Number)
		}
		for _, s := range m.plan.Steps {
			if s.Kind == StepCreate && s.Service == name {
				if highest++; s.Number != highest {
					return fmt.Errorf("%s is made after number %d", s.Replica, highest-1)
				}
			}
		}
	}
	return nil
}
