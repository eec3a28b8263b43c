package dockerops

import (
	"path"
	"regexp"
	"strings"
	"testing"
	"time"
)

// FuzzLabels: whatever the labels of a stack hold, what is read of them is within its
// bounds, and what is ignored is said in one line.
func FuzzLabels(f *testing.F) {
	f.Add("webapp:8080, api:3000", "/etc/nginx/upstreams", "1", "8", "30s", "1m30s", "0s", `(?i)instance: ([a-z0-9]+)`)
	f.Add("", "", "", "", "", "", "", "")
	f.Add("webapp:0,:80", "upstreams", "-1", "65536", "-1s", "61m", "1e9h", "(")
	f.Add("web app:80", "/a\nb", "0x10", "+1", "9223372036854775807ns", "1h", "1h0m0.000000001s", "[\n\x8d")
	f.Fuzz(func(t *testing.T, balances, dir, least, most, drain, ready, settle, match string) {
		labels := map[string]string{labelNginx: balances, labelUpstreams: dir, labelMin: least, labelMax: most,
			labelDrain: drain, labelReadyTimeout: ready, labelSettle: settle, labelMatch: match}
		s := readSettings(labels)
		if s.Min < 0 || s.Max < 0 || s.Min > 65535 || s.Max > 65535 {
			t.Errorf("from %d to %d replicas", s.Min, s.Max)
		}
		for _, d := range []time.Duration{s.Drain, s.ReadyTimeout, s.Settle} {
			if d < 0 || d > maxDuration {
				t.Errorf("%s is out of bounds", d)
			}
		}
		if !path.IsAbs(s.UpstreamDir) || strings.ContainsAny(s.UpstreamDir, "\n\x00") {
			t.Errorf("upstreams in %q", s.UpstreamDir)
		}
		for _, b := range s.Balances {
			if b.Port < 1 || b.Port > 65535 || strings.ContainsAny(b.Service, "/ \n;{}\"'$") || b.Service == "" || strings.HasPrefix(b.Service, ".") {
				t.Errorf("balances %+v", b)
			}
		}
		if _, err := regexp.Compile(s.Match); err != nil {
			t.Error(err)
		}
		if len(s.Problems) > len(labels) {
			t.Errorf("%d problems", len(s.Problems))
		}
		for _, problem := range s.Problems {
			if !strings.HasPrefix(problem, "label tvs.") || strings.Contains(problem, "\n") {
				t.Errorf("%q", problem)
			}
		}
	})
}

// FuzzComposeLabels: the labels that compose writes, which others can write as well.
func FuzzComposeLabels(f *testing.F) {
	f.Add("storage:service_healthy:true,cache:service_started:false", "/srv/shop/compose.yaml,/srv/shop/more.yaml", "/srv/shop/.env", "shop")
	f.Add("", "", "", "")
	f.Add(":::,,a", ",", "..", "Shop/../x")
	f.Fuzz(func(t *testing.T, dependencies, files, env, project string) {
		for _, name := range readDependencies(dependencies) {
			if name == "" {
				t.Errorf("%q holds a service without a name", dependencies)
			}
		}
		read := readFiles(map[string]string{labelWorkingDir: "/srv/shop", labelConfigFiles: files, labelEnvFile: env})
		for _, file := range append(read.Compose, read.Env...) {
			if file == "" {
				t.Errorf("%q and %q hold a file without a name", files, env)
			}
		}
		if ValidProjectName(project) && strings.ContainsAny(project, "/.\x00\n ") {
			t.Errorf("%q could be a project", project)
		}
	})
}
