package daemon

import (
	"bytes"
	"encoding/json"
	"flag"
	"net/http"
	"net/http/httptest"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"tvsctl/ipc"
)

const openAPI = "../docs/openapi.json"

var update = flag.Bool("update", false, "write "+openAPI+" anew")

// endpoint is what the route table does not say of a route.
type endpoint struct {
	summary string
	request any // nil: no body
	reply   any
	dryRun  any  // what is answered instead when dry_run is set
	stream  bool // the replies come one per line, as they happen
	upgrade bool // the reply ends what the connection carries after its upgrade
}

func looking(summary string, reply any) endpoint { return endpoint{summary: summary, reply: reply} }
func following(summary string, reply any) endpoint {
	return endpoint{summary: summary, reply: reply, stream: true}
}

// changing answers with the operation, or with what it would do. Without a request it has no body.
func changing(summary string, request, dryRun any) endpoint {
	return endpoint{summary: summary, request: request, reply: ipc.Operation{}, dryRun: dryRun}
}

// endpoints describes each route; what comes in queries is in ipc/doc.go.
var endpoints = map[string]endpoint{
	"GET /v1":                                               looking("The routes, and who may use each", []ipc.Route{}),
	"GET /v1/version":                                       looking("The versions of tvsctld and of Docker", ipc.Version{}),
	"GET /v1/whoami":                                        looking("Who asks, and what the rules give them", ipc.Whoami{}),
	"GET /v1/can-i":                                         looking("Whether the caller may do something, and the rule that decides", ipc.Verdict{}),
	"GET /v1/projects":                                      looking("The projects of the host", []ipc.ProjectSummary{}),
	"GET /v1/projects/{project}":                            looking("A project as observed now", ipc.Status{}),
	"POST /v1/projects/{project}/scale":                     changing("Set the counts of services", ipc.ScaleRequest{}, ipc.Plan{}),
	"POST /v1/projects/{project}/adjust":                    changing("Change a count by some", ipc.AdjustRequest{}, ipc.Plan{}),
	"POST /v1/projects/{project}/reset":                     changing("Go back to the initial, stopped configuration", ipc.ResetRequest{}, ipc.Plan{}),
	"POST /v1/projects/{project}/start":                     changing("Start the desired replicas", ipc.StartRequest{}, ipc.Plan{}),
	"POST /v1/projects/{project}/stop":                      changing("Stop the balanced services", ipc.StopRequest{}, ipc.Plan{}),
	"POST /v1/projects/{project}/rollout":                   changing("Replace replicas by new ones", ipc.RolloutRequest{}, ipc.Plan{}),
	"POST /v1/projects/{project}/rollout/continue":          changing("Let a rollout that holds go on", ipc.ContinueRequest{}, ipc.Plan{}),
	"POST /v1/projects/{project}/rollback":                  changing("Go back to what the last rollout replaced", ipc.RollbackRequest{}, ipc.Plan{}),
	"POST /v1/projects/{project}/restart":                   changing("Replace replicas by new ones that are the same", ipc.RestartRequest{}, ipc.Plan{}),
	"POST /v1/projects/{project}/up":                        changing("Run docker compose up with the desired counts", ipc.UpRequest{}, nil),
	"POST /v1/projects/{project}/down":                      changing("Run docker compose down", ipc.DownRequest{}, nil),
	"PUT /v1/projects/{project}/declaration":                {summary: "Say where the project's compose files are", request: ipc.Declaration{}, reply: ipc.Declaration{}},
	"GET /v1/projects/{project}/services/{service}/inspect": looking("What the kernel and Docker have of the replicas of a service", []ipc.Inspection{}),
	"POST /v1/projects/{project}/limit":                     changing("Change what the replicas of a service may use", ipc.LimitRequest{}, ipc.Plan{}),
	"POST /v1/projects/{project}/exec":                      {summary: "Run a command in a replica; the connection then carries frames (package ipc)", request: ipc.ExecRequest{}, reply: ipc.ExecResult{}, upgrade: true},
	"GET /v1/projects/{project}/override":                   looking("The compose override with the desired counts", ipc.Override{}),
	"GET /v1/projects/{project}/nginx":                      looking("Each nginx and the upstreams in force", []ipc.Nginx{}),
	"POST /v1/projects/{project}/nginx/test":                looking("Test the configuration of each nginx", []ipc.NginxTest{}),
	"POST /v1/projects/{project}/nginx/reload":              changing("Test and reload each nginx", nil, nil),
	"GET /v1/projects/{project}/logs":                       following("The logs of a project", ipc.LogLine{}),
	"GET /v1/units/{unit}/logs":                             following("The journal of a unit", ipc.LogLine{}),
	"GET /v1/doctor":                                        looking("What is wrong with the host", []ipc.Finding{}),
	"GET /v1/audit":                                         looking("Who asked for what", []ipc.AuditEntry{}),
	"GET /v1/units":                                         looking("The units that systemd has in memory", []ipc.UnitSummary{}),
	"GET /v1/units/{unit}":                                  looking("A unit's status", ipc.Unit{}),
	"GET /v1/units/{unit}/files":                            looking("The unit file and its drop-ins", []ipc.UnitFile{}),
	"GET /v1/units/{unit}/dependencies":                     looking("What a unit depends on, or what depends on it", []ipc.UnitNode{}),
	"GET /v1/units/{unit}/wait":                             looking("Wait until a unit is in a state", ipc.Unit{}),
	"POST /v1/units/{unit}/start":                           changing("Start a unit", ipc.UnitRequest{}, nil),
	"POST /v1/units/{unit}/stop":                            changing("Stop a unit", ipc.UnitRequest{}, nil),
	"POST /v1/units/{unit}/restart":                         changing("Restart a unit", ipc.UnitRequest{}, nil),
	"POST /v1/units/{unit}/reload":                          changing("Let a unit read its configuration again", ipc.UnitRequest{}, nil),
	"POST /v1/units/{unit}/isolate":                         changing("Start a unit and stop all others", ipc.UnitRequest{}, ipc.UnitIsolation{}),
	"POST /v1/units/{unit}/reset-failed":                    {summary: "Forget that a unit failed", request: ipc.UnitRequest{}, reply: ipc.Unit{}},
	"POST /v1/units/{unit}/enable":                          changing("Start a unit at boot", ipc.UnitRequest{}, nil),
	"POST /v1/units/{unit}/disable":                         changing("Not start a unit at boot", ipc.UnitRequest{}, nil),
	"POST /v1/units/{unit}/mask":                            changing("Make it impossible to start a unit", ipc.UnitRequest{}, nil),
	"POST /v1/units/{unit}/unmask":                          changing("Make it possible to start a unit again", ipc.UnitRequest{}, nil),
	"GET /v1/operations":                                    looking("What runs and what was done, the newest first", []ipc.Operation{}),
	"GET /v1/operations/{id}":                               looking("One operation with its steps", ipc.Operation{}),
	"GET /v1/operations/{id}/events":                        following("The events of an operation, from the first to its end", ipc.Event{}),
	"POST /v1/operations/{id}/cancel":                       changing("Cancel an operation", nil, nil),
	"GET /v1/events":                                        following("What happens on the host from now on", ipc.HostEvent{}),
}

