// Package nginx keeps the upstreams of an nginx right.
//
// An Upstream is rendered into one file of a directory that the nginx includes.
// Publish writes the files, lets nginx test the whole configuration, reloads, and
// returns when workers of the new configuration serve; a configuration that fails
// is taken back. Drain returns when the workers of older configurations have gone,
// and with them the requests they had accepted. An nginx runs in a container
// (Container) or as a unit of the host (Host).
package nginx

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Upstream is one upstream block.
type Upstream struct {
	Name    string // what proxy_pass http://NAME says: the service
	Project string
	Servers []Server // empty: the upstream answers 502
}

// Server is one member of an upstream.
type Server struct {
	Address string // HOST:PORT
	Replica string // for the reader of the file
}

// File is the upstream's file name.
func (u Upstream) File() string { return u.Name + ".conf" }

// Render returns the file's contents. The same members render the same.
func (u Upstream) Render() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "# Written by tvsctld for service %s of project %s. Changes are lost: use tvsctl.\n", u.Name, u.Project)
	// Neither name can have a colon in it: no two upstreams share a zone.
	fmt.Fprintf(&b, "upstream %s {\n    zone tvs:%s:%s 64k;\n", u.Name, u.Project, u.Name)
	servers := slices.Clone(u.Servers)
	slices.SortFunc(servers, func(a, b Server) int { return strings.Compare(a.Address, b.Address) })
	for _, s := range servers {
		fmt.Fprintf(&b, "    server %s; # %s\n", s.Address, s.Replica)
	}
	if len(servers) == 0 {
		// An empty block is a syntax error; port 9 is discard, and down is never tried.
		b.WriteString("    server 127.0.0.1:9 down;\n")
	}
	b.WriteString("}\n")
	return b.Bytes()
}

// Generation names contents: 8 hexadecimal digits.
func Generation(contents []byte) string {
	sum := sha256.Sum256(contents)
	return hex.EncodeToString(sum[:4])
}

var (
	heading      = regexp.MustCompile(`^# Written by tvsctld for service \S+ of project (\S+)\. `)
	upstreamLine = regexp.MustCompile(`(?m)^\s*upstream\s+(\S+)\s*\{`)
	serverLine   = regexp.MustCompile(`(?m)^\s*server\s+([^\s;]+)(\s+down)?\s*;(?:\s*#\s*(\S+))?`)
)

// WrittenFor returns the project that a file of ours was written for; "" of another.
func WrittenFor(contents []byte) string {
	m := heading.FindSubmatch(contents)
	if m == nil {
		return ""
	}
	return string(m[1])
}

// ParseUpstream reads the first upstream block of a file, ours or a start script's.
func ParseUpstream(contents []byte) (Upstream, error) {
	name := upstreamLine.FindSubmatch(contents)
	if name == nil {
		return Upstream{}, errors.New("no upstream block")
	}
	u := Upstream{Name: string(name[1])}
	for _, m := range serverLine.FindAllSubmatch(contents, -1) {
		if len(m[2]) == 0 {
			u.Servers = append(u.Servers, Server{Address: string(m[1]), Replica: string(m[3])})
		}
	}
	return u, nil
}

// ConfigError means that nginx refused a configuration or did not take it up;
// the one before it is in force and on disk.
type ConfigError struct {
	Nginx string
	Text  string // "does not accept the configuration"
	// Refused is whether nginx's test found it wrong, so that it was never tried.
	Refused bool
	Output  []string // nginx's own lines
}

const refusedText = "does not accept the configuration"

func (e *ConfigError) Error() string {
	if line := complaint(e.Output); line != "" {
		return fmt.Sprintf("%s %s: %s", e.Nginx, e.Text, line)
	}
	return e.Nginx + " " + e.Text
}

var logPrefix = regexp.MustCompile(`^(?:\d{4}/\d\d/\d\d \d\d:\d\d:\d\d )?(?:nginx: )?(?:\[[a-z]+\] )?(?:\d+#\d+: )?`)

// complaint finds the line that says why among what nginx wrote.
func complaint(output []string) string {
	for _, line := range output {
		if severity(line) {
			return logPrefix.ReplaceAllString(line, "")
		}
	}
	if len(output) > 0 {
		return output[0]
	}
	return ""
}

// complaints leaves of nginx -T's output what is not the configuration itself.
func complaints(output string) string {
	var kept []string
	for line := range strings.Lines(output) {
		if strings.HasPrefix(line, "nginx: ") || severity(line) {
			kept = append(kept, line)
		}
	}
	return strings.Join(kept, "")
}

func severity(line string) bool {
	return strings.Contains(line, "[emerg]") || strings.Contains(line, "[alert]") || strings.Contains(line, "[crit]")
}

func lines(text string) []string {
	text = strings.TrimSpace(text)
	if text == "" {
		return nil
	}
	return strings.Split(text, "\n")
}
