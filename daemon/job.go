package daemon

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"tvsctl/dockerops"
	"tvsctl/ipc"
	"tvsctl/policy"
)

// job is what an operation has to do, in a form that outlives the daemon: what was
// asked for, and from its turn on what that came to mean.
type job struct {
	Kind    string          `json:"kind"` // a key of kinds
	Request json.RawMessage `json:"request,omitempty"`

	// Audit says who asked, and by which rule it was allowed; Most how many replicas
	// the rules allowed.
	Audit fields `json:"audit,omitempty"`
	Most  bounds `json:"most,omitempty"`
	// Sockets is whether it may run a stack that mounts sockets that control the host.
	Sockets bool `json:"sockets,omitempty"`

	// Decided is set, and on disk, before the first side effect.
	Decided *decided `json:"decided,omitempty"`
}

// decided is an intent, and what it met.
type decided struct {
	Goals            map[string]dockerops.Goal `json:"goals"`
	Desired          map[string]int            `json:"desired,omitempty"`
	StopDependencies bool                      `json:"stop_dependencies,omitempty"`
	Bases            map[string]int            `json:"bases,omitempty"`
	Restart          *restarting               `json:"restart,omitempty"`
	// Before holds the containers of the goals' services and what they depend on,
	// and whether each ran; Highest the numbers of the services' last replicas.
	Before  map[string]bool `json:"before"`
	Highest map[string]int  `json:"highest"`
}

// work is what an operation of a kind does when it has its turn. It returns the
// sentence that says what came of it. It may be asked a second time, by a later life
// of the daemon, and then goes on from what it sees.
type work func(s *site, ctx context.Context, o *operation) (result string, err error)

// kinds are all kinds of operations.
var kinds = map[string]work{
	"scale": (*site).carryOut, "adjust": (*site).carryOut, "reset": (*site).carryOut,
	"start": (*site).carryOut, "stop": (*site).carryOut,
	"rollout": (*site).replace, "restart": (*site).replace, "rollback": (*site).replace, "continue": (*site).replace,
	"restore": (*site).startAll, "up": (*site).up, "down": (*site).down, "reload": (*site).reloadNginx,
	"limit": (*site).limit,
}

// newJob makes the job of a request.
func newJob(kind string, request any) (job, error) {
	text, err := json.Marshal(request)
	return job{Kind: kind, Request: text}, err
}

// verb is what a person calls it.
func (j job) verb() string {
	if j.Kind == "adjust" {
		return "scale"
	}
	return j.Kind
}

// asks is the verb that the policy has for it.
func (j job) asks() policy.Verb {
	if j.Kind == "reload" {
		return policy.NginxReload
	}
	return policy.Verb(j.verb())
}

// within refuses more replicas than were allowed: what is relative to what is there can
// have come to more since.
func (j job) within(want intent) error {
	for name, goal := range want.request.Goals {
		most, bounded := j.Most.of(name)
		if bounded && want.counted(j.asks(), name) && goal.Running && goal.Count > most {
			return &ipc.Error{Code: ipc.CodeForbidden, Message: fmt.Sprintf("cannot %s: rule %s allows %d replicas of %s at most", want.summary, j.Audit["TVS_RULE"], most, name)}
		}
	}
	return nil
}

// change makes of a job the change that it is.
func (j job) change() (change, error) {
	make, known := changes[j.Kind]
	if !known {
		return nil, fmt.Errorf("there is no change of kind %q", j.Kind)
	}
	return make(j.Request)
}

// changes notes what the outcome's entry in the journal says of before and after.
func (j *job) changes(before, after []string) {
	j.Audit = maps.Clone(j.Audit)
	if j.Audit == nil {
		j.Audit = fields{}
	}
	j.Audit["TVS_BEFORE"], j.Audit["TVS_AFTER"] = strings.Join(before, " "), strings.Join(after, " ")
}

// ran are the replicas that ran before an earlier life of the job began; nil for its first.
func (j job) ran() map[string]bool {
	if j.Decided == nil {
		return nil
	}
	return j.Decided.Before
}

