package daemon

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"

	"tvsctl/ipc"
)

// check looks at one part of the host. It changes nothing.
type check struct {
	name string
	look func(ctx context.Context, d *Daemon, r *report)
}

// checks are in the order in which they are told: what others rest on comes first.
var checks = []check{
	{"systemd", checkSystemd},
	{"units", checkUnits},
	{"state", checkState},
	{"settings", checkSettings},
	{"policy", checkPolicy},
	{"polkit", checkPolkit},
	{"docker", checkDocker},
	{"compose", checkCompose},
	{"disk", checkDisk},
	{"cgroup", checkCgroup},
	{"clock", checkClock},
	{"projects", checkProjectFiles},
	{"project", checkProjects},
}

// checkPatience bounds each check: a part that hangs must not hide what the others say.
const checkPatience = 10 * time.Second

// getDoctor looks at all that the daemon needs and at the mistakes that are often made.
func getDoctor(d *Daemon, r *http.Request) (any, error) {
	ctx, cancel := context.WithTimeout(r.Context(), checkPatience)
	defer cancel()
	reports := make([]report, len(checks))
	var group sync.WaitGroup
	for i, c := range checks {
		reports[i].check = c.name
		group.Go(func() { c.look(ctx, d, &reports[i]) })
	}
	group.Wait()
	findings := []ipc.Finding{}
	for _, r := range reports {
		findings = append(findings, r.findings...)
	}
	return findings, nil
}

// report collects what a check finds.
type report struct {
	check    string
	findings []ipc.Finding
}

func (r *report) add(state ipc.FindingState, remedy, text string) {
	r.findings = append(r.findings, ipc.Finding{State: state, Check: r.check, Text: text, Remedy: remedy})
}

// ok says that something is as it should be.
func (r *report) ok(format string, args ...any) {
	r.add(ipc.FindingOK, "", fmt.Sprintf(format, args...))
}

// warn says that something can go wrong, and what to do.
func (r *report) warn(remedy, format string, args ...any) {
	r.add(ipc.FindingWarning, remedy, fmt.Sprintf(format, args...))
}

// wrong says that something is wrong, and what to do.
func (r *report) wrong(remedy, format string, args ...any) {
	r.add(ipc.FindingProblem, remedy, fmt.Sprintf(format, args...))
}

// fine says so if nothing else was said.
func (r *report) fine(format string, args ...any) {
	if len(r.findings) == 0 {
		r.ok(format, args...)
	}
}
