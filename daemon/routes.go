package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"tvsctl/dockerops"
	"tvsctl/ipc"
	"tvsctl/policy"
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
	{"GET", "/v1", access{kind: open}, getIndex},
	{"GET", "/v1/version", access{kind: open}, getVersion},
	{"GET", "/v1/whoami", access{kind: open}, getWhoami},
	{"GET", "/v1/can-i", access{kind: open}, getCanI},
	{"GET", "/v1/projects", access{kind: filtered}, getProjects},
	{"GET", "/v1/projects/{project}", access{partly, policy.Status}, getStatus},
	{"GET", "/v1/projects/{project}/services/{service}/inspect", access{partly, policy.Inspect}, getInspect},
	{"POST", "/v1/projects/{project}/scale", access{partly, policy.Scale}, postScale},
	{"POST", "/v1/projects/{project}/adjust", access{partly, policy.Scale}, postAdjust},
	{"POST", "/v1/projects/{project}/reset", access{partly, policy.Reset}, postReset},
	{"POST", "/v1/projects/{project}/start", access{partly, policy.Start}, postStart},
	{"POST", "/v1/projects/{project}/stop", access{partly, policy.Stop}, postStop},
	{"POST", "/v1/projects/{project}/rollout", access{partly, policy.Rollout}, postRollout},
	{"POST", "/v1/projects/{project}/rollout/continue", access{partly, policy.Continue}, postContinue},
	{"POST", "/v1/projects/{project}/rollback", access{partly, policy.Rollback}, postRollback},
	{"POST", "/v1/projects/{project}/restart", access{partly, policy.Restart}, postRestart},
	{"POST", "/v1/projects/{project}/limit", access{partly, policy.Limit}, postLimit},
	{"POST", "/v1/projects/{project}/exec", access{partly, policy.Exec}, postExec},
	{"POST", "/v1/projects/{project}/up", access{whole, policy.Up}, postUp},
	{"POST", "/v1/projects/{project}/down", access{whole, policy.Down}, postDown},
	{"PUT", "/v1/projects/{project}/declaration", access{whole, policy.Declare}, putDeclaration},
	{"GET", "/v1/projects/{project}/override", access{whole, policy.Override}, getOverride},
	{"GET", "/v1/projects/{project}/nginx", access{whole, policy.Status}, getNginx},
	{"POST", "/v1/projects/{project}/nginx/test", access{whole, policy.NginxTest}, postNginxTest},
	{"POST", "/v1/projects/{project}/nginx/reload", access{whole, policy.NginxReload}, postNginxReload},
	{"GET", "/v1/projects/{project}/logs", access{partly, policy.Logs}, getProjectLogs},
	{"GET", "/v1/units", access{kind: filtered}, getUnits},
	{"GET", "/v1/units/{unit}", access{onUnit, policy.Status}, getUnit},
	{"GET", "/v1/units/{unit}/files", access{onUnit, policy.Cat}, getUnitFiles},
	{"GET", "/v1/units/{unit}/dependencies", access{onUnit, policy.Deps}, getUnitDependencies},
	{"GET", "/v1/units/{unit}/wait", access{onUnit, policy.Status}, getUnitWait},
	{"GET", "/v1/units/{unit}/logs", access{onUnit, policy.Logs}, getUnitLogs},
	{"POST", "/v1/units/{unit}/start", access{onUnit, policy.Start}, postUnit("start")},
	{"POST", "/v1/units/{unit}/stop", access{onUnit, policy.Stop}, postUnit("stop")},
	{"POST", "/v1/units/{unit}/restart", access{onUnit, policy.Restart}, postUnit("restart")},
	{"POST", "/v1/units/{unit}/reload", access{onUnit, policy.Reload}, postUnit("reload")},
	{"POST", "/v1/units/{unit}/isolate", access{onUnit, policy.Isolate}, postUnitIsolate},
	{"POST", "/v1/units/{unit}/reset-failed", access{onUnit, policy.ResetFailed}, postUnitReset},
	{"POST", "/v1/units/{unit}/enable", access{onUnit, policy.Enable}, postUnitFile("enable")},
	{"POST", "/v1/units/{unit}/disable", access{onUnit, policy.Disable}, postUnitFile("disable")},
	{"POST", "/v1/units/{unit}/mask", access{onUnit, policy.Mask}, postUnitFile("mask")},
	{"POST", "/v1/units/{unit}/unmask", access{onUnit, policy.Unmask}, postUnitFile("unmask")},
	{"GET", "/v1/operations", access{kind: filtered}, getOperations},
	{"GET", "/v1/operations/{id}", access{kind: filtered}, getOperation},
	{"GET", "/v1/operations/{id}/events", access{kind: filtered}, getEvents},
	{"POST", "/v1/operations/{id}/cancel", access{kind: filtered}, postCancel},
	{"GET", "/v1/doctor", access{host, policy.Status}, getDoctor},
	{"GET", "/v1/audit", access{host, policy.Audit}, getAudit},
	{"GET", "/v1/events", access{kind: filtered}, getHostEvents},
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
			r = r.WithContext(withGranted(r.Context()))
			r.Body = http.MaxBytesReader(w, r.Body, ipc.MaxRequestBytes)
			reply, err := d.answer(route, r)
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

