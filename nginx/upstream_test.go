package nginx

import (
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

func TestRenderGolden(t *testing.T) {
	for file, u := range map[string]Upstream{
		"two.conf":  {Name: "webapp", Project: "tvs", Servers: []Server{{"172.20.0.7:8080", "tvs-webapp-2"}, {"172.20.0.5:8080", "tvs-webapp-1"}}},
		"none.conf": {Name: "webapp", Project: "tvs"},
	} {
		want, err := os.ReadFile(filepath.Join("testdata", file))
		if err != nil {
			t.Fatal(err)
		}
		if got := u.Render(); string(got) != string(want) {
			t.Errorf("%s: got\n%s", file, got)
		}
		again, err := ParseUpstream(want)
		if project := WrittenFor(want); project != u.Project {
			t.Errorf("%s: written for %q", file, project)
		}
		if err != nil || again.Name != u.Name || len(again.Servers) != len(u.Servers) {
			t.Errorf("%s: parsed %+v, %v", file, again, err)
		}
	}
}

// No two upstreams of one nginx share a zone.
func TestZonesDiffer(t *testing.T) {
	zone := func(u Upstream) string {
		_, rest, _ := strings.Cut(string(u.Render()), "zone ")
		name, _, _ := strings.Cut(rest, " ")
		return name
	}
	if one, two := zone(Upstream{Project: "a_b", Name: "c"}), zone(Upstream{Project: "a", Name: "b_c"}); one == two {
		t.Errorf("both are %s", one)
	}
}

func TestRenderKeepsTheOrderOfItsArgument(t *testing.T) {
	servers := []Server{{"b:1", "x"}, {"a:1", "y"}}
	one := Upstream{Name: "u", Servers: servers}.Render()
	slices.Reverse(servers)
	two := Upstream{Name: "u", Servers: servers}.Render()
	if string(one) != string(two) || Generation(one) != Generation(two) {
		t.Error("the order of the members matters")
	}
	if servers[0].Address != "a:1" || servers[1].Address != "b:1" {
		t.Error("the members were sorted in place")
	}
}

func TestParseUpstream(t *testing.T) {
	for _, c := range []struct {
		text string
		want Upstream
	}{
		{"upstream webapp {\n  server webapp:8080;\n}\n", Upstream{Name: "webapp", Servers: []Server{{"webapp:8080", ""}}}},
		{"upstream webapp { # made by a start script\n\tserver 127.0.0.1:9 down;\n}\n", Upstream{Name: "webapp"}},
		{"# upstream old {\nupstream new {\n#   server 1.1.1.1:1;\n server 2.2.2.2:2 ; #tvs-new-1\n}", Upstream{Name: "new", Servers: []Server{{"2.2.2.2:2", "tvs-new-1"}}}},
	} {
		if got, err := ParseUpstream([]byte(c.text)); err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%q: %+v, %v", c.text, got, err)
		}
	}
	for _, text := range []string{"", "server 1.1.1.1:1;", "# upstream a {"} {
		if _, err := ParseUpstream([]byte(text)); err == nil {
			t.Errorf("%q is an upstream", text)
		}
	}
}

func TestGeneration(t *testing.T) {
	if got := Generation([]byte("abc")); got != "ba7816bf" { // of FIPS 180-2's example
		t.Errorf("got %s", got)
	}
}

func FuzzParseUpstream(f *testing.F) {
	f.Add([]byte("upstream webapp {\n server 1.2.3.4:80; # r\n}\n"))
	f.Add(Upstream{Name: "w", Project: "p"}.Render())
	f.Add([]byte("upstream {"))
	f.Add([]byte("upstream 0{\nserver ;00\xfb;"))
	f.Fuzz(func(t *testing.T, contents []byte) {
		u, err := ParseUpstream(contents)
		if err != nil {
			return
		}
		for _, s := range u.Servers {
			if s.Address == "" || strings.ContainsAny(s.Address, " \t\n;") {
				t.Errorf("%q gives %+v", contents, u)
			}
		}
	})
}

func FuzzRenderRoundTrip(f *testing.F) {
	f.Add(3, "webapp")
	f.Add(0, "a")
	f.Fuzz(func(t *testing.T, n int, name string) {
		if strings.ContainsAny(name, " \t\r\n\v\f;{}#\"'") || name == "" || strings.ToValidUTF8(name, "") != name || strings.ContainsFunc(name, func(r rune) bool { return r > 126 || r < 33 }) {
			return // no service has such a name
		}
		u := Upstream{Name: name}
		for i := range min(max(n, 0), 50) {
			u.Servers = append(u.Servers, Server{Address: "10.0.0." + string(rune('0'+i%10)) + ":1", Replica: name + "-" + string(rune('a'+i%26))})
		}
		again, err := ParseUpstream(u.Render())
		if err != nil || string(again.Render()) == "" || len(again.Servers) != len(u.Servers) || again.Name != name {
			t.Errorf("%+v, %v from\n%s", again, err, u.Render())
		}
	})
}

func TestConfigErrorText(t *testing.T) {
	for _, c := range []struct {
		output []string
		want   string
	}{
		{nil, "entry is bad"},
		{[]string{"nginx: the configuration file", `2026/01/02 03:04:05 [emerg] 7#7: unexpected "}" in /etc/nginx/upstreams/webapp.conf:3`},
			`entry is bad: unexpected "}" in /etc/nginx/upstreams/webapp.conf:3`},
		{[]string{"nginx: [warn] old style", "nginx: [emerg] host not found in upstream"}, "entry is bad: host not found in upstream"},
		{[]string{"first", "second"}, "entry is bad: first"},
	} {
		if got := (&ConfigError{Nginx: "entry", Text: "is bad", Output: c.output}).Error(); got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
}
