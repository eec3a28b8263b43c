package daemon

import (
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"

	"tvsctl/policy"
)

// granted is what was decided on one request, for the record of what it leads to.
type granted struct {
	mu       sync.Mutex
	fields   fields
	most     bounds
	services []string // that it was decided for; none where it is about more than services
	recorded bool     // the journal has already what came of it
}

type grantedKey struct{}

func withGranted(ctx context.Context) context.Context {
	return context.WithValue(ctx, grantedKey{}, &granted{})
}

// asked returns what was decided on the request that the context is of; the fields are
// nil when nothing was.
func asked(ctx context.Context) (audit fields, most bounds, services []string) {
	g, _ := ctx.Value(grantedKey{}).(*granted)
	if g == nil {
		return nil, nil, nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return maps.Clone(g.fields), maps.Clone(g.most), slices.Clone(g.services)
}

// setRecorded notes that the journal tells what comes of the request: an error that it is
// answered with is then no further entry.
func setRecorded(ctx context.Context) {
	if g, _ := ctx.Value(grantedKey{}).(*granted); g != nil {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.recorded = true
	}
}

func recorded(ctx context.Context) bool {
	g, _ := ctx.Value(grantedKey{}).(*granted)
	if g == nil {
		return false
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.recorded
}

// grant notes that requests are allowed. What changes something is told in the journal
// when it begins (launch); what an admin may look at, here.
func (d *Daemon) grant(ctx context.Context, who peer, requests []policy.Request, decisions []policy.Decision) {
	var targets, rules, services []string
	most, all := bounds{}, false
	for i, q := range requests {
		services, all = append(services, q.Target.Service), all || q.Target.Service == ""
		targets = append(targets, q.Target.String())
		rules = append(rules, decisions[i].Rule)
		most.add(q.Target.Service, decisions[i].MaxReplicas)
	}
	f := d.auditFields(who, requests[0])
	delete(f, "TVS_SERVICE")
	if all {
		services = nil
	} else {
		f["TVS_SERVICE"] = strings.Join(services, " ")
	}
	f["TVS_DECISION"], f["TVS_TARGET"], f["TVS_RULE"] = "allow", strings.Join(targets, " "), strings.Join(rules, " ")
	if g, _ := ctx.Value(grantedKey{}).(*granted); g != nil {
		g.mu.Lock()
		g.fields, g.most, g.services = f, most, services
		g.mu.Unlock()
	}
	if info, known := requests[0].Verb.Info(); known && info.Role == policy.Admin && !info.Changes {
		d.log.notice(eventAllowed, fmt.Sprintf("Allowed %s to %s %s by rule %s.", who.name(), requests[0].Verb, f["TVS_TARGET"], f["TVS_RULE"]), f)
	}
}

// auditFields say who asks for what.
func (d *Daemon) auditFields(who peer, q policy.Request) fields {
	f := fields{"TVS_VERB": string(q.Verb), "TVS_TARGET": q.Target.String(), "TVS_POLICY": d.policy().Hash(),
		"TVS_USER": who.name()}
	if q.Target.Project != "" {
		f["TVS_PROJECT"] = q.Target.Project
	}
	if q.Target.Service != "" {
		f["TVS_SERVICE"] = q.Target.Service
	}
	if q.Target.Unit != "" {
		f["TVS_UNIT"] = q.Target.Unit
	}
	if who.itself {
		return f
	}
	var gids []string
	for _, gid := range who.gids() {
		gids = append(gids, strconv.FormatUint(uint64(gid), 10))
	}
	f["TVS_UID"], f["TVS_PID"], f["TVS_GIDS"] = strconv.FormatUint(uint64(who.UID), 10), strconv.Itoa(int(who.PID)), strings.Join(gids, " ")
	if login := loginUID(who.PID); login != "" {
		f["TVS_LOGINUID"] = login
	}
	return f
}

// loginUID is the user who logged in, whatever the process has become by su or sudo; ""
// where nobody did. By now another process may have the pid: it is for the record only.
func loginUID(pid int32) string {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/loginuid", pid))
	const unset = "4294967295"
	if login := strings.TrimSpace(string(text)); err == nil && login != unset {
		return login
	}
	return ""
}
