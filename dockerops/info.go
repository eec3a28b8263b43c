package dockerops

import (
	"context"
	"maps"
	"os/exec"
	"slices"
	"strings"
)

// LeastAPI is the oldest version of the Engine API that is enough: that of Docker 20.10.
const LeastAPI = "1.41"

// Info is what the engine says of itself and of the host.
type Info struct {
	Version   string
	API       string   // in use
	Enough    bool     // API is LeastAPI or later
	Root      string   // its data directory, as the host sees it
	CgroupV   string   // "1" or "2"
	NoControl []string // controllers without which it cannot limit: memory, cpu, pids
}

// Info asks the engine about itself.
func (e *Engine) Info(ctx context.Context) (Info, error) {
	version, api, err := e.Version(ctx)
	if err != nil {
		return Info{}, err
	}
	info, err := e.api.Info(ctx)
	if err != nil {
		return Info{}, explain(err)
	}
	i := Info{Version: version, API: api, Enough: e.atLeast(LeastAPI), Root: info.DockerRootDir, CgroupV: info.CgroupVersion}
	for name, there := range map[string]bool{"memory": info.MemoryLimit, "cpu": info.CPUCfsQuota, "pids": info.PidsLimit} {
		if !there {
			i.NoControl = append(i.NoControl, name)
		}
	}
	return i, nil
}

// ComposeVersion returns the version of the installed compose plugin.
func ComposeVersion(ctx context.Context) (string, error) {
	docker, err := exec.LookPath("docker")
	if err != nil {
		return "", &ComposeError{Missing: true, Text: "the docker command is not installed"}
	}
	output, err := exec.CommandContext(ctx, docker, "compose", "version", "--short").Output()
	if err != nil {
		return "", &ComposeError{Missing: true, Text: "the docker compose plugin is not installed"}
	}
	return strings.TrimSpace(string(output)), nil
}

// UnknownLabels returns the labels of a service that begin as ours do and are none.
func (s *Service) UnknownLabels() []string {
	var unknown []string
	for _, label := range slices.Sorted(maps.Keys(s.Spec.Config.Labels)) {
		if strings.HasPrefix(label, "tvs.") && !knownLabels[label] {
			unknown = append(unknown, label)
		}
	}
	return unknown
}

var knownLabels = map[string]bool{labelNginx: true, labelUpstreams: true, labelMin: true, labelMax: true, labelDrain: true,
	labelReadyTimeout: true, labelSettle: true, labelMatch: true}
