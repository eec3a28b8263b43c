package nginx

import (
	"strings"
	"testing"
)

const dir = "/etc/nginx/upstreams"

// dump is what nginx -v and nginx -T write, with the given lines in http.
func dump(version, http string, files ...string) string {
	text := "nginx version: nginx/" + version + "\n# configuration file /etc/nginx/nginx.conf:\nevents {\n}\nhttp {\n" + http + "\n}\n\n"
	for i := 0; i < len(files); i += 2 {
		text += "# configuration file " + files[i] + ":\n" + files[i+1] + "\n"
	}
	return text + "nginx: the configuration file /etc/nginx/nginx.conf syntax is ok\n"
}

const include = "    include /etc/nginx/upstreams/*.conf;\n"

func TestFacts(t *testing.T) {
	for _, c := range []struct {
		name, output string
		version      string
		includes     bool
		grace        bool
		problems     []string
	}{
		{"1.26, plain", dump("1.26.3", include), "1.26.3", true, false, []string{"set keepalive_timeout 0, or use nginx 1.27.4"}},
		{"1.26, keep-alive off", dump("1.26.3", include+"    keepalive_timeout 0;"), "1.26.3", true, false, nil},
		{"1.26, off in seconds", dump("1.26.3", include+"\tkeepalive_timeout   0s ;"), "1.26.3", true, false, nil},
		{"1.26, on", dump("1.26.3", include+"    keepalive_timeout 65;"), "1.26.3", true, false, []string{"keepalive_timeout 0"}},
		{"1.26, off in a comment", dump("1.26.3", include+"    # keepalive_timeout 0;"), "1.26.3", true, false, []string{"keepalive_timeout 0"}},
		{"1.27.3", dump("1.27.3", include), "1.27.3", true, false, []string{"1.27.4"}},
		{"1.27.4", dump("1.27.4", include), "1.27.4", true, true, nil},
		{"1.30", dump("1.30.6", include), "1.30.6", true, true, nil},
		{"2.0", dump("2.0.0", include), "2.0.0", true, true, nil},
		{"1.30 with grace", dump("1.30.6", include+"    keepalive_min_timeout 3s;"), "1.30.6", true, false, nil},
		{"1.30 with grace in a line", "nginx/1.30.6\nhttp { include /etc/nginx/upstreams/*.conf; keepalive_min_timeout 3s; }", "1.30.6", true, false, nil},
		{"1.30 with grace in a comment", dump("1.30.6", include+"    #keepalive_min_timeout 3s;"), "1.30.6", true, true, nil},
		{"1.30 with grace refused", dump("1.30.6", include+"    keepalive_min_timeout 0;"), "1.30.6", true, false, []string{"set keepalive_min_timeout 3s"}},
		{"1.30 with ours", dump("1.30.6", include, dir+"/"+GraceFile, graceText), "1.30.6", true, false, nil},
		{"no include", dump("1.30.6", ""), "1.30.6", false, false, []string{"does not include /etc/nginx/upstreams/*.conf", "set keepalive_min_timeout 3s"}},
		{"an include in a comment", dump("1.30.6", "    # include /etc/nginx/upstreams/*.conf;\n keepalive_timeout 0;"), "1.30.6", false, false, []string{"does not include"}},
		{"another include", dump("1.30.6", "    include /etc/nginx/conf.d/*.conf;\n keepalive_timeout 0;"), "1.30.6", false, false, []string{"does not include"}},
		{"no version", "sh: nginx: not found", "", false, false, []string{"does not include", "keepalive_timeout 0"}},
	} {
		f := readFacts(c.output, dir)
		if f.Version != c.version || f.Includes != c.includes || f.NeedsGrace != c.grace || len(f.Problems) != len(c.problems) {
			t.Errorf("%s: %+v", c.name, f)
			continue
		}
		for i, part := range c.problems {
			if !strings.Contains(f.Problems[i], part) {
				t.Errorf("%s: problem %q", c.name, f.Problems[i])
			}
		}
	}
}

func TestIncludes(t *testing.T) {
	for text, want := range map[string]bool{
		"include /etc/nginx/upstreams/*.conf;":         true,
		"include /etc/nginx/upstreams/*;":              true,
		"  include\t\"/etc/nginx/upstreams/*.conf\" ;": true,
		"include 'upstreams/*.conf';":                  true,
		"http { include upstreams/*.conf; }":           true,
		"include /etc/nginx/upstreams/webapp.conf;":    false,
		"include /etc/nginx/upstreamsX/*.conf;":        false,
		"#include upstreams/*.conf;":                   false,
		"server_name x; # include upstreams/*.conf;":   false,
		"include other/upstreams/*.conf;":              false,
		"noinclude upstreams/*.conf;":                  false,
	} {
		if got := includes(text, dir+"/"); got != want {
			t.Errorf("%q: %v", text, got)
		}
	}
	if includes("include upstreams/*.conf;", "/run/upstreams") {
		t.Error("a relative path is below /etc/nginx")
	}
}

func TestFactsFiles(t *testing.T) {
	webapp := string(Upstream{Name: "webapp", Project: "tvs", Servers: []Server{{"10.0.0.1:80", "tvs-webapp-1"}}}.Render())
	f := readFacts(dump("1.26.3", include, dir+"/webapp.conf", webapp, dir+"/deeper/api.conf", "x", dir+"/notes.txt", "y",
		"/etc/nginx/mime.types", "types {}", dir+"/api.conf", "upstream api {\n}\n"), dir+"/")
	if len(f.Files) != 2 || string(f.Files["webapp.conf"]) != webapp || !strings.HasPrefix(string(f.Files["api.conf"]), "upstream api {\n}\n") {
		t.Errorf("got %q", f.Files)
	}
}
