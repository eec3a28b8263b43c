package policy

import (
	"fmt"
	"slices"
	"strings"
)

// Role is a set of verbs. Each role includes the ones before it.
type Role int

// The roles, from the least to the most. The zero Role holds nothing.
const (
	Viewer   Role = iota + 1 // looks
	Operator                 // runs what is there: more, fewer, again
	Deployer                 // decides what runs: images, up, down
	Admin                    // everything
)

var roleNames = []string{Viewer: "viewer", Operator: "operator", Deployer: "deployer", Admin: "admin"}

// Roles lists the roles, from the least to the most.
func Roles() []Role { return []Role{Viewer, Operator, Deployer, Admin} }

func (r Role) String() string {
	if r < Viewer || r > Admin {
		return ""
	}
	return roleNames[r]
}

// ParseRole returns the role of that name.
func ParseRole(name string) (Role, error) {
	if i := slices.Index(roleNames, name); i >= int(Viewer) {
		return Role(i), nil
	}
	return 0, fmt.Errorf("there is no role %q: the roles are viewer, operator, deployer and admin", name)
}

// Verb is what a caller asks for. What it is done to is the request's Target: one verb
// serves services and units alike where the word is the same.
type Verb string

// The verbs; the table below says whose each is and what it means.
const (
	Status      Verb = "status"
	Logs        Verb = "logs"
	Events      Verb = "events"
	Operations  Verb = "ops"
	Plan        Verb = "plan"
	Verify      Verb = "verify"
	Override    Verb = "override"
	Cat         Verb = "cat"
	Deps        Verb = "deps"
	Scale       Verb = "scale"
	Start       Verb = "start"
	Stop        Verb = "stop"
	Restart     Verb = "restart"
	Reset       Verb = "reset"
	Cancel      Verb = "cancel"
	NginxTest   Verb = "nginx-test"
	NginxReload Verb = "nginx-reload"
	Reload      Verb = "reload"
	ResetFailed Verb = "reset-failed"
	Rollout     Verb = "rollout"
	Continue    Verb = "continue"
	Rollback    Verb = "rollback"
	Up          Verb = "up"
	Down        Verb = "down"
	Exec        Verb = "exec"
	Limit       Verb = "limit"
	Inspect     Verb = "inspect"
	Declare     Verb = "declare"
	Isolate     Verb = "isolate"
	Enable      Verb = "enable"
	Disable     Verb = "disable"
	Mask        Verb = "mask"
	Unmask      Verb = "unmask"
	Audit       Verb = "audit"
)

// VerbInfo says of a verb which role is the least that holds it, whether it changes
// anything (then a rule's rate counts it), and what it can be done to.
type VerbInfo struct {
	Verb     Verb
	Role     Role
	Changes  bool
	Projects bool // a project or a service of one
	Units    bool // a systemd unit
	Meaning  string
}

const (
	looks, changes      = false, true
	notProjects, noUnit = false, false
	projects, units     = true, true
)

// verbs is the one place that says whose a verb is.
var verbs = []VerbInfo{
	{Status, Viewer, looks, projects, units, "see that it exists, its state and its place in lists"},
	{Logs, Viewer, looks, projects, units, "read its logs"},
	{Events, Viewer, looks, projects, noUnit, "follow what happens to it"},
	{Operations, Viewer, looks, projects, units, "list and follow operations"},
	{Plan, Viewer, looks, projects, noUnit, "ask what a change would do (plan, --dry-run)"},
	{Verify, Viewer, looks, projects, noUnit, "probe every replica"},
	{Override, Viewer, looks, projects, noUnit, "get the compose override of what is desired"},
	{Cat, Viewer, looks, notProjects, units, "read its unit files"},
	{Deps, Viewer, looks, notProjects, units, "read its dependencies"},

	{Scale, Operator, changes, projects, noUnit, "change the number of replicas (scale, inc, dec)"},
	{Start, Operator, changes, projects, units, "start"},
	{Stop, Operator, changes, projects, units, "stop"},
	{Restart, Operator, changes, projects, units, "restart"},
	{Reset, Operator, changes, projects, noUnit, "make so many stopped replicas of it"},
	{Cancel, Operator, changes, projects, units, "cancel anybody's operation"},
	{NginxTest, Operator, looks, projects, noUnit, "test the project's nginx"},
	{NginxReload, Operator, changes, projects, noUnit, "reload the project's nginx"},
	{Reload, Operator, changes, notProjects, units, "reload"},
	{ResetFailed, Operator, changes, notProjects, units, "forget that it failed"},

	{Rollout, Deployer, changes, projects, noUnit, "replace the replicas: by another image, or what the compose file says"},
	{Continue, Deployer, changes, projects, noUnit, "let a rollout that paused go on"},
	{Rollback, Deployer, changes, projects, noUnit, "go back to what the last rollout replaced"},
	{Up, Deployer, changes, projects, noUnit, "bring up what the compose files say"},
	{Down, Deployer, changes, projects, noUnit, "take everything down"},

	{Exec, Admin, changes, projects, noUnit, "run a command in a container"},
	{Limit, Admin, changes, projects, noUnit, "change limits of CPU and memory"},
	{Inspect, Admin, looks, projects, noUnit, "look inside: processes, namespaces, files"},
	{Declare, Admin, changes, projects, noUnit, "say where the project's compose files are, which takes sockets = true besides"},
	{Isolate, Admin, changes, notProjects, units, "start a unit and stop all others"},
	{Enable, Admin, changes, notProjects, units, "start it at boot"},
	{Disable, Admin, changes, notProjects, units, "not start it at boot"},
	{Mask, Admin, changes, notProjects, units, "make it impossible to start"},
	{Unmask, Admin, changes, notProjects, units, "make it possible to start again"},
	{Audit, Admin, looks, projects, units, "read who did what, and the log of unit tvsctld.service"},
}

// Verbs lists all verbs, those of the least role first.
func Verbs() []VerbInfo { return slices.Clone(verbs) }

// Info returns the verb's row of the table.
func (v Verb) Info() (info VerbInfo, known bool) {
	i := slices.IndexFunc(verbs, func(i VerbInfo) bool { return i.Verb == v })
	if i < 0 {
		return VerbInfo{}, false
	}
	return verbs[i], true
}

// ParseVerb returns the verb of that name.
func ParseVerb(name string) (Verb, error) {
	if _, known := Verb(name).Info(); !known {
		return "", fmt.Errorf("there is no verb %q: the verbs are %s", name, verbNames())
	}
	return Verb(name), nil
}

// Suits reports whether the verb can be done to such a target. What is about the whole
// host is about its projects.
func (i VerbInfo) Suits(t Target) bool {
	if t.Unit != "" {
		return i.Units
	}
	return i.Projects
}

func verbNames() string {
	var names []string
	for _, i := range verbs {
		names = append(names, string(i.Verb))
	}
	return strings.Join(names, ", ")
}

// role returns the least role that holds the verb. One that the table does not know is
// for admins: a forgotten row lets nobody in.
func (v Verb) role() Role {
	if info, known := v.Info(); known {
		return info.Role
	}
	return Admin
}
