package dockerops

import (
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Labels that compose puts on every container (compose-spec, and
// docker/compose pkg/api/labels.go).
const (
	labelPrefix      = "com.docker.compose."
	labelProject     = "com.docker.compose.project"
	labelService     = "com.docker.compose.service"
	labelNumber      = "com.docker.compose.container-number"
	labelOneOff      = "com.docker.compose.oneoff"
	labelConfigHash  = "com.docker.compose.config-hash"
	labelImage       = "com.docker.compose.image"
	labelDependsOn   = "com.docker.compose.depends_on"
	labelReplace     = "com.docker.compose.replace"
	labelWorkingDir  = "com.docker.compose.project.working_dir"
	labelConfigFiles = "com.docker.compose.project.config_files"
	labelEnvFile     = "com.docker.compose.project.environment_file"
)

// Labels by which a stack says how it wants to be run.
const (
	labelNginx        = "tvs.nginx"
	labelUpstreams    = "tvs.nginx.upstreams"
	labelMin          = "tvs.scale.min"
	labelMax          = "tvs.scale.max"
	labelDrain        = "tvs.drain"
	labelReadyTimeout = "tvs.ready.timeout"
	labelSettle       = "tvs.rollout.settle"
	labelMatch        = "tvs.verify.match"
)

const (
	// DefaultUpstreamDir is where an nginx container includes upstream files from.
	DefaultUpstreamDir = "/etc/nginx/upstreams"
	// DefaultDrain is how long requests in flight may take to end.
	DefaultDrain = 30 * time.Second
	// DefaultSettle is how long a new replica must run before a rollout goes on.
	DefaultSettle = 10 * time.Second
	maxDuration   = time.Hour
)

// Backend is a service that an nginx balances, and the port it listens on.
type Backend struct {
	Service string
	Port    int
}

// Settings are a service's tvs labels, with defaults where they say nothing.
type Settings struct {
	Balances     []Backend // of an nginx
	UpstreamDir  string
	Min, Max     int // 0: not given
	Drain        time.Duration
	ReadyTimeout time.Duration // 0: derived from the health check
	Settle       time.Duration
	Match        string
	Problems     []string // labels that were ignored, and why
}

func readSettings(labels map[string]string) Settings {
	s := Settings{UpstreamDir: DefaultUpstreamDir, Drain: DefaultDrain, Settle: DefaultSettle}
	for key, parse := range map[string]func(string) error{
		labelNginx: func(v string) (err error) { s.Balances, err = ParseBackends(v); return },
		labelUpstreams: func(v string) error {
			if !strings.HasPrefix(v, "/") || strings.ContainsAny(v, "\n\x00") {
				return fmt.Errorf("%q is not an absolute path", v)
			}
			s.UpstreamDir = v
			return nil
		},
		labelMin:          func(v string) (err error) { s.Min, err = parseCount(v); return },
		labelMax:          func(v string) (err error) { s.Max, err = parseCount(v); return },
		labelDrain:        func(v string) (err error) { s.Drain, err = parseDuration(v, DefaultDrain); return },
		labelReadyTimeout: func(v string) (err error) { s.ReadyTimeout, err = parseDuration(v, 0); return },
		labelSettle:       func(v string) (err error) { s.Settle, err = parseDuration(v, DefaultSettle); return },
		labelMatch: func(v string) error {
			if _, err := regexp.Compile(v); err != nil {
				// Not the error's own text: the expression in it can have many lines.
				if wrong, ok := errors.AsType[*syntax.Error](err); ok {
					return fmt.Errorf("%q is not a regular expression: %s", v, wrong.Code)
				}
				return fmt.Errorf("%q is not a regular expression", v)
			}
			s.Match = v
			return nil
		},
	} {
		if v, ok := labels[key]; ok {
			if err := parse(v); err != nil {
				s.Problems = append(s.Problems, fmt.Sprintf("label %s is ignored: %v", key, err))
			}
		}
	}
	slices.Sort(s.Problems)
	return s
}

// ParseBackends reads "webapp:8080, api:3000". A service has one port: its upstream is named
// after it.
func ParseBackends(text string) ([]Backend, error) {
	var backends []Backend
	for part := range strings.SplitSeq(text, ",") {
		service, port, ok := strings.Cut(strings.TrimSpace(part), ":")
		n, err := strconv.ParseUint(port, 10, 16)
		if !ok || err != nil || n == 0 || !serviceName.MatchString(service) {
			return nil, fmt.Errorf("%q is not SERVICE:PORT", strings.TrimSpace(part))
		}
		if slices.ContainsFunc(backends, func(b Backend) bool { return b.Service == service }) {
			return nil, fmt.Errorf("%s is named twice, and can be balanced at one port only", service)
		}
		backends = append(backends, Backend{Service: service, Port: int(n)})
	}
	return backends, nil
}

var (
	// The names that compose allows (compose-spec schema).
	serviceName = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9._-]*$`)
	projectName = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]*$`)
)

// ValidProjectName reports whether compose could have a project of that name.
func ValidProjectName(name string) bool { return len(name) <= 128 && projectName.MatchString(name) }

// ValidServiceName reports whether compose could have a service of that name.
func ValidServiceName(name string) bool { return len(name) <= 128 && serviceName.MatchString(name) }

func parseCount(text string) (int, error) {
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return 0, fmt.Errorf("%q is not a number of replicas", text)
	}
	return int(n), nil
}

// parseDuration reads a duration between 0 and an hour; on error it returns otherwise.
func parseDuration(text string, otherwise time.Duration) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 || d > maxDuration {
		return otherwise, fmt.Errorf("%q is not a duration from 0s to 1h such as 30s", text)
	}
	return d, nil
}