// TestOpenAPI: docs/openapi.json describes every route with the types of package ipc, and
// nothing else.
func TestOpenAPI(t *testing.T) {
	for _, r := range routes {
		if _, described := endpoints[r.method+" "+r.path]; !described {
			t.Errorf("%s %s is not described: it needs a line in endpoints, then make docs", r.method, r.path)
		}
	}
	for key := range endpoints {
		if !slices.ContainsFunc(routes, func(r route) bool { return r.method+" "+r.path == key }) {
			t.Errorf("%s is described, and there is no such route", key)
		}
	}
	if t.Failed() {
		return
	}
	var want bytes.Buffer
	encoder := json.NewEncoder(&want)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(document(t)); err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(openAPI, want.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	got, err := os.ReadFile(openAPI)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want.Bytes()) {
		t.Errorf("%s is stale: make docs", openAPI)
	}
}

type object map[string]any

// document is the whole description.
func document(t *testing.T) object {
	queries := documentedQueries(t)
	s := newSchemas(t)
	paths := map[string]object{}
	for _, r := range routes {
		if paths[r.path] == nil {
			paths[r.path] = object{}
		}
		paths[r.path][strings.ToLower(r.method)] = describeRoute(r, endpoints[r.method+" "+r.path], queries[r.method+" "+r.path], s)
	}
	failure := object{"description": "Refused or failed; the code says why.", "content": object{"application/json": object{"schema": s.of(reflect.TypeFor[ipc.ErrorReply]())}}}
	return object{
		"openapi": "3.1.0",
		"info": object{"title": "tvsctld", "version": "1", "license": object{"name": "Apache-2.0", "identifier": "Apache-2.0"},
			"description": "The control plane of a host that runs docker compose stacks behind nginx. Written by make docs from the route table and package ipc."},
		"servers":    []object{{"url": "http://tvsctld", "description": "HTTP/1.1 over the Unix socket " + ipc.DefaultSocket + ": the host's name does not matter"}},
		"paths":      paths,
		"components": object{"schemas": s.named, "responses": object{"Failure": failure}},
	}
}

