package ipc

import "time"

const (
	// DefaultSocket is where systemd listens for tvsctld.
	DefaultSocket = "/run/tvsctld.sock"
	// OnlyProject stands for the only project of the host in a resource's path.
	OnlyProject = "-"
	// MaxRequestBytes bounds a request body.
	MaxRequestBytes = 1 << 20
	// MaxReplicas bounds what a service without tvs.scale.max may be scaled to.
	MaxReplicas = 1000
)

// Route is one method of one resource, and who may use it.
type Route struct {
	Method string `json:"method"`
	Path   string `json:"path"`   // with variables, as {project}
	Access string `json:"access"` // one of the words below
	// Verb is what the policy is asked about, empty when the access is open or filtered.
	Verb string `json:"verb,omitempty"`
}

// Who may use a route.
const (
	AccessOpen     = "open"     // whoever may connect
	AccessFiltered = "filtered" // whoever may connect; it shows what the caller may see
	AccessWhole    = "whole"    // who may do the verb to all of the path's project
	AccessPartly   = "partly"   // who may do the verb to something in the path's project
	AccessUnit     = "unit"     // who may do the verb to the path's unit
	AccessHost     = "host"     // who may do the verb to the whole host
)

// Version describes the daemon.
type Version struct {
	Version string `json:"version"`
	Commit  string `json:"commit,omitempty"`
	Go      string `json:"go"`
	// Engine and EngineAPI are empty when Docker cannot be reached.
	Engine    string `json:"engine,omitempty"`
	EngineAPI string `json:"engine_api,omitempty"`
}

// State is the condition of a project.
type State string

const (
	StateUp       State = "up"       // nginx runs and every service has what is desired
	StateDegraded State = "degraded" // something runs, but not all that is desired
	StateStopped  State = "stopped"  // no replica of a balanced service runs
)

// ProjectSummary is one line of the list of projects.
type ProjectSummary struct {
	Name     string `json:"name"`
	Replicas int    `json:"replicas"` // containers of the project, running or not
	Running  int    `json:"running"`
	Declared bool   `json:"declared"` // has a declaration that up can use
}

// Status is one project, as observed now.
type Status struct {
	Project string `json:"project"`
	State   State  `json:"state"`
	// Entry is the URL at which nginx is reached from this host, if it publishes a port.
	Entry    string    `json:"entry,omitempty"`
	Nginx    []Nginx   `json:"nginx"`
	Services []Service `json:"services"` // without the nginx ones, sorted by name
	// Operations are those of this project that run now.
	Operations []Operation `json:"operations"`
	Problems   []string    `json:"problems,omitempty"` // of the project or the daemon as a whole
}

// Nginx is one nginx in front of a project: a container or the host's unit.
type Nginx struct {
	Name      string     `json:"name"`    // replica name or unit name
	Service   string     `json:"service"` // compose service; empty for a unit
	State     string     `json:"state"`   // as Docker or systemd says: running, exited, active, …
	Since     time.Time  `json:"since,omitzero"`
	Version   string     `json:"version,omitempty"`
	Upstreams []Upstream `json:"upstreams"`
	Problems  []string   `json:"problems,omitempty"`
}

// Upstream is one upstream block in force.
type Upstream struct {
	Service string `json:"service"`
	File    string `json:"file"`
	// Generation names the contents: the same members make the same generation.
	Generation string   `json:"generation"`
	Servers    []Server `json:"servers"` // empty: answers 502
}

// Server is one member of an upstream.
type Server struct {
	Address string `json:"address"` // HOST:PORT
	Replica string `json:"replica,omitempty"`
}

// Service is one compose service.
type Service struct {
	Name     string `json:"name"`
	Balanced bool   `json:"balanced"` // by an nginx that tvsctld manages
	Port     int    `json:"port,omitempty"`
	Desired  int    `json:"desired"`
	Running  int    `json:"running"`
	Ready    int    `json:"ready"`
	// Match is the regular expression whose first group finds a replica's name
	// in the page it answers (label tvs.verify.match).
	Match    string    `json:"match,omitempty"`
	Rollout  *Rollout  `json:"rollout,omitempty"` // under way or holding
	Replicas []Replica `json:"replicas"`
	Problems []string  `json:"problems,omitempty"`
}

// Rollout is how far the replicas of a service are replaced.
type Rollout struct {
	Operation string `json:"operation"`
	Summary   string `json:"summary"` // "roll out webapp to app:2"
	New       int    `json:"new"`     // new replicas that run
	Count     int    `json:"count"`   // of new replicas in the end
	Paused    bool   `json:"paused"`
	Failure   string `json:"failure,omitempty"` // why it goes back, and could not
}

