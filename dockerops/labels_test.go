package dockerops

import (
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestReadSettings(t *testing.T) {
	plain := Settings{UpstreamDir: DefaultUpstreamDir, Drain: DefaultDrain, Settle: DefaultSettle}
	if got := readSettings(map[string]string{"other": "x"}); !reflect.DeepEqual(got, plain) {
		t.Errorf("without labels %+v", got)
	}
	got := readSettings(map[string]string{labelNginx: "webapp:8080, api:3000", labelUpstreams: "/run/up", labelMin: "2", labelMax: "9",
		labelDrain: "0s", labelReadyTimeout: "1h", labelSettle: "3s", labelMatch: "HOST (.*)"})
	want := Settings{Balances: []Backend{{"webapp", 8080}, {"api", 3000}}, UpstreamDir: "/run/up", Min: 2, Max: 9,
		ReadyTimeout: time.Hour, Settle: 3 * time.Second, Match: "HOST (.*)"}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v", got)
	}
}

func TestReadSettingsIgnoresBadValues(t *testing.T) {
	for _, bad := range []struct{ label, value, says string }{
		{labelNginx, "webapp", `"webapp" is not SERVICE:PORT`},
		{labelNginx, "", "is not SERVICE:PORT"},
		{labelUpstreams, "etc/nginx", "is not an absolute path"},
		{labelUpstreams, "/etc\n/nginx", "is not an absolute path"},
		{labelUpstreams, "", "is not an absolute path"},
		{labelMin, "-1", "is not a number of replicas"},
		{labelMax, "many", "is not a number of replicas"},
		{labelMax, "65536", "is not a number of replicas"},
		{labelDrain, "30", "is not a duration"},
		{labelDrain, "-1s", "is not a duration"},
		{labelDrain, "61m", "is not a duration"},
		{labelReadyTimeout, "soon", "is not a duration"},
		{labelSettle, "10", "is not a duration"},
		{labelMatch, "(", "missing closing"},
	} {
		got := readSettings(map[string]string{bad.label: bad.value})
		if len(got.Problems) != 1 || !strings.HasPrefix(got.Problems[0], "label "+bad.label+" is ignored: ") || !strings.Contains(got.Problems[0], bad.says) {
			t.Errorf("%s=%q: problems %q", bad.label, bad.value, got.Problems)
		}
		got.Problems = nil
		if !reflect.DeepEqual(got, Settings{UpstreamDir: DefaultUpstreamDir, Drain: DefaultDrain, Settle: DefaultSettle}) {
			t.Errorf("%s=%q: %+v", bad.label, bad.value, got)
		}
	}
}

func TestReadSettingsProblemsHaveAnOrder(t *testing.T) {
	labels := map[string]string{labelMin: "x", labelMax: "x", labelDrain: "x", labelMatch: "("}
	first := readSettings(labels).Problems
	for range 50 {
		if again := readSettings(labels).Problems; !reflect.DeepEqual(again, first) {
			t.Fatalf("%q, then %q", first, again)
		}
	}
}

func TestParseBackends(t *testing.T) {
	for text, want := range map[string][]Backend{
		"webapp:8080":            {{"webapp", 8080}},
		" webapp:1 ,\tapi:65535": {{"webapp", 1}, {"api", 65535}},
		"web.app_2-x:80":         {{"web.app_2-x", 80}},
		"":                       nil, "webapp": nil, "webapp:": nil, ":80": nil, "webapp:0": nil, "webapp:65536": nil, "webapp:-1": nil, "webapp:+80": nil,
		"webapp:80,": nil, "webapp:80:81": nil, "web app:80": nil, "web;app:80": nil, "-x:80": nil, "webapp:8080 api:1": nil, "a{:80": nil,
		"webapp:8080, webapp:9090": nil,
	} {
		got, err := ParseBackends(text)
		if !reflect.DeepEqual(got, want) || (err != nil) != (want == nil) {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
}

func TestValidNames(t *testing.T) {
	long := strings.Repeat("a", 129)
	for name, want := range map[string]bool{
		"tvs": true, "a": true, "0_-": true, "Tvs": false, "a.b": false, "": false, "-": false, "_a": false, "a/b": false, "a b": false,
		"a\n": false, "é": false, long: false, long[:128]: true, "..": false,
	} {
		if got := ValidProjectName(name); got != want {
			t.Errorf("%q: %v", name, got)
		}
	}
}

func FuzzParseBackends(f *testing.F) {
	for _, seed := range []string{"webapp:8080", "a:1,b:2", "", ":", "a:b", "a:1,,", "webapp:99999", "a;b:80", "a:1\n"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		backends, err := ParseBackends(text)
		if err != nil {
			if backends != nil || strings.Contains(err.Error(), "\n") {
				t.Errorf("%v and %q", backends, err)
			}
			return
		}
		// What is accepted goes into nginx's configuration.
		for _, b := range backends {
			if b.Port < 1 || b.Port > 65535 || strings.ContainsAny(b.Service, " \t\r\n;{}#\"'\\$/") {
				t.Errorf("%q gives %+v", text, b)
			}
		}
	})
}

func FuzzReadSettings(f *testing.F) {
	f.Add("webapp:8080", "/etc/nginx", "1", "30s", ".")
	f.Add("", "", "", "", "")
	f.Add("x", "x", "-1", "99h", "[")
	f.Fuzz(func(t *testing.T, nginx, dir, count, duration, match string) {
		s := readSettings(map[string]string{labelNginx: nginx, labelUpstreams: dir, labelMin: count, labelMax: count,
			labelDrain: duration, labelReadyTimeout: duration, labelMatch: match})
		if !strings.HasPrefix(s.UpstreamDir, "/") || strings.Contains(s.UpstreamDir, "\n") || s.Min < 0 || s.Max < 0 ||
			s.Drain < 0 || s.Drain > maxDuration || s.ReadyTimeout < 0 || s.ReadyTimeout > maxDuration {
			t.Errorf("%+v", s)
		}
	})
}
