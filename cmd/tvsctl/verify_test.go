package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"tvsctl/ipc"
)

// entry answers each request with the next of the pages; "500" is an error.
func entry(t *testing.T, pages ...string) string {
	n := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !r.Close {
			t.Error("a request keeps its connection")
		}
		page := pages[n%len(pages)]
		n++
		if page == "500" {
			w.WriteHeader(500)
		}
		fmt.Fprint(w, page)
	}))
	t.Cleanup(server.Close)
	return server.URL
}

func verified(t *testing.T, url, match string, args ...string) result {
	status := example()
	status.Entry = url
	status.Services[1].Match = match
	daemon := newFake(t, map[string]any{"GET /projects/-": status})
	return daemon.tvsctl(append([]string{"verify"}, args...)...)
}

func TestVerify(t *testing.T) {
	first, second := "<b>HOST:</b> aaaaaaaaaaaa<br>", "HOST two"
	got := verified(t, entry(t, first, second), "", "-n", "8")
	if got.status != 0 || got.err != "" {
		t.Errorf("exits %d: %s", got.status, got.err)
	}
	equal(t, "stdout", got.out, `REPLICA       REQUESTS  SHARE
tvs-webapp-1  4         50%
tvs-webapp-2  4         50%
`)

	got = verified(t, entry(t, first, first, "500", "nobody"), "", "-n", "4")
	if got.status != ipc.ExitFailure {
		t.Errorf("exits %d", got.status)
	}
	equal(t, "stdout", got.out, `REPLICA                  REQUESTS  SHARE
tvs-webapp-1             2         50%
tvs-webapp-2             0         0%
(no replica recognised)  1         25%
(failed)                 1         25%
tvs-webapp-2 answered none
`)
	equal(t, "stderr", got.err, "tvsctl: cannot verify tvs: 1 of 4 requests failed: the answer was 500 Internal Server Error; "+
		"tvs-webapp-2 answered none of 4 requests\n  → see tvsctl nginx show\n")

	got = verified(t, entry(t, first, second), "", "-n", "4", "--json")
	var reply tally
	if err := json.Unmarshal([]byte(got.out), &reply); err != nil {
		t.Fatal(err)
	}
	if reply.Requests != 4 || reply.Failed != 0 || reply.Unmatched != 0 || reply.Missing == nil || len(reply.Missing) != 0 ||
		!slices.Equal(reply.Replicas, []replicaAnswer{{Name: "tvs-webapp-1", Answered: 2}, {Name: "tvs-webapp-2", Answered: 2}}) {
		t.Errorf("--json prints %s", got.out)
	}
}

func TestVerifyOutcome(t *testing.T) {
	const refused = "http://127.0.0.1:1" // a port that was free may be taken by the next server
	for _, c := range []struct {
		name, url, match string
		args             []string
		exit             int
		message          string
	}{
		{"the label's pattern", entry(t, "i am aaaaaaaaaaaa", "i am bbbbbbbbbbbb"), "i am (.*)", nil, 0, ""},
		{"a pattern without a group", entry(t, "aaaaaaaaaaaa", "two"), "[a-z]+", nil, 0, ""},
		{"too few requests", entry(t, "HOST two"), "", []string{"-n", "1"}, 1, "1 requests cannot reach 2 replicas"},
		{"one missing", entry(t, "HOST two"), "", nil, 1, "tvs-webapp-1 answered none of 32 requests"},
		{"nothing recognised", entry(t, "hello"), "", nil, 1, "no answer named a replica of webapp"},
		{"nobody listens", refused, "", []string{"-n", "2"}, 1, "2 of 2 requests failed"},
		{"no entry", "", "", nil, 2, "nginx publishes no port"},
		{"a given URL", "", "", []string{strings.TrimPrefix(entry(t, "HOST two", "HOST aaaaaaa"), "http://")}, 0, ""},
		{"a wrong URL", "", "", []string{"ftp://x"}, 2, "is not a URL"},
		{"a broken pattern", entry(t, ""), "(", nil, 1, "is no regular expression"},
	} {
		got := verified(t, c.url, c.match, c.args...)
		if got.status != c.exit {
			t.Errorf("%s exits %d, not %d: %s", c.name, got.status, c.exit, got.err)
		}
		contains(t, c.name, got.err, c.message)
	}
	daemon := newFake(t, map[string]any{"GET /projects/-": ipc.Status{Project: "tvs", Entry: "http://localhost"}})
	if got := daemon.tvsctl("verify"); got.status != ipc.ExitUsage || !strings.Contains(got.err, "no nginx balances") {
		t.Errorf("nothing balanced: %+v", got)
	}
}

func TestIsReplica(t *testing.T) {
	replica := ipc.Replica{Name: "tvs-webapp-1", ID: "0123456789ab", Hostname: "web", Address: "172.20.0.5:8080"}
	for said, want := range map[string]bool{
		"tvs-webapp-1": true, "web": true, "0123456789ab": true, "012345": true, "01234": false,
		"0123456789abcdef0123": true, "123456789a": false, "172.20.0.5": true, "172.20.0.50": false, "": false, "we": false,
	} {
		if got := isReplica(&replica, said); got != want {
			t.Errorf("%q: %v", said, got)
		}
	}
	unit := ipc.Replica{Name: "app@35001.service", ID: "app@35001.service", Number: 35001, Address: "127.0.0.1:35001"}
	if !isReplica(&unit, "35001") || isReplica(&unit, "35000") || isReplica(&replica, "8080") {
		t.Error("an instance is named after its port, and a container is not")
	}
	if isReplica(&ipc.Replica{}, "") || isReplica(&ipc.Replica{}, "012345678") {
		t.Error("a replica of which nothing is known matches")
	}
}
