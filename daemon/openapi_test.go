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
	stream  bool // the replies come one per line, as they happen
}

// A change is answered with the operation, and with the plan when dry_run is set.
var aChange = ipc.Operation{}

// endpoints describes each route; what comes in queries is in ipc/doc.go.
var endpoints = map[string]endpoint{
	"GET /v1/version":            {summary: "The versions of tvsctld and of Docker", reply: ipc.Version{}},
	"GET /v1/whoami":             {summary: "Who the caller is to tvsctld, and what the policy lets it do", reply: ipc.Whoami{}},
	"GET /v1/can-i":              {summary: "Whether the caller may do something, and why", reply: ipc.Verdict{}},
	"GET /v1/projects":           {summary: "The projects of the host", reply: []ipc.ProjectSummary{}},
	"GET /v1/projects/{project}": {summary: "A project as observed now", reply: ipc.Status{}},
	"GET /v1/projects/{project}/services/{service}/inspect": {summary: "What the kernel and Docker have of the replicas of a service", reply: []ipc.Inspection{}},
	"POST /v1/projects/{project}/limit":                     {"Change what the replicas of a service may use", ipc.LimitRequest{}, aChange, false},
	"POST /v1/projects/{project}/exec":                      {"Run a command in a replica, after an upgrade of the connection", ipc.ExecRequest{}, ipc.ExecResult{}, false},
	"POST /v1/projects/{project}/scale":                     {"Set the counts of services", ipc.ScaleRequest{}, aChange, false},
	"POST /v1/projects/{project}/adjust":                    {"Change a count by some", ipc.AdjustRequest{}, aChange, false},
	"POST /v1/projects/{project}/reset":                     {"Go back to the initial, stopped configuration", ipc.ResetRequest{}, aChange, false},
	"POST /v1/projects/{project}/start":                     {"Start the desired replicas", ipc.StartRequest{}, aChange, false},
	"POST /v1/projects/{project}/stop":                      {"Stop the balanced services", ipc.StopRequest{}, aChange, false},
	"POST /v1/projects/{project}/rollout":                   {"Replace replicas by new ones", ipc.RolloutRequest{}, aChange, false},
	"POST /v1/projects/{project}/rollout/continue":          {"Let a rollout that holds go on", ipc.ContinueRequest{}, aChange, false},
	"POST /v1/projects/{project}/rollback":                  {"Go back to what the last rollout replaced", ipc.RollbackRequest{}, aChange, false},
	"POST /v1/projects/{project}/restart":                   {"Replace replicas by new ones that are the same", ipc.RestartRequest{}, aChange, false},
	"POST /v1/projects/{project}/up":                        {"Run docker compose up with the desired counts", ipc.UpRequest{}, aChange, false},
	"POST /v1/projects/{project}/down":                      {"Run docker compose down", ipc.DownRequest{}, aChange, false},
	"PUT /v1/projects/{project}/declaration":                {"Say where the project's compose files are", ipc.Declaration{}, ipc.Declaration{}, false},
	"GET /v1/projects/{project}/override":                   {summary: "The compose override with the desired counts", reply: ipc.Override{}},
	"GET /v1/projects/{project}/nginx":                      {summary: "Each nginx and the upstreams in force", reply: []ipc.Nginx{}},
	"POST /v1/projects/{project}/nginx/test":                {summary: "Test the configuration of each nginx", reply: []ipc.NginxTest{}},
	"POST /v1/projects/{project}/nginx/reload":              {summary: "Test and reload each nginx", reply: aChange},
	"GET /v1/projects/{project}/logs":                       {summary: "The logs of replicas and units, in time order", reply: ipc.LogLine{}, stream: true},
	"GET /v1/units/{unit}/logs":                             {summary: "The journal of units", reply: ipc.LogLine{}, stream: true},
	"GET /v1/doctor":                                        {summary: "What is missing or wrong on the host, as the daemon sees it", reply: []ipc.Finding{}},
	"GET /v1/audit":                                         {summary: "Who asked for what, what was decided, how it ended", reply: []ipc.AuditEntry{}},
	"GET /v1/units":                                         {summary: "The units in memory", reply: []ipc.UnitSummary{}},
	"GET /v1/units/{unit}":                                  {summary: "A unit as it is now", reply: ipc.Unit{}},
	"GET /v1/units/{unit}/files":                            {summary: "The files of a unit", reply: []ipc.UnitFile{}},
	"GET /v1/units/{unit}/dependencies":                     {summary: "What a unit depends on, or what depends on it", reply: []ipc.UnitNode{}},
	"GET /v1/units/{unit}/wait":                             {summary: "A unit when it has come to a state", reply: ipc.Unit{}},
	"POST /v1/units/{unit}/start":                           {"Start a unit", ipc.UnitRequest{}, aChange, false},
	"POST /v1/units/{unit}/stop":                            {"Stop a unit", ipc.UnitRequest{}, aChange, false},
	"POST /v1/units/{unit}/restart":                         {"Restart a unit", ipc.UnitRequest{}, aChange, false},
	"POST /v1/units/{unit}/reload":                          {"Reload a unit", ipc.UnitRequest{}, aChange, false},
	"POST /v1/units/{unit}/isolate":                         {"Start a unit and stop all others", ipc.UnitRequest{}, aChange, false},
	"POST /v1/units/{unit}/enable":                          {"Start a unit at boot", ipc.UnitRequest{}, aChange, false},
	"POST /v1/units/{unit}/disable":                         {"Do not start a unit at boot", ipc.UnitRequest{}, aChange, false},
	"POST /v1/units/{unit}/mask":                            {"Make a unit impossible to start", ipc.UnitRequest{}, aChange, false},
	"POST /v1/units/{unit}/unmask":                          {"Make a unit possible to start", ipc.UnitRequest{}, aChange, false},
	"POST /v1/units/{unit}/reset-failed":                    {summary: "Forget that a unit failed", reply: ipc.Unit{}},
	"GET /v1/operations":                                    {summary: "What runs and what was done, the newest first", reply: []ipc.Operation{}},
	"GET /v1/operations/{id}":                               {summary: "One operation with its steps", reply: ipc.Operation{}},
	"GET /v1/operations/{id}/events":                        {summary: "The events of an operation, from the first to its end", reply: ipc.Event{}, stream: true},
	"POST /v1/operations/{id}/cancel":                       {summary: "Cancel an operation", reply: ipc.Operation{}},
	"GET /v1/events":                                        {summary: "What happens on the host from now on", reply: ipc.HostEvent{}, stream: true},
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
	case r.method == http.MethodGet || !isOperation:
		responses["200"] = reply
	default:
		reply["description"] = "It has begun, or waits for its turn."
		reply["headers"] = object{"Location": object{"description": "The operation.", "schema": object{"type": "string"}}}
		responses["202"] = reply
		if dryRun(e.request) {
			responses["200"] = object{"description": "What it would do (dry_run).", "content": object{"application/json": object{"schema": s.of(reflect.TypeFor[ipc.Plan]())}}}
		}
	}
	operation["responses"] = responses
	return operation
}

func dryRun(request any) bool {
	if request == nil {
		return false
	}
	_, has := reflect.TypeOf(request).FieldByName("DryRun")
	return has
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
	checked := 0
	for _, r := range routes {
		e, key := endpoints[r.method+" "+r.path], r.method+" "+r.path
		if r.method == http.MethodGet {
			if e.stream {
				continue
			}
			w := ask(r.method, strings.NewReplacer("{project}", "tvs", "{id}", operation.ID).Replace(r.path)+"?verb=status", nil)
			if w.Code == http.StatusServiceUnavailable {
				continue // where there is no systemd
			}
			if strings.Contains(r.path, "{") && w.Code != http.StatusOK {
				continue // of something that this stack does not have
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
