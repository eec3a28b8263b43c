package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"tvsctl/dockerops"
	"tvsctl/ipc"
)

// access says who may use a route. The socket's mode lets only root and its group
// connect; a mode that somebody loosened does not let more in.
type access int

const (
	accessNone    access = iota // nobody; what a route has that forgot to say
	accessMembers               // root and the socket's group, tvs
	accessRoot                  // root
)

type handler func(d *Daemon, r *http.Request) (reply any, err error)

// route is one method of one resource. A handler that returns an operation is
// answered with 202.
type route struct {
	method string
	path   string
	access access
	handle handler
}

// routes is the whole API; ipc/doc.go describes it.
var routes = []route{
	{"GET", "/v1/version", accessMembers, getVersion},
	{"GET", "/v1/projects", accessMembers, getProjects},
	{"GET", "/v1/projects/{project}", accessMembers, getStatus},
	{"POST", "/v1/projects/{project}/scale", accessMembers, postScale},
	{"POST", "/v1/projects/{project}/adjust", accessMembers, postAdjust},
	{"POST", "/v1/projects/{project}/reset", accessMembers, postReset},
	{"POST", "/v1/projects/{project}/start", accessMembers, postStart},
	{"POST", "/v1/projects/{project}/stop", accessMembers, postStop},
	{"POST", "/v1/projects/{project}/rollout", accessMembers, postRollout},
	{"POST", "/v1/projects/{project}/rollout/continue", accessMembers, postContinue},
	{"POST", "/v1/projects/{project}/rollback", accessMembers, postRollback},
	{"POST", "/v1/projects/{project}/restart", accessMembers, postRestart},
	{"POST", "/v1/projects/{project}/up", accessMembers, postUp},
	{"POST", "/v1/projects/{project}/down", accessMembers, postDown},
	{"PUT", "/v1/projects/{project}/declaration", accessRoot, putDeclaration},
	{"GET", "/v1/projects/{project}/override", accessMembers, getOverride},
	{"GET", "/v1/projects/{project}/nginx", accessMembers, getNginx},
	{"POST", "/v1/projects/{project}/nginx/test", accessMembers, postNginxTest},
	{"POST", "/v1/projects/{project}/nginx/reload", accessMembers, postNginxReload},
	{"GET", "/v1/projects/{project}/logs", accessMembers, getProjectLogs},
	{"GET", "/v1/units/{unit}/logs", accessMembers, getUnitLogs},
	{"GET", "/v1/operations", accessMembers, getOperations},
	{"GET", "/v1/operations/{id}", accessMembers, getOperation},
	{"GET", "/v1/operations/{id}/events", accessMembers, getEvents},
	{"POST", "/v1/operations/{id}/cancel", accessMembers, postCancel},
	{"GET", "/v1/doctor", accessMembers, getDoctor},
	{"GET", "/v1/audit", accessRoot, getAudit},
	{"GET", "/v1/events", accessMembers, getHostEvents},
}

// requestDeadline bounds what a request waits for: an engine that hangs must not
// hold up everybody who asks. What goes on longer is an operation.
const requestDeadline = 20 * time.Second

// stream is a reply that writes itself, as it comes.
type stream func(w http.ResponseWriter, r *http.Request)

func (d *Daemon) handler() http.Handler {
	mux := http.NewServeMux()
	for _, route := range routes {
		mux.HandleFunc(route.method+" "+route.path, func(w http.ResponseWriter, r *http.Request) {
			if err := d.allow(route, r); err != nil {
				d.fail(w, r, err)
				return
			}
			r.Body = http.MaxBytesReader(w, r.Body, ipc.MaxRequestBytes)
			ctx, cancel := context.WithTimeout(r.Context(), requestDeadline)
			reply, err := route.handle(d, r.WithContext(ctx))
			cancel()
			if err != nil {
				d.fail(w, r, err)
				return
			}
			switch reply := reply.(type) {
			case stream:
				reply(w, r)
			case ipc.Operation:
				if r.Method == http.MethodGet {
					send(w, http.StatusOK, reply)
				} else {
					w.Header().Set("Location", "/v1/operations/"+reply.ID)
					send(w, http.StatusAccepted, reply)
				}
			default:
				send(w, http.StatusOK, reply)
			}
		})
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		d.fail(w, r, &ipc.Error{Code: ipc.CodeUnknownRoute, Message: fmt.Sprintf("there is no %s %q", r.Method, r.URL.Path),
			Hint: "is tvsctl newer than tvsctld? compare with tvsctl version"})
	})
	return mux
}