// Replica is one container of a service, or one instance of a template unit.
type Replica struct {
	Number   int       `json:"number"`
	Name     string    `json:"name"`
	ID       string    `json:"id"` // short, as docker ps prints it; a unit's name
	Hostname string    `json:"hostname"`
	Image    string    `json:"image"`
	State    string    `json:"state"` // as Docker says: created, running, exited, …
	Health   string    `json:"health,omitempty"`
	Ready    bool      `json:"ready"`
	Serving  bool      `json:"serving"` // is in an upstream in force
	Address  string    `json:"address,omitempty"`
	Created  time.Time `json:"created"`
	Since    time.Time `json:"since,omitzero"` // start, or end when it does not run
	ExitCode *int      `json:"exit_code,omitempty"`
	Problem  string    `json:"problem,omitempty"`
}

// ScaleRequest sets the desired counts of services.
type ScaleRequest struct {
	Services map[string]int `json:"services"`
	DryRun   bool           `json:"dry_run,omitempty"`
}

// AdjustRequest changes a count relative to what is desired when the operation
// gets its turn, so that two of them add up. It never goes under 1.
type AdjustRequest struct {
	Service string `json:"service,omitempty"` // empty: the only balanced one
	By      int    `json:"by"`
	DryRun  bool   `json:"dry_run,omitempty"`
}

// ResetRequest forces the initial, stopped configuration: Count stopped replicas
// of each balanced service. Count 0 keeps the desired counts.
type ResetRequest struct {
	Count int `json:"count,omitempty"`
	// Base is the port of the first instance of a template unit; 0: as the project's file says.
	Base   int  `json:"base,omitempty"`
	DryRun bool `json:"dry_run,omitempty"`
}

// StartRequest starts the desired replicas and what they depend on.
type StartRequest struct {
	DryRun bool `json:"dry_run,omitempty"`
}

// StopRequest takes the balanced services out of nginx and stops them.
type StopRequest struct {
	Dependencies bool `json:"dependencies,omitempty"` // also what they depend on
	DryRun       bool `json:"dry_run,omitempty"`
}

// RolloutRequest replaces the replicas of a service by new ones, start-first: of
// another image, or as its compose file and the tag in it mean now.
type RolloutRequest struct {
	Service    string `json:"service"`
	Image      string `json:"image,omitempty"`       // empty: as the compose file says
	MaxSurge   int    `json:"max_surge,omitempty"`   // how many replicas more may run meanwhile; 0 means 1
	PauseAfter int    `json:"pause_after,omitempty"` // holds after so many new replicas; 0: does not
	DryRun     bool   `json:"dry_run,omitempty"`
}

// ContinueRequest lets a rollout that holds go on to its end.
type ContinueRequest struct {
	Service string `json:"service"`
	DryRun  bool   `json:"dry_run,omitempty"`
}

// RollbackRequest returns a service to what its last rollout replaced. One that holds, or
// could not go back, goes back.
type RollbackRequest struct {
	Service  string `json:"service"`
	MaxSurge int    `json:"max_surge,omitempty"`
	DryRun   bool   `json:"dry_run,omitempty"`
}

// RestartRequest replaces the replicas of a service by new ones that are the same.
type RestartRequest struct {
	Service  string `json:"service"`
	MaxSurge int    `json:"max_surge,omitempty"`
	DryRun   bool   `json:"dry_run,omitempty"`
}

// UpRequest runs docker compose up with the desired counts.
type UpRequest struct {
	Build bool `json:"build,omitempty"`
}

// DownRequest runs docker compose down.
type DownRequest struct{}

// Declaration says where a project's compose files are. Paths are absolute.
type Declaration struct {
	Directory string   `json:"directory"`
	Files     []string `json:"files"`
	EnvFiles  []string `json:"env_files,omitempty"`
	Profiles  []string `json:"profiles,omitempty"`
}

// Plan is what a change would do.
type Plan struct {
	Project string `json:"project"`
	Summary string `json:"summary"` // "scale webapp from 1 to 3"
	Steps   []Step `json:"steps"`
}

// StepState is how far a step is.
type StepState string

const (
	StepPending StepState = "pending"
	StepRunning StepState = "running"
	StepDone    StepState = "done"
	StepFailed  StepState = "failed"
	StepSkipped StepState = "skipped" // what it waited for failed
)

// Step is one step of a plan or of an operation.
type Step struct {
	ID      int       `json:"id"`
	Kind    string    `json:"kind"` // create, start, ready, publish, drain, stop, remove, …
	Service string    `json:"service,omitempty"`
	Target  string    `json:"target,omitempty"` // the replica, upstream or unit
	Needs   []int     `json:"needs,omitempty"`
	State   StepState `json:"state"`
	Text    string    `json:"text"` // "start tvs-webapp-2"
	Started time.Time `json:"started,omitzero"`
	Ended   time.Time `json:"ended,omitzero"`
	Error   string    `json:"error,omitempty"`
}

