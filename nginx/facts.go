package nginx

import (
	"fmt"
	"path"
	"regexp"
	"strconv"
	"strings"
)

// Facts are what an nginx says about itself and its configuration.
type Facts struct {
	Version string // "1.26.3", empty when it did not say
	// Files are the upstream files of our directory that are in its
	// configuration, by name.
	Files map[string][]byte
	// Passes are what it passes requests to, as it says: http://webapp.
	Passes []string
	// Problems say in what way requests can be lost, and the remedy.
	Problems []string
	// Includes is whether it includes upstream files from the directory at all.
	Includes bool
	// NeedsGrace is whether keepalive_min_timeout is known to it, needed, and not set.
	NeedsGrace bool
}

var (
	versionText   = regexp.MustCompile(`nginx/(\d+)\.(\d+)\.(\d+)`)
	fileHeading   = regexp.MustCompile(`(?m)^# configuration file (.+):$`)
	keepaliveZero = regexp.MustCompile(`(?m)^[^#\n]*\bkeepalive_timeout\s+0s?\s*[;\s]`)
	keepaliveMin  = regexp.MustCompile(`(?m)^[^#\n]*\bkeepalive_min_timeout\s+([1-9]?)`)
)

// GraceFile holds keepalive_min_timeout where the stack's own configuration
// lacks it. It sorts before every upstream file.
const GraceFile = "00-tvsctl.conf"

const graceText = "# Written by tvsctld: a reload must not cut off a request on an idle client connection.\nkeepalive_min_timeout 3s;\n"

// readFacts reads the output of nginx -v and nginx -T. dir is where upstream
// files are included from.
func readFacts(output, dir string) Facts {
	f := Facts{Files: map[string][]byte{}, Passes: readPasses(output)}
	var major, minor, patch int
	if m := versionText.FindStringSubmatch(output); m != nil {
		f.Version = strings.Join(m[1:], ".")
		major, _ = strconv.Atoi(m[1])
		minor, _ = strconv.Atoi(m[2])
		patch, _ = strconv.Atoi(m[3])
	}
	headings := fileHeading.FindAllStringSubmatchIndex(output, -1)
	ours := map[string]bool{}
	for i, h := range headings {
		end := len(output)
		if i+1 < len(headings) {
			end = headings[i+1][0]
		}
		name := output[h[2]:h[3]]
		if path.Dir(name) == path.Clean(dir) && strings.HasSuffix(name, ".conf") {
			f.Files[path.Base(name)] = []byte(strings.TrimSpace(output[h[1]:end]) + "\n")
			ours[name] = true
		}
	}
	f.Includes = includes(output, dir)
	// keepalive_min_timeout came with nginx 1.27.4 (its CHANGES).
	hasMin := major > 1 || major == 1 && (minor > 27 || minor == 27 && patch >= 4)
	grace := keepaliveMin.FindStringSubmatch(output)
	safe := keepaliveZero.MatchString(output) || grace != nil && grace[1] != ""
	if !f.Includes {
		f.Problems = append(f.Problems, fmt.Sprintf("does not include %s/*.conf: requests can be lost when replicas change; add the include to http, and proxy_pass to the service's name without a port", dir))
	}
	switch {
	case safe:
	case hasMin && f.Includes && grace == nil: // twice is an error
		f.NeedsGrace = true
	case hasMin:
		f.Problems = append(f.Problems, "a reload can cut off a request of a client that keeps its connection open: set keepalive_min_timeout 3s")
	default:
		f.Problems = append(f.Problems, "a reload can cut off a request of a client that keeps its connection open: set keepalive_timeout 0, or use nginx 1.27.4 or later with keepalive_min_timeout 3s")
	}
	return f
}

// includes tells whether a configuration includes *.conf of the directory. The
// path may be given relative to nginx's own (/etc/nginx).
func includes(output, dir string) bool {
	for _, form := range []string{path.Clean(dir), strings.TrimPrefix(path.Clean(dir), "/etc/nginx/")} {
		if regexp.MustCompile(`(?m)^[^#\n]*\binclude\s+["']?` + regexp.QuoteMeta(form) + `/\*(\.conf)?["']?\s*;`).MatchString(output) {
			return true
		}
	}
	return false
}

// Grace returns the contents of GraceFile.
func Grace() []byte { return []byte(graceText) }
