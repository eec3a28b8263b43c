package dockerops

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/docker/docker/api/types/container"

	"tvsctl/fault"
)

// Limits are what a container may use, 0 for no limit.
type Limits struct {
	CPUs   int64 `json:"nano_cpus,omitempty"` // in billionths of a processor
	Memory int64 `json:"memory,omitempty"`    // in bytes
	Swap   int64 `json:"swap,omitempty"`      // memory and swap together, in bytes; -1: any
	Pids   int64 `json:"pids,omitempty"`
}

// LimitSet is what was asked for: nil leaves a limit as it is, 0 lifts it.
type LimitSet struct {
	CPUs   *int64 `json:"nano_cpus,omitempty"`
	Memory *int64 `json:"memory,omitempty"`
	Pids   *int64 `json:"pids,omitempty"`
}

// Over returns the set on top of an earlier one.
func (s LimitSet) Over(before LimitSet) LimitSet {
	return LimitSet{CPUs: cmp.Or(s.CPUs, before.CPUs), Memory: cmp.Or(s.Memory, before.Memory), Pids: cmp.Or(s.Pids, before.Pids)}
}

// Limits reports whether the set limits anything.
func (s LimitSet) Limits() bool {
	return slices.ContainsFunc([]*int64{s.CPUs, s.Memory, s.Pids}, func(n *int64) bool { return n != nil && *n != 0 })
}

// String says it in the words of the command line: "cpus 0.5, memory 256M".
func (s LimitSet) String() string {
	var parts []string
	for _, part := range []struct {
		name  string
		value *int64
		text  func(int64) string
	}{{"cpus", s.CPUs, cpusText}, {"memory", s.Memory, bytesText}, {"pids", s.Pids, func(n int64) string { return strconv.FormatInt(n, 10) }}} {
		switch {
		case part.value == nil:
		case *part.value == 0:
			parts = append(parts, "any "+part.name)
		default:
			parts = append(parts, part.name+" "+part.text(*part.value))
		}
	}
	return strings.Join(parts, ", ")
}

func cpusText(nano int64) string { return strconv.FormatFloat(float64(nano)/1e9, 'f', -1, 64) }

// bytesText writes a size as compose files do, without loss.
func bytesText(n int64) string {
	for _, unit := range []struct {
		name string
		size int64
	}{{"G", 1 << 30}, {"M", 1 << 20}, {"K", 1 << 10}} {
		if n >= unit.size && n%unit.size == 0 {
			return strconv.FormatInt(n/unit.size, 10) + unit.name
		}
	}
	return strconv.FormatInt(n, 10)
}

func readLimits(r container.Resources) Limits {
	l := Limits{CPUs: r.NanoCPUs, Memory: r.Memory, Swap: r.MemorySwap}
	if r.CPUQuota > 0 { // the older form of the same
		const defaultPeriod = 100_000 // of the kernel, in microseconds
		l.CPUs = r.CPUQuota * 1e9 / cmp.Or(r.CPUPeriod, defaultPeriod)
	}
	if r.PidsLimit != nil && *r.PidsLimit > 0 {
		l.Pids = *r.PidsLimit
	}
	return l
}

// Host is what the host has, and which limits its kernel knows.
type Host struct {
	CPUs              int
	Memory            int64 // bytes
	CanCPU, CanMemory bool
	CanSwap, CanPids  bool
	CgroupVersion     string // 1 or 2
}

// Host asks the engine what the host has.
func (e *Engine) Host(ctx context.Context) (Host, error) {
	if err := e.negotiate(ctx); err != nil {
		return Host{}, explain(err)
	}
	info, err := e.api.Info(ctx)
	if err != nil {
		return Host{}, explain(err)
	}
	return Host{CPUs: info.NCPU, Memory: info.MemTotal, CanCPU: info.CPUCfsQuota, CanMemory: info.MemoryLimit,
		CanSwap: info.SwapLimit, CanPids: info.PidsLimit, CgroupVersion: cmp.Or(info.CgroupVersion, "1")}, nil
}