// OperationState is how far an operation is.
type OperationState string

const (
	OperationQueued    OperationState = "queued" // behind another of the same project
	OperationRunning   OperationState = "running"
	OperationSucceeded OperationState = "succeeded"
	OperationFailed    OperationState = "failed"
)

// Finished reports whether the outcome is known.
func (s OperationState) Finished() bool {
	return s == OperationSucceeded || s == OperationFailed
}

// Operation is one change, from request to outcome.
type Operation struct {
	ID       string         `json:"id"`
	Project  string         `json:"project"`            // empty for a change of a unit
	Services []string       `json:"services,omitempty"` // those that are changed; none where it is about more than services
	Unit     string         `json:"unit,omitempty"`     // the unit that is changed
	Verb     string         `json:"verb"`               // scale, start, up, …
	Summary  string         `json:"summary"`            // "scale webapp from 1 to 3"
	User     string         `json:"user"`
	UID      uint32         `json:"uid"`
	State    OperationState `json:"state"`
	Queued   time.Time      `json:"queued"`
	Started  time.Time      `json:"started,omitzero"`
	Ended    time.Time      `json:"ended,omitzero"`
	Result   string         `json:"result,omitempty"` // "webapp has 3 ready replicas"
	Error    *Error         `json:"error,omitempty"`
	Steps    []Step         `json:"steps,omitempty"` // absent in lists
}

// EventKind says what an Event carries.
type EventKind string

const (
	EventOperation EventKind = "operation" // the operation's state changed; the last one is finished
	EventStep      EventKind = "step"      // a step is new or its state changed
	EventLog       EventKind = "log"       // a line of a child's output
)

// Event is one line of an operation's event stream.
type Event struct {
	Time      time.Time  `json:"time"`
	Kind      EventKind  `json:"kind"`
	Operation *Operation `json:"operation,omitempty"`
	Step      *Step      `json:"step,omitempty"`
	Line      string     `json:"line,omitempty"`
}

// Override is a compose override file that makes plain docker compose agree
// with what tvsctld keeps.
type Override struct {
	File string `json:"file"` // where compose would look for it, if known
	YAML string `json:"yaml"`
}

// NginxTest is the outcome of nginx -t.
type NginxTest struct {
	Name   string   `json:"name"`
	OK     bool     `json:"ok"`
	Output []string `json:"output"`
}

// HostEvent is one line of the stream of all that happens: what the journal gets
// while somebody listens. Those of the kinds exec, allowed and refused, and the fields that
// say how a caller was decided on, are for who may audit what they are about.
type HostEvent struct {
	Time    time.Time `json:"time"`
	Kind    string    `json:"kind"`    // operation, step, replica, upstream, nginx, drift, docker, …
	Message string    `json:"message"` // a sentence
	// Fields are those of the journal entry, TVS_PROJECT and TVS_OPERATION among them.
	Fields map[string]string `json:"fields,omitempty"`
}

// Whoami is who the caller is to the daemon, and what the policy gives it.
type Whoami struct {
	User   string   `json:"user"`
	UID    uint32   `json:"uid"`
	GIDs   []uint32 `json:"gids"`
	Groups []string `json:"groups"`
	Policy string   `json:"policy"` // names the rules in force: the same rules, the same name
	Files  []string `json:"files"`  // that they are from
	Grants []Grant  `json:"grants"`
}

// Grant is one rule that is about the caller. Patterns are globs.
type Grant struct {
	Rule        string   `json:"rule"`
	Source      string   `json:"source,omitempty"` // FILE:LINE
	Through     string   `json:"through"`          // "user ann", "group tvs"
	Effect      string   `json:"effect"`           // allow or deny
	Role        string   `json:"role,omitempty"`
	Verbs       []string `json:"verbs,omitempty"` // none: all of the role
	Projects    []string `json:"projects,omitempty"`
	Services    []string `json:"services,omitempty"` // none: all of the projects
	Units       []string `json:"units,omitempty"`
	Images      []string `json:"images,omitempty"`
	Sockets     bool     `json:"sockets,omitempty"` // stacks may mount sockets that control the host
	MaxReplicas int      `json:"max_replicas,omitempty"`
	Rate        string   `json:"rate,omitempty"` // "10/1m"
}

// Verdict is whether the caller may do something, and why.
type Verdict struct {
	Allowed bool   `json:"allowed"`
	Default bool   `json:"default,omitempty"` // denied, since no rule allows it
	Rule    string `json:"rule,omitempty"`    // that decided, or comes closest
	Source  string `json:"source,omitempty"`  // FILE:LINE
	Reason  string `json:"reason"`
	Policy  string `json:"policy"`
}
