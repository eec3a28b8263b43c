package daemon

import (
	"strings"

	"tvsctl/ipc"
)

// instanceFindings takes over what a status says is wrong with a service of units; after
// the semicolon or colon it says what to do.
func instanceFindings(service ipc.Service, r *report) {
	for _, problem := range service.Problems {
		text, remedy, found := strings.Cut(problem, "; ")
		if !found {
			text, remedy, found = strings.Cut(problem, ": ")
		}
		if !found {
			remedy = "install the unit, then as root: systemctl daemon-reload"
		}
		r.wrong(remedy, "service %s: %s", service.Name, text)
	}
}