var pathParameter = regexp.MustCompile(`\{([a-z]+)\}`)

func describeRoute(r route, e endpoint, queries []string, s *schemas) object {
	operation := object{"summary": e.summary, "operationId": operationID(r)}
	var parameters []object
	for _, name := range pathParameter.FindAllStringSubmatch(r.path, -1) {
		p := object{"name": name[1], "in": "path", "required": true, "schema": object{"type": "string"}}
		if name[1] == "project" {
			p["description"] = `"` + ipc.OnlyProject + `" is the only project of the host.`
		}
		parameters = append(parameters, p)
	}
	for _, name := range queries {
		parameters = append(parameters, object{"name": name, "in": "query", "schema": object{"type": "string"}})
	}
	if parameters != nil {
		operation["parameters"] = parameters
	}
	if e.request != nil {
		operation["requestBody"] = object{"required": true, "content": object{"application/json": object{"schema": s.of(reflect.TypeOf(e.request))}}}
	}
	kind, description := "application/json", "Done."
	if e.stream {
		kind, description = "application/x-ndjson", "One JSON value per line, as they happen."
	}
	reply := object{"description": description, "content": object{kind: object{"schema": s.of(reflect.TypeOf(e.reply))}}}
	responses := object{"default": object{"$ref": "#/components/responses/Failure"}}
	switch _, isOperation := e.reply.(ipc.Operation); {
	case e.upgrade:
		reply["description"] = "The connection carries frames from now on; this is in the last one."
		responses["101"] = reply
	case r.method == http.MethodGet || !isOperation:
		responses["200"] = reply
	default:
		reply["description"] = "It has begun, or waits for its turn."
		reply["headers"] = object{"Location": object{"description": "The operation.", "schema": object{"type": "string"}}}
		responses["202"] = reply
		if e.dryRun != nil {
			responses["200"] = object{"description": "What it would do (dry_run).", "content": object{"application/json": object{"schema": s.of(reflect.TypeOf(e.dryRun))}}}
		}
	}
	operation["responses"] = responses
	return operation
}

// operationID is the method and the words of the path: postProjectsNginxReload.
func operationID(r route) string {
	id := strings.ToLower(r.method)
	for _, word := range strings.FieldsFunc(strings.TrimPrefix(r.path, "/v1/"), func(c rune) bool { return c == '/' || c == '-' }) {
		if word[0] == '{' {
			word = "by-" + strings.Trim(word, "{}")
		}
		for part := range strings.SplitSeq(word, "-") {
			id += strings.ToUpper(part[:1]) + part[1:]
		}
	}
	return id
}

