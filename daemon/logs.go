package daemon

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"tvsctl/dockerops"
	"tvsctl/ipc"
	"tvsctl/systemd"
)

// getProjectLogs streams the logs of a project's replicas, and of units beside them.
func getProjectLogs(d *Daemon, r *http.Request) (any, error) {
	request, err := readLogRequest(r.URL.Query(), "service")
	if err != nil {
		return nil, err
	}
	if request.Project, err = d.projectOf(r); err != nil {
		return nil, err
	}
	p, _, err := d.observe(r.Context(), request.Project)
	if err != nil {
		return nil, err
	}
	if _, declared, _ := d.files(p); p.Empty() && !declared {
		return nil, unknownProject(p.Name)
	}
	if err := d.permitLogs(r.Context(), p, request.Services); err != nil {
		return nil, err
	}
	if _, err := chooseReplicas(p, request.Services); err != nil {
		return nil, err
	}
	return d.streamLogs(r.Context(), request)
}

// getUnitLogs streams the journal of units.
func getUnitLogs(d *Daemon, r *http.Request) (any, error) {
	request, err := readLogRequest(r.URL.Query())
	if err != nil {
		return nil, err
	}
	request.Units = slices.Insert(request.Units, 0, r.PathValue("unit"))
	return d.streamLogs(r.Context(), request)
}

// readLogRequest reads a query. What it does not know it refuses: it would silently not
// be done.
func readLogRequest(query url.Values, more ...string) (ipc.LogRequest, error) {
	request := ipc.LogRequest{Services: query["service"], Units: query["unit"], Tail: -1}
	for key, values := range query {
		value, err := values[len(values)-1], error(nil)
		switch key {
		case "unit":
		case "follow":
			request.Follow, err = strconv.ParseBool(value)
		case "tail":
			var n uint64
			if n, err = strconv.ParseUint(value, 10, 32); err == nil && n > ipc.MaxTail {
				err = fmt.Errorf("at most %d lines", ipc.MaxTail)
			}
			request.Tail = int(n)
		case "since":
			request.Since, err = time.Parse(time.RFC3339, value)
		case "until":
			request.Until, err = time.Parse(time.RFC3339, value)
		default:
			if !slices.Contains(more, key) {
				return request, badRequest("cannot read logs: there is no parameter %q", key)
			}
		}
		if err != nil {
			return request, badRequest("cannot read logs: %s %q: %v", key, value, err)
		}
	}
	if request.Follow && !request.Until.IsZero() {
		return request, badRequest("cannot read logs: what is followed has no end, so no until")
	}
	return request, nil
}

// chosen is a replica whose log is asked for.
type chosen struct {
	service string
	dockerops.Replica
}

// logNames returns the names that are given. Without any those of the services that are
// balanced, of a project without an nginx all.
func logNames(p *dockerops.Project, given []string) (names []string) {
	if len(given) > 0 {
		return given
	}
	for _, s := range p.Services {
		if _, balanced := p.Backends[s.Name]; balanced || len(p.Backends) == 0 {
			names = append(names, s.Name)
		}
	}
	return names
}

// serviceNamed finds what is named as SERVICE, where number is 0, or SERVICE.N.
func serviceNamed(p *dockerops.Project, name string) (service *dockerops.Service, number int) {
	service = p.Service(name)
	if base, n, found := cutLast(name, "."); service == nil && found {
		// A service may have a dot in its name.
		if parsed, err := strconv.ParseUint(n, 10, 31); err == nil && parsed > 0 {
			service, number = p.Service(base), int(parsed)
		}
	}
	return service, number
}

// chooseReplicas returns the replicas that are named, or meant without a name, beside the
// error those of the names that are there. A replica that a rollout has retired is one of
// its service.
func chooseReplicas(p *dockerops.Project, names []string) (list []chosen, unknown error) {
	for _, name := range logNames(p, names) {
		service, number := serviceNamed(p, name)
		if service == nil {
			unknown = &ipc.Error{Code: ipc.CodeUnknownService, Message: fmt.Sprintf("project %s has no service %q", p.Name, name), Hint: "see tvsctl status"}
			continue
		}
		before := len(list)
		for _, r := range slices.Concat(service.Retired, service.Replicas) {
			if number == 0 || r.Number == number {
				list = append(list, chosen{service.Name, r})
			}
		}
		if number > 0 && len(list) == before {
			unknown = &ipc.Error{Code: ipc.CodeUnknownService, Message: fmt.Sprintf("service %s has no replica %d", service.Name, number), Hint: "see tvsctl status"}
		}
	}
	return list, unknown
}

func cutLast(text, separator string) (before, after string, found bool) {
	i := strings.LastIndex(text, separator)
	if i < 0 {
		return text, "", false
	}
	return text[:i], text[i+len(separator):], true
}

// unitLogID completes a unit's name, and returns its own where that is an alias.
func (d *Daemon) unitLogID(ctx context.Context, text string) (string, error) {
	name, err := systemd.UnitName(text)
	if err != nil {
		return "", err
	}
	unit, err := d.units.Unit(ctx, name)
	if err != nil {
		return "", err
	}
	for _, q := range logsOfUnit(unit.ID) {
		if err := d.permit(ctx, q); err != nil {
			return "", err
		}
	}
	if unit.Missing() {
		return "", unknownUnit(unit.ID)
	}
	return unit.ID, nil
}

// streamLogs checks the units and returns the stream.
func (d *Daemon) streamLogs(ctx context.Context, request ipc.LogRequest) (any, error) {
	if n := len(request.Units); n > ipc.MaxLogUnits {
		return nil, badRequest("cannot read logs: %d units are named, at most %d may be", n, ipc.MaxLogUnits)
	}
	for i, name := range request.Units {
		id, err := d.unitLogID(ctx, name)
		if err != nil {
			return nil, err
		}
		request.Units[i] = id
	}
	slices.Sort(request.Units)
	request.Units = slices.Compact(request.Units)
	return stream(func(w http.ResponseWriter, r *http.Request) {
		defer d.hold()()
		w.Header().Set("Content-Type", "application/x-ndjson")
		encoder, control := json.NewEncoder(w), http.NewResponseController(w)
		ctx, cancel := context.WithCancel(r.Context())
		defer cancel()
		// A reader may take its time: a pager does. Only the daemon's end is its end.
		_ = control.SetWriteDeadline(time.Time{})
		go func() {
			select {
			case <-d.stopping:
				_ = control.SetWriteDeadline(time.Now().Add(time.Second))
				cancel()
			case <-ctx.Done():
			}
		}()
		// Errors mean that the client has gone.
		_ = d.tellLogs(ctx, request, func(line ipc.LogLine) error { return encoder.Encode(line) }, control.Flush)
	}), nil
}
