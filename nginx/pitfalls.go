package nginx

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// passLine finds what requests are passed to: proxy_pass, grpc_pass and the like.
var (
	passLine = regexp.MustCompile(`\b(?:proxy|grpc|fastcgi|uwsgi|scgi)_pass\s+["']?([^;"'\s]+)`)
	comment  = regexp.MustCompile(`(?m)(?:^|\s)#.*$`)
)

// readPasses returns what a configuration passes requests to, each once.
func readPasses(configuration string) []string {
	var passes []string
	for _, m := range passLine.FindAllStringSubmatch(comment.ReplaceAllString(configuration, ""), -1) {
		if !slices.Contains(passes, m[1]) {
			passes = append(passes, m[1])
		}
	}
	return passes
}

// Pitfalls says in what way the configuration goes past the upstreams of these names.
func (f Facts) Pitfalls(names []string) []string {
	var list []string
	used := map[string]bool{}
	variable := false
	for _, pass := range f.Passes {
		target := pass
		if _, rest, ok := strings.Cut(pass, "://"); ok {
			target = rest
		}
		target, _, _ = strings.Cut(target, "/")
		host, port, _ := strings.Cut(target, ":")
		isVariable := strings.Contains(host, "$")
		variable = variable || isVariable
		used[host] = true
		switch {
		case port != "" && slices.Contains(names, host):
			list = append(list, fmt.Sprintf("passes requests to %s: a port there goes past the upstream %s", pass, host))
		case port != "" && isVariable:
			list = append(list, fmt.Sprintf("passes requests to %s: with a port the resolver is asked for the name, and no upstream is used", pass))
		}
	}
	for _, name := range names {
		if f.Includes && !used[name] && !variable {
			list = append(list, fmt.Sprintf("passes no request to %s, which it is to balance", name))
		}
	}
	return list
}
