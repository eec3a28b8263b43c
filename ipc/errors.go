package ipc

import "net/http"

// Code names a kind of error. Scripts may rely on it; messages may change.
type Code string

const (
	// CodeInternal is a defect in tvsctld or a failure it has no name for.
	CodeInternal Code = "internal"
	// CodeBadRequest means that the request cannot be understood: malformed
	// JSON, an unknown field, a count that is no number of replicas.
	CodeBadRequest Code = "bad-request"
	// CodeTooLarge means a request body over MaxRequestBytes.
	CodeTooLarge Code = "too-large"
	// CodeProjectRequired means that no project was named and the host has
	// several, or none.
	CodeProjectRequired Code = "project-required"
	// CodeServiceRequired means that no service was named and the project has
	// several that an nginx balances, or none.
	CodeServiceRequired Code = "service-required"
	// CodeUnknownProject, CodeUnknownService and CodeUnknownOperation name
	// something that is not there.
	CodeUnknownProject   Code = "unknown-project"
	CodeUnknownService   Code = "unknown-service"
	CodeUnknownOperation Code = "unknown-operation"
	// CodeUnknownUnit means that systemd has no such unit.
	CodeUnknownUnit Code = "unknown-unit"
	// CodeUnknownRoute means that the daemon has no such resource or method:
	// a client newer than the daemon.
	CodeUnknownRoute Code = "unknown-route"
	// CodeNotScalable means that the service cannot have a second replica, or
	// none to clone: container_name, a fixed host port, a static address.
	CodeNotScalable Code = "not-scalable"
	// CodeOutOfRange means a count outside tvs.scale.min and tvs.scale.max, or
	// over MaxReplicas.
	CodeOutOfRange Code = "out-of-range"
	// CodeConflict means that another operation holds the project.
	CodeConflict Code = "conflict"
	// CodeUnsupported means that the kernel of the host cannot do it.
	CodeUnsupported Code = "unsupported"
	// CodeNotReady means that a new replica did not become ready; it was removed
	// again where the message does not say otherwise.
	CodeNotReady Code = "not-ready"
	// CodeNginx means that nginx refused a configuration or did not take it up;
	// the configuration before it is in force.
	CodeNginx Code = "nginx"
	// CodeDocker means that the Docker Engine cannot be reached.
	CodeDocker Code = "docker-unavailable"
	// CodeCompose means that the compose plugin is missing, or that it failed.
	CodeCompose Code = "compose"
	// CodeState means that the daemon's durable state cannot be read or written.
	CodeState Code = "state"
	// CodeBusy means too many connections or operations at once.
	CodeBusy Code = "busy"
	// CodeCanceled means that somebody canceled the operation; the message says
	// whether it was taken back.
	CodeCanceled Code = "canceled"
	// CodeForbidden means that the caller may not do this.
	CodeForbidden Code = "forbidden"
	// CodeUnitFailed means that a unit did not become what it was to become: the message
	// says why, the detail has its last journal lines.
	CodeUnitFailed Code = "unit-failed"
	// CodeUnitRefused means that systemd does not do this with the unit: it is masked, has
	// nothing to reload, may not be isolated or started by hand.
	CodeUnitRefused Code = "unit-refused"
	// CodeSystemd means that the service manager cannot be reached over D-Bus.
	CodeSystemd Code = "systemd-unavailable"
	// CodeUnreachable is made by the client: nothing listens on the socket.
	CodeUnreachable Code = "unreachable"
)

// Exit statuses of tvsctl. 3 and 4 are what systemctl means by them; 69 and 77
// are EX_UNAVAILABLE and EX_NOPERM of sysexits.h.
const (
	ExitOK          = 0
	ExitFailure     = 1
	ExitUsage       = 2
	ExitStopped     = 3
	ExitUnknown     = 4
	ExitNotScalable = 5
	ExitOutOfRange  = 6
	ExitConflict    = 7
	ExitNotReady    = 8
	ExitNginx       = 9
	ExitDegraded    = 10
	ExitDocker      = 11
	ExitCompose     = 12
	ExitState       = 13
	ExitCanceled    = 14
	ExitUnreachable = 69
	ExitForbidden   = 77
)

var table = map[Code]struct{ http, exit int }{
	CodeInternal:         {http.StatusInternalServerError, ExitFailure},
	CodeBadRequest:       {http.StatusBadRequest, ExitUsage},
	CodeTooLarge:         {http.StatusRequestEntityTooLarge, ExitUsage},
	CodeProjectRequired:  {http.StatusBadRequest, ExitUsage},
	CodeServiceRequired:  {http.StatusBadRequest, ExitUsage},
	CodeUnknownProject:   {http.StatusNotFound, ExitUnknown},
	CodeUnknownService:   {http.StatusNotFound, ExitUnknown},
	CodeUnknownOperation: {http.StatusNotFound, ExitUnknown},
	CodeUnknownUnit:      {http.StatusNotFound, ExitUnknown},
	CodeUnknownRoute:     {http.StatusNotFound, ExitUsage},
	CodeNotScalable:      {http.StatusConflict, ExitNotScalable},
	CodeOutOfRange:       {http.StatusBadRequest, ExitOutOfRange},
	CodeConflict:         {http.StatusConflict, ExitConflict},
	CodeUnsupported:      {http.StatusNotImplemented, ExitFailure},
	CodeNotReady:         {http.StatusInternalServerError, ExitNotReady},
	CodeNginx:            {http.StatusInternalServerError, ExitNginx},
	CodeDocker:           {http.StatusServiceUnavailable, ExitDocker},
	CodeCompose:          {http.StatusInternalServerError, ExitCompose},
	CodeState:            {http.StatusServiceUnavailable, ExitState},
	CodeBusy:             {http.StatusTooManyRequests, ExitConflict},
	CodeCanceled:         {http.StatusConflict, ExitCanceled},
	CodeForbidden:        {http.StatusForbidden, ExitForbidden},
	CodeUnitFailed:       {http.StatusInternalServerError, ExitFailure},
	CodeUnitRefused:      {http.StatusConflict, ExitFailure},
	CodeSystemd:          {http.StatusServiceUnavailable, ExitFailure},
	CodeUnreachable:      {http.StatusServiceUnavailable, ExitUnreachable},
}

// HTTPStatus returns the HTTP status that carries the code.
func (c Code) HTTPStatus() int {
	if row, ok := table[c]; ok {
		return row.http
	}
	return http.StatusInternalServerError
}

// ExitStatus returns the status that tvsctl exits with for the code.
func (c Code) ExitStatus() int {
	if row, ok := table[c]; ok {
		return row.exit
	}
	return ExitFailure
}

// Error is the only form in which the daemon refuses or fails.
type Error struct {
	Code    Code   `json:"code"`
	Message string `json:"message"` // one line, lower case: "cannot scale webapp: …"
	Hint    string `json:"hint,omitempty"`
	// Detail holds what the failing part said itself: a replica's last log
	// lines, nginx's complaint, compose's output.
	Detail []string `json:"detail,omitempty"`
	// Log says of which log the last lines of the detail are, if any are: only who may
	// read that is told them.
	Log *Excerpt `json:"log,omitempty"`
}

// Excerpt is the end of a log: that of a unit, or of a replica of a service.
type Excerpt struct {
	Service string `json:"service,omitempty"`
	Unit    string `json:"unit,omitempty"`
	Lines   int    `json:"lines"` // at the end of the detail
}

func (e *Error) Error() string { return e.Message }

// ErrorReply is the body of every reply with a status of 400 and above.
type ErrorReply struct {
	Error *Error `json:"error"`
}