// settle notes what an intent came to mean and what it met.
func (j *job) settle(p *dockerops.Project, want intent) {
	d := &decided{Goals: want.request.Goals, Desired: want.desired, StopDependencies: want.request.StopDependencies, Bases: want.bases, Restart: want.restart,
		Before: map[string]bool{}, Highest: map[string]int{}}
	for _, service := range p.Services {
		d.Highest[service.Name] = 0
		for _, r := range service.Replicas {
			d.Before[r.ID] = r.Running()
			d.Highest[service.Name] = max(d.Highest[service.Name], r.Number)
		}
		if service.Units != nil {
			for _, r := range service.Within(want.request.Goals[service.Name].Count) {
				d.Before[r.ID] = r.Running()
				d.Highest[service.Name] = max(d.Highest[service.Name], r.Number)
			}
		}
	}
	j.Decided = d
	var before, after []string
	for _, name := range slices.Sorted(maps.Keys(d.Goals)) {
		service, running := p.Service(name), 0
		if service == nil {
			continue
		}
		replicas := service.Replicas
		for _, r := range replicas {
			if r.Running() {
				running++
			}
		}
		before = append(before, counted(name, running, len(replicas)))
		if goal := d.Goals[name]; goal.Running {
			after = append(after, counted(name, goal.Count, goal.Count))
		} else {
			after = append(after, counted(name, 0, goal.Count))
		}
	}
	j.changes(before, after)
}

// counted says "webapp=3", or "webapp=1/3" when only so many of them run.
func counted(service string, running, all int) string {
	if running == all {
		return fmt.Sprintf("%s=%d", service, all)
	}
	return fmt.Sprintf("%s=%d/%d", service, running, all)
}

// again is the intent of a job that was decided, with what an earlier life of it did.
func (d *decided) again(p *dockerops.Project, summary string) intent {
	request := dockerops.Request{Goals: d.Goals, StopDependencies: d.StopDependencies, Adopted: map[string]dockerops.StepKind{}}
	for _, service := range p.Services {
		for _, r := range service.Replicas {
			ran, known := d.Before[r.ID]
			switch {
			case !known && r.Number > d.Highest[service.Name]:
				request.Adopted[r.ID] = dockerops.StepRemove
			case known && !ran && r.Running():
				request.Adopted[r.ID] = dockerops.StepStop
			}
		}
	}
	return intent{request: request, summary: summary, desired: maps.Clone(d.Desired), bases: d.Bases, restart: d.Restart}
}

// resume takes up the operations that an earlier life of the daemon did not end. What
// they made is held back before the guard looks.
func (d *Daemon) resume(unfinished []keptOperation) {
	for _, kept := range unfinished {
		o := newOperation(d.log, kept.Operation, kept.Job)
		o.resumed, o.begun = true, d.mayHaveBegun(kept)
		o.interrupted.Store(true)
		if kept.Job.Kind == unitKind && d.state.usable() == nil {
			d.log.notice(eventResumed, fmt.Sprintf("Looking what came of what tvsctld did not end: %s.", kept.Summary), o.fields())
			d.admitUnit(o)
			continue
		}
		if d.state.usable() != nil || kinds[kept.Job.Kind] == nil {
			d.abandon(o)
			continue
		}
		s := d.site(kept.Project)
		if decided := kept.Job.Decided; decided != nil && decided.Restart == nil { // of a restart what is new is as what was there
			s.holdMade(decided)
		}
		d.log.notice(eventResumed, fmt.Sprintf("Taking up again what tvsctld did not end: %s in project %s.", kept.Summary, kept.Project), o.fields())
		d.admit(s, o)
	}
}

// abandon ends an operation that no version of the daemon can go on with.
func (d *Daemon) abandon(o *operation) {
	record := o.snapshot()
	record.State, record.Ended = ipc.OperationFailed, time.Now()
	record.Error = &ipc.Error{Code: ipc.CodeInternal, Message: "tvsctld ended in the middle of it", Hint: "see tvsctl status, and repeat the command"}
	if err := d.state.record(record, nil); err != nil {
		d.log.error(eventState, "Cannot keep the outcome of an operation: "+err.Error()+".", o.fields())
	}
	d.logOutcome(o, record)
}