// documentedQueries returns what ipc/doc.go says of the queries of each route.
func documentedQueries(t *testing.T) map[string][]string {
	t.Helper()
	text, err := os.ReadFile("../ipc/doc.go")
	if err != nil {
		t.Fatal(err)
	}
	queries := map[string][]string{}
	for _, m := range regexp.MustCompile(`(?m)^//\t([A-Z]+)\s+(/v1/[^\s\[]+)(\S*)`).FindAllStringSubmatch(string(text), -1) {
		for _, name := range regexp.MustCompile(`[?&]([a-z_]+)=`).FindAllStringSubmatch(m[3], -1) {
			queries[m[1]+" "+m[2]] = append(queries[m[1]+" "+m[2]], name[1])
		}
	}
	return queries
}

// TestEndpointsAreTrue: the daemon reads a request with every property that is described,
// refuses one with another, and what it answers to GET is of the type that is described.
func TestEndpointsAreTrue(t *testing.T) {
	s := newStack(t)
	operation := s.do(t, "scale", scaleRequest(2))
	ask := func(method, path string, body any) *httptest.ResponseRecorder {
		text, err := json.Marshal(body)
		if err != nil {
			t.Fatal(err)
		}
		r := httptest.NewRequest(method, path, bytes.NewReader(text))
		w := httptest.NewRecorder()
		s.d.handler().ServeHTTP(w, r.WithContext(withPeer(t.Context(), peer{UID: 0})))
		return w
	}
	checked, queries := 0, documentedQueries(t)
	for _, r := range routes {
		e, key := endpoints[r.method+" "+r.path], r.method+" "+r.path
		if r.method == http.MethodGet {
			if e.stream {
				continue
			}
			w := ask(r.method, strings.NewReplacer("{project}", "tvs", "{id}", operation.ID).Replace(r.path), nil)
			if w.Code == http.StatusServiceUnavailable {
				continue // where there is no systemd
			}
			if w.Code != http.StatusOK && (strings.Contains(r.path, "{") || queries[key] != nil) {
				continue // of something that this stack does not have, or that was not said
			}
			decoder := json.NewDecoder(w.Body)
			decoder.DisallowUnknownFields()
			if err := decoder.Decode(reflect.New(reflect.TypeOf(e.reply)).Interface()); w.Code != http.StatusOK || err != nil {
				t.Errorf("%s answers %d, not %T: %v", key, w.Code, e.reply, err)
			}
			checked++
			continue
		}
		if e.request == nil {
			continue
		}
		path := pathParameter.ReplaceAllString(r.path, "no-such-one")
		if w := ask(r.method, path, filled(reflect.TypeOf(e.request)).Interface()); strings.Contains(w.Body.String(), "cannot read the request") {
			t.Errorf("%s does not read %T: %s", key, e.request, w.Body)
		}
		if w := ask(r.method, path, object{"no such property": 1}); !strings.Contains(w.Body.String(), "unknown field") {
			t.Errorf("%s does not look at its request: %s", key, w.Body)
		}
		checked++
	}
	if checked < 15 {
		t.Errorf("only %d routes were asked", checked)
	}
}

// filled returns a value with something in each field.
func filled(t reflect.Type) reflect.Value {
	v := reflect.New(t).Elem()
	switch t.Kind() {
	case reflect.Struct:
		for i := range t.NumField() {
			if t.Field(i).IsExported() {
				v.Field(i).Set(filled(t.Field(i).Type))
			}
		}
	case reflect.Slice:
		v.Set(reflect.Append(v, filled(t.Elem())))
	case reflect.Map:
		v.Set(reflect.MakeMap(t))
		v.SetMapIndex(filled(t.Key()), filled(t.Elem()))
	case reflect.Pointer:
		v.Set(filled(t.Elem()).Addr())
	case reflect.String:
		v.SetString("x")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64, reflect.Int32:
		v.SetInt(1)
	case reflect.Uint, reflect.Uint64, reflect.Uint32, reflect.Uint16:
		v.SetUint(1)
	case reflect.Float64:
		v.SetFloat(1)
	}
	return v
}
