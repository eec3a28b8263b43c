package dockerops

import "testing"

func TestPlanReset(t *testing.T) {
	runPlans(t, []planCase{
		{"missing ones are only created", project(entry, service("webapp", "1 exited")), stop("webapp", 3), `
			1 create webapp-2
			2 create webapp-3
		`},
		{"running ones are stopped, highest first", project(entry, service("webapp", "1", "2")), stop("webapp", 2), `
			1 publish
			2 drain after 1
			3 stop webapp-2 after 2
			4 stop webapp-1 after 2
		`},
		{"what is too many is removed too", project(entry, service("webapp", "1", "2", "3 exited")), stop("webapp", 1), `
			1 publish
			2 drain after 1
			3 remove webapp-3 after 2
			4 stop webapp-2 after 2
			5 remove webapp-2 after 4
			6 stop webapp-1 after 2
		`},
		{"grown and stopped", project(entry, service("webapp", "1")), stop("webapp", 2), `
			1 create webapp-2
			2 publish after 1
			3 drain after 2
			4 stop webapp-1 after 3
		`},
		{"already so", project(entry, service("webapp", "1 exited", "2 created")), stop("webapp", 2), ""},
	})
}

func TestPlanStopDependencies(t *testing.T) {
	all := func(count int) Request {
		r := stop("webapp", count)
		r.StopDependencies = true
		return r
	}
	runPlans(t, []planCase{
		{"one", project(entry, service("storage", "1"), service("webapp", "1").on("storage")), all(1), `
			1 publish
			2 drain after 1
			3 stop webapp-1 after 2
			4 stop storage-1 after 2,3
		`},
		{"without being asked to", project(entry, service("storage", "1"), service("webapp", "1").on("storage")), stop("webapp", 1), `
			1 publish
			2 drain after 1
			3 stop webapp-1 after 2
		`},
		{"a chain, dependents first", project(service("cache", "1", "2"), entry, service("storage", "1").on("volume"),
			service("volume", "1"), service("webapp", "1").on("cache", "storage")), all(1), `
			1 publish
			2 drain after 1
			3 stop webapp-1 after 2
			4 stop cache-1 after 2,3
			5 stop cache-2 after 2,3
			6 stop storage-1 after 2,3
			7 stop volume-1 after 4,5,6
		`},
		{"one needed at two depths goes last", project(service("api", "1").on("storage"), entry, service("storage", "1"),
			service("webapp", "1").on("api", "storage")), all(1), `
			1 publish
			2 drain after 1
			3 stop webapp-1 after 2
			4 stop api-1 after 2,3
			5 stop storage-1 after 4
		`},
		{"a depth where all are stopped is passed over", project(service("api", "1 exited").on("storage"), entry, service("storage", "1"),
			service("webapp", "1").on("api")), all(1), `
			1 publish
			2 drain after 1
			3 stop webapp-1 after 2
			4 stop storage-1 after 2,3
		`},
		{"what another running service needs stays, and all below it", project(service("cache", "1"), entry,
			service("storage", "1").on("volume"), service("volume", "1"), service("webapp", "1").on("cache", "storage"),
			service("worker", "1").on("storage")), all(1), `
			1 publish
			2 drain after 1
			3 stop webapp-1 after 2
			4 stop cache-1 after 2,3
		`},
		{"one that does not run needs nothing", project(entry, service("storage", "1"), service("webapp", "1").on("storage"),
			service("worker", "1 exited").on("storage")), all(1), `
			1 publish
			2 drain after 1
			3 stop webapp-1 after 2
			4 stop storage-1 after 2,3
		`},
		{"an nginx stays", project(service("entry", "1").balancing("webapp").on("webapp"), service("webapp", "1").on("entry")), all(1), `
			1 publish
			2 drain after 1
			3 stop webapp-1 after 2
		`},
		{"dependencies in a circle end", project(service("a", "1").on("b"), service("b", "1").on("a"), entry, service("webapp", "1 exited").on("a")), all(1), `
			1 stop a-1
			2 stop b-1 after 1
		`},
	})
}

func TestPlanStart(t *testing.T) {
	runPlans(t, []planCase{
		{"dependencies deepest first", project(entry, service("storage", "1 exited").on("volume"), service("volume", "1 exited"),
			service("webapp", "1 exited", "2 exited").on("storage")), scale("webapp", 2), `
			1 start volume-1
			2 ready volume-1 after 1
			3 start storage-1 after 2
			4 ready storage-1 after 3
			5 start webapp-1 after 4
			6 ready webapp-1 after 5
			7 start webapp-2 after 4
			8 ready webapp-2 after 7
			9 publish after 2,4,6,8
		`},
		{"a shared dependency once", project(service("api", "1 exited").on("storage"), service("entry", "1").balancing("api", "webapp"),
			service("storage", "1 exited"), service("webapp", "1 exited").on("storage")),
			Request{Goals: map[string]Goal{"api": {1, true}, "webapp": {1, true}}}, `
			1 start storage-1
			2 ready storage-1 after 1
			3 start api-1 after 2
			4 ready api-1 after 3
			5 start webapp-1 after 2
			6 ready webapp-1 after 5
			7 publish after 2,4,6
		`},
		{"a goal that is also a dependency once", project(service("entry", "1 exited").balancing("webapp").on("webapp"),
			service("storage", "1 exited"), service("webapp", "1 exited").on("storage")),
			Request{Goals: map[string]Goal{"entry": {1, true}, "storage": {1, true}, "webapp": {1, true}}}, `
			1 start storage-1
			2 ready storage-1 after 1
			3 start webapp-1 after 2
			4 ready webapp-1 after 3
			5 start entry-1 after 4
			6 ready entry-1 after 5
			7 publish after 2,4,6
		`},
		{"a new replica waits for them too", project(entry, service("storage", "1 exited"), service("webapp").on("storage")), scale("webapp", 1), `
			1 start storage-1
			2 ready storage-1 after 1
			3 create webapp-1
			4 start webapp-1 after 3,2
			5 ready webapp-1 after 4
			6 publish after 2,5
		`},
		{"one that is not there", project(entry, service("webapp", "1 exited").on("storage")), scale("webapp", 1), `
			1 start webapp-1
			2 ready webapp-1 after 1
			3 publish after 2
		`},
		{"shrinking starts none", project(entry, service("storage", "1 exited"), service("webapp", "1", "2").on("storage")), scale("webapp", 1), `
			1 publish
			2 drain after 1
			3 stop webapp-2 after 2
			4 remove webapp-2 after 3
		`},
		{"dependencies in a circle end", project(entry, service("a", "1 exited").on("webapp"), service("webapp", "1 exited").on("a")), scale("webapp", 1), `
			1 start a-1
			2 ready a-1 after 1
			3 start webapp-1 after 2
			4 ready webapp-1 after 3
			5 publish after 2,4
		`},
	})
}
