package main

import (
	"fmt"
	"io"
	"net"
	"regexp"
	"strconv"
	"strings"

	"tvsctl/ipc"
)

// defaultMatch finds the replica in a page that says "HOST: name", with or
// without markup between.
const defaultMatch = `HOST[:=]?\s*(?:</?[a-z]+>\s*)*([A-Za-z0-9][A-Za-z0-9_.-]*)`

// minIDPrefix is how many characters of a container's id are taken for it.
const minIDPrefix = 6

// tally counts which replica answered how many requests.
type tally struct {
	URL       string          `json:"url"`
	Requests  int             `json:"requests"`
	Failed    int             `json:"failed"`
	Unmatched int             `json:"unmatched"`
	Replicas  []replicaAnswer `json:"replicas"`
	Missing   []string        `json:"missing"`

	services []balancedService
	answers  []*replicaAnswer // every replica, also those that need not be shown
	names    []string
	firstErr error
}

type replicaAnswer struct {
	Name     string `json:"name"`
	Answered int    `json:"answered"`

	replica ipc.Replica
}

type balancedService struct {
	pattern  *regexp.Regexp
	replicas []*replicaAnswer
}

// newTally prepares to recognise the replicas of the balanced services.
func newTally(status *ipc.Status) (*tally, error) {
	t := &tally{Replicas: []replicaAnswer{}, Missing: []string{}}
	for _, service := range status.Services {
		if !service.Balanced {
			continue
		}
		match := service.Match
		if match == "" {
			match = defaultMatch
		}
		pattern, err := regexp.Compile(match)
		if err != nil {
			return nil, failuref("cannot verify %s: label tvs.verify.match is no regular expression: %v", service.Name, err)
		}
		known := balancedService{pattern: pattern}
		for _, replica := range service.Replicas {
			answer := &replicaAnswer{Name: replica.Name, replica: replica}
			known.replicas = append(known.replicas, answer)
			t.answers = append(t.answers, answer)
		}
		t.services = append(t.services, known)
		t.names = append(t.names, service.Name)
	}
	if len(t.services) == 0 {
		return nil, &ipc.Error{Code: ipc.CodeServiceRequired,
			Message: fmt.Sprintf("cannot verify %s: no nginx balances a service of it", status.Project),
			Hint:    "label the nginx service with tvs.nginx: SERVICE:PORT"}
	}
	return t, nil
}

func (t *tally) fail(err error) {
	t.Failed++
	if t.firstErr == nil {
		t.firstErr = err
	}
}

// count finds the replica that made the page. A page may hold the pattern more
// than once: the first that names a replica counts.
func (t *tally) count(body []byte) {
	for _, service := range t.services {
		for _, match := range service.pattern.FindAllSubmatch(body, -1) {
			said := string(match[min(1, len(match)-1)])
			for _, answer := range service.replicas {
				if isReplica(&answer.replica, said) {
					answer.Answered++
					return
				}
			}
		}
	}
	t.Unmatched++
}

func isReplica(replica *ipc.Replica, said string) bool {
	if said == "" {
		return false
	}
	if said == replica.Hostname || said == replica.Name {
		return true
	}
	if min(len(said), len(replica.ID)) >= minIDPrefix &&
		(strings.HasPrefix(said, replica.ID) || strings.HasPrefix(replica.ID, said)) {
		return true
	}
	host, port, err := net.SplitHostPort(replica.Address)
	if err != nil {
		host = replica.Address
	}
	// A unit's instance is named after its port.
	return said == host || said == port && port == strconv.Itoa(replica.Number)
}

// conclude fills what is shown: the replicas that answered or should have.
func (t *tally) conclude() {
	for _, answer := range t.answers {
		if answer.Answered > 0 || answer.replica.Ready {
			t.Replicas = append(t.Replicas, *answer)
		}
		if answer.Answered == 0 && answer.replica.Ready {
			t.Missing = append(t.Missing, answer.Name)
		}
	}
}

func (t *tally) write(w io.Writer) {
	var out table
	out.add("REPLICA", "REQUESTS", "SHARE")
	add := func(name string, n int) {
		out.add(name, strconv.Itoa(n), fmt.Sprintf("%.0f%%", 100*float64(n)/float64(t.Requests)))
	}
	for _, answer := range t.Replicas {
		add(answer.Name, answer.Answered)
	}
	if t.Unmatched > 0 {
		add("(no replica recognised)", t.Unmatched)
	}
	if t.Failed > 0 {
		add("(failed)", t.Failed)
	}
	out.write(w)
	for _, name := range t.Missing {
		fmt.Fprintf(w, "%s answered none\n", clean(name))
	}
}

// failure is nil when no request failed and every ready replica answered.
func (t *tally) failure(project string) error {
	services := strings.Join(t.names, ", ")
	var why []string
	hint := ""
	if t.Failed > 0 {
		why = append(why, fmt.Sprintf("%d of %d requests failed: %v", t.Failed, t.Requests, t.firstErr))
	}
	switch {
	case len(t.Replicas) == 0:
		why = append(why, "no replica of "+services+" is ready")
		hint = "see tvsctl status"
	case t.Unmatched > 0 && t.Unmatched+t.Failed == t.Requests:
		why = append(why, "no answer named a replica of "+services)
		hint = "say how a page names its replica: label tvs.verify.match of the service, a regular expression"
	case len(t.Missing) > 0:
		why = append(why, fmt.Sprintf("%s answered none of %d requests", strings.Join(t.Missing, ", "), t.Requests))
		hint = "see tvsctl nginx show"
		if t.Requests < len(t.Replicas) {
			hint = fmt.Sprintf("%d requests cannot reach %d replicas: tvsctl verify -n %d", t.Requests, len(t.Replicas), 4*len(t.Replicas))
		}
	}
	if len(why) == 0 {
		return nil
	}
	err := failuref("cannot verify %s: %s", project, strings.Join(why, "; "))
	err.Hint = hint
	return err
}