// answer decides whether the caller may have what the route gives, and gets it.
func (d *Daemon) answer(route route, r *http.Request) (any, error) {
	ctx, cancel := context.WithTimeout(r.Context(), requestDeadline)
	defer cancel()
	r = r.WithContext(ctx)
	if err := d.allow(route, r); err != nil {
		return nil, err
	}
	return route.handle(d, r)
}

func (d *Daemon) fail(w http.ResponseWriter, r *http.Request, err error) {
	said := *describeError(err) // which others may hold
	said.Message = printable(said.Message)
	refusal := &said
	if p, ok := peerOf(r.Context()); ok && r.Method != http.MethodGet && !recorded(r.Context()) {
		f := fields{"TVS_UID": strconv.FormatUint(uint64(p.UID), 10), "TVS_USER": p.name()}
		if audit, _, _ := asked(r.Context()); audit != nil {
			f = audit
		}
		f["TVS_ERROR"] = string(refusal.Code)
		d.refusals.note(d.log, eventRefused, p, string(refusal.Code), fmt.Sprintf("Refused %s %q by %s: %s.", r.Method, r.URL.Path, p.name(), refusal.Message), f)
	}
	send(w, refusal.Code.HTTPStatus(), ipc.ErrorReply{Error: refusal})
}

// printable is a text as one line that can be shown: a name that was asked for can have
// anything in it.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '?'
	}, strings.ToValidUTF8(text, "?"))
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

// onlyProject returns the only project that the caller sees. Where Docker does not answer,
// those that it alone knows of are missing: one that seems to be the only one is then
// looked at, and not changed.
func (d *Daemon) onlyProject(r *http.Request) (string, error) {
	projects, unasked, err := d.findProjects(r.Context())
	if err != nil {
		return "", err
	}
	var names []string
	for _, p := range projects {
		names = append(names, p.Name)
	}
	if unasked != nil {
		names = append(append(names, d.state.declared()...), configuredProjects(d.config.ProjectDir)...)
		slices.Sort(names)
		names = slices.Compact(names)
	}
	names = slices.DeleteFunc(names, func(name string) bool { return !d.sees(r.Context(), name) })
	if unasked != nil && d.dockerRests(r.Context()) {
		unasked = nil
	}
	switch {
	case len(names) == 1 && unasked != nil && r.Method != http.MethodGet:
		refusal := *describeError(unasked)
		refusal.Message = fmt.Sprintf("cannot tell whether %s is the only project: %s", names[0], refusal.Message)
		refusal.Hint = "name it with --project or TVS_PROJECT"
		return "", &refusal
	case len(names) == 1:
		return names[0], nil
	case len(names) == 0 && unasked != nil:
		return "", unasked
	case len(names) == 0:
		return "", &ipc.Error{Code: ipc.CodeProjectRequired, Message: "there is no compose project on this host",
			Hint: "bring one up: docker compose up -d, or tvsctl up -f DIR"}
	}
	return "", &ipc.Error{Code: ipc.CodeProjectRequired, Message: "which project? there are " + strings.Join(names, ", "),
		Hint: "name one with --project or TVS_PROJECT"}
}

func unknownProject(name string) error {
	return &ipc.Error{Code: ipc.CodeUnknownProject, Message: fmt.Sprintf("there is no project %q", name),
		Hint: "see tvsctl projects"}
}