// leastMemory is the least that the engine lets a container have (moby
// daemon/daemon_unix.go, linuxMinMemory); leastCPUs the least part of a processor.
const (
	leastMemory = 6 << 20
	leastCPUs   = 1e7
)

// CheckLimits tells whether a service can be limited so, on this host.
func CheckLimits(p *Project, name string, set LimitSet, host Host) error {
	refuse := func(reason Reason, hint, format string, args ...any) error {
		return &RefusedError{Verb: "limit", Reason: reason, Service: name, Text: fmt.Sprintf(format, args...), Hint: hint}
	}
	for _, part := range []struct {
		name  string
		asked *int64
		can   bool
	}{{"cpu", set.CPUs, host.CanCPU}, {"memory", set.Memory, host.CanMemory}, {"pids", set.Pids, host.CanPids}} {
		if part.asked != nil && !part.can {
			return refuse(Unsupported, "see docker info", "the kernel of this host cannot limit %s (no such controller in cgroup v%s)", part.name, host.CgroupVersion)
		}
	}
	between := func(value *int64, least, most int64) bool {
		return value == nil || *value == 0 || *value >= least && *value <= most
	}
	most := int64(host.CPUs) * 1e9
	switch {
	case p.Service(name) == nil:
		return refuse(UnknownService, "", "project %s has no such service", p.Name)
	case !between(set.CPUs, leastCPUs, most):
		return refuse(OutOfRange, "", "cpus %s is not from 0.01 to %d, which this host has", cpusText(*set.CPUs), host.CPUs)
	case !between(set.Memory, leastMemory, 1<<62):
		return refuse(OutOfRange, "", "memory %s is less than 6M, the least that Docker lets a container have", bytesText(*set.Memory))
	case !between(set.Pids, 1, 1<<22): // PID_MAX_LIMIT
		return refuse(OutOfRange, "", "pids %d is not from 1 to %d", *set.Pids, 1<<22)
	}
	return nil
}

// PlanLimit returns the steps that give the replicas of a service the limits that they do
// not have yet. It is a pure function.
func PlanLimit(p *Project, name string, set LimitSet, host Host) *Plan {
	b := &planner{project: p, plan: &Plan{Project: p.Name}}
	service := p.Service(name)
	for _, r := range slices.Concat(service.Retired, service.Replicas) {
		change, back := r.Limits.change(set, host)
		if change == (Limits{}) {
			continue
		}
		step := stepOf(service, r).as(StepLimit)
		step.Set, step.Limits, step.Before = set, change, back
		b.add(step)
	}
	return b.plan
}

// change returns the update that gives a container the limits of the set, and the one
// that gives it back those it has; in both 0 leaves a limit as it is. Docker cannot lift
// a limit of processors or memory: what the host has stands for that. (It takes a swap
// limit of -1 and changes nothing.)
func (l Limits) change(set LimitSet, host Host) (change, back Limits) {
	if n := target(set.CPUs, int64(host.CPUs)*1e9); n != 0 && n != l.CPUs && (*set.CPUs != 0 || l.CPUs != 0) {
		change.CPUs, back.CPUs = n, cmp.Or(l.CPUs, int64(host.CPUs)*1e9)
	}
	if n := target(set.Memory, host.Memory); n != 0 && n != l.Memory && (*set.Memory != 0 || l.Memory != 0) {
		change.Memory, back.Memory = n, cmp.Or(l.Memory, host.Memory)
		change.Swap = l.swapWith(n, host)
		back.Swap = cmp.Or(l.Swap, l.swapWith(back.Memory, host))
	}
	if n := target(set.Pids, -1); n != 0 && n != l.Pids && (*set.Pids != 0 || l.Pids != 0) {
		change.Pids, back.Pids = n, cmp.Or(l.Pids, -1)
	}
	return change, back
}