func (d *Daemon) allow(route route, r *http.Request) error {
	p, known := peerOf(r.Context())
	switch {
	case known && p.privileged() && route.access != accessNone:
		return nil
	case known && route.access == accessMembers && p.in(d.group):
		return nil
	case route.access == accessMembers:
		return &ipc.Error{Code: ipc.CodeForbidden, Message: "you are neither root nor in the group of the socket",
			Hint: "as root: usermod -aG tvs YOUR-NAME, then log in again"}
	}
	return &ipc.Error{Code: ipc.CodeForbidden, Message: fmt.Sprintf("%s %q is for root", r.Method, r.URL.Path),
		Hint: "ask the administrator of this host"}
}

func (d *Daemon) fail(w http.ResponseWriter, r *http.Request, err error) {
	refusal := describeError(err)
	if p, ok := peerOf(r.Context()); ok && r.Method != http.MethodGet {
		d.log.notice(eventRefused, fmt.Sprintf("Refused %s %q by %s: %s.", r.Method, r.URL.Path, p.name(), refusal.Message),
			fields{"TVS_UID": strconv.FormatUint(uint64(p.UID), 10), "TVS_ERROR": string(refusal.Code)})
	}
	send(w, refusal.Code.HTTPStatus(), ipc.ErrorReply{Error: refusal})
}

func send(w http.ResponseWriter, status int, reply any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	// A client that has gone needs no answer.
	if text, encoded := reply.(json.RawMessage); encoded {
		_, _ = w.Write(text)
		return
	}
	_ = json.NewEncoder(w).Encode(reply)
}

// read decodes a request body into the given request. An unknown field is refused:
// what it asks for would silently not be done.
func read(r *http.Request, into any) error {
	decoder := json.NewDecoder(r.Body)
	decoder.DisallowUnknownFields()
	err := decoder.Decode(into)
	if err == nil {
		// Not More: to that a stray bracket is an end.
		if _, err = decoder.Token(); err == io.EOF {
			err = nil
		} else if err == nil {
			err = errors.New("there is more than one JSON value")
		}
	}
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return &ipc.Error{Code: ipc.CodeTooLarge, Message: fmt.Sprintf("the request is larger than %d bytes", tooLarge.Limit)}
	}
	if err != nil {
		return badRequest("cannot read the request: %s", strings.TrimPrefix(err.Error(), "json: "))
	}
	return nil
}

// projectOf returns the name of the project that the request is about.
func (d *Daemon) projectOf(r *http.Request) (string, error) {
	name := r.PathValue("project")
	if name == ipc.OnlyProject {
		return d.onlyProject(r)
	}
	if !dockerops.ValidProjectName(name) {
		return "", unknownProject(name)
	}
	return name, nil
}

func (d *Daemon) onlyProject(r *http.Request) (string, error) {
	projects, err := d.listProjects(r.Context())
	if err != nil {
		return "", err
	}
	switch len(projects) {
	case 1:
		return projects[0].Name, nil
	case 0:
		return "", &ipc.Error{Code: ipc.CodeProjectRequired, Message: "there is no compose project on this host",
			Hint: "bring one up: docker compose up -d, or tvsctl up -f DIR"}
	}
	var names []string
	for _, p := range projects {
		names = append(names, p.Name)
	}
	return "", &ipc.Error{Code: ipc.CodeProjectRequired, Message: "which project? there are " + strings.Join(names, ", "),
		Hint: "name one with --project or TVS_PROJECT"}
}

func unknownProject(name string) error {
	return &ipc.Error{Code: ipc.CodeUnknownProject, Message: fmt.Sprintf("there is no project %q", name),
		Hint: "see tvsctl projects"}
}
