package daemon

import (
	"net/http"

	"tvsctl/ipc"
)

// index is the table of routes for clients. It is made here, for a handler cannot refer
// to the table that it stands in.
var index []ipc.Route

func init() {
	for _, r := range routes {
		index = append(index, ipc.Route{Method: r.method, Path: r.path, Access: accessNames[r.access.kind], Verb: string(r.access.verb)})
	}
}

var accessNames = map[accessKind]string{open: ipc.AccessOpen, filtered: ipc.AccessFiltered, whole: ipc.AccessWhole, partly: ipc.AccessPartly, onUnit: ipc.AccessUnit, host: ipc.AccessHost}

func getIndex(*Daemon, *http.Request) (any, error) { return index, nil }