func target(asked *int64, lifted int64) int64 {
	if asked == nil {
		return 0
	}
	return cmp.Or(*asked, lifted)
}

// swapWith returns the limit of memory and swap together that goes with a new one of
// memory: as much swap as memory, which is what docker run gives, unless the container has
// another amount.
func (l Limits) swapWith(memory int64, host Host) int64 {
	switch {
	case !host.CanSwap || l.Swap < 0:
		return -1
	case l.Memory > 0 && l.Swap >= l.Memory && l.Swap != 2*l.Memory:
		return memory + l.Swap - l.Memory
	}
	return 2 * memory
}

// limited is the spec with the kept limits of its service.
func (s *Spec) limited(set LimitSet) *Spec {
	if s == nil || set == (LimitSet{}) {
		return s
	}
	limited, host := *s, *s.HostConfig
	if set.CPUs != nil {
		host.NanoCPUs, host.CPUQuota, host.CPUPeriod = *set.CPUs, 0, 0
	}
	if set.Memory != nil {
		before := readLimits(host.Resources)
		host.Memory, host.MemorySwap = *set.Memory, 0 // the engine then gives as much swap
		if before.Swap < 0 || before.Memory > 0 && before.Swap != 2*before.Memory && *set.Memory > 0 {
			host.MemorySwap = before.swapWith(*set.Memory, Host{CanSwap: true})
		}
	}
	if set.Pids != nil {
		host.PidsLimit = set.Pids
	}
	limited.HostConfig = &host
	return &limited
}

// Limit changes the limits of a container, running or not; 0 leaves one as it is. What
// the engine would take only in part is an error.
func (e *Engine) Limit(ctx context.Context, id string, l Limits) error {
	if err := e.negotiate(ctx); err != nil {
		return explain(err)
	}
	update := container.UpdateConfig{Resources: container.Resources{NanoCPUs: l.CPUs, Memory: l.Memory, MemorySwap: l.Swap}}
	if l.Pids != 0 {
		update.PidsLimit = &l.Pids
	}
	var reply container.UpdateResponse
	err := fault.Do("docker update", func() (err error) {
		reply, err = e.api.ContainerUpdate(ctx, id, update)
		return err
	})
	e.watches.forget(id) // before its event comes
	switch {
	case isNotFound(err):
		return ErrGone
	case err != nil && (strings.Contains(err.Error(), "device or resource busy") || strings.Contains(err.Error(), "unable to set memory limit")): // runc's words
		return fmt.Errorf("it uses more than %s now, and the kernel cannot take that away", bytesText(l.Memory))
	case err != nil:
		return explain(err)
	case len(reply.Warnings) > 0:
		return fmt.Errorf("the engine says: %s", strings.Join(reply.Warnings, "; "))
	}
	return nil
}

// limit carries out a step of PlanLimit. A replica that is gone needs no limit.
func (a *applier) limit(ctx context.Context, s Step) error {
	ctx, cancel := insisting(ctx)
	defer cancel()
	err := a.engine.Limit(ctx, s.Container, s.Limits)
	if errors.Is(err, ErrGone) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("cannot limit %s: %w", s.Replica, err)
	}
	undo := s
	undo.Set, undo.Limits = LimitSet{}, s.Before
	a.mu.Lock()
	defer a.mu.Unlock()
	a.undo = append(a.undo, undo)
	return nil
}

// limitNew gives a replica that compose has made the kept limits of its service.
func (a *applier) limitNew(ctx context.Context, service string, r Replica) error {
	set := a.project.Service(service).Limits
	if set == (LimitSet{}) {
		return nil
	}
	host, err := a.engine.Host(ctx)
	if err != nil {
		return err
	}
	if change, _ := r.Limits.change(set, host); change != (Limits{}) {
		return a.engine.Limit(ctx, r.ID, change)
	}
	return nil
}
