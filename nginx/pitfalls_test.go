package nginx

import (
	"strings"
	"testing"
)

func TestPitfalls(t *testing.T) {
	for _, c := range []struct{ passes, want string }{
		{"proxy_pass http://webapp;", ""},
		{"  proxy_pass   \"http://webapp/api/\";", ""},
		{"proxy_pass http://webapp:8080;", "passes requests to http://webapp:8080: a port there goes past the upstream webapp"},
		{"proxy_pass http://webapp; proxy_pass http://10.0.0.1:80;", ""},
		{"set $b webapp;\nproxy_pass http://$b;", ""},
		{"proxy_pass http://$b:8080/x;", "passes requests to http://$b:8080/x: with a port the resolver is asked for the name, and no upstream is used"},
		{"grpc_pass grpc://webapp;", ""},
		{"fastcgi_pass webapp;", ""},
		{"# proxy_pass http://webapp;\nproxy_pass http://other;", "passes no request to webapp, which it is to balance"},
		{"", "passes no request to webapp, which it is to balance"},
	} {
		facts := readFacts("nginx version: nginx/1.30.6\n# configuration file /etc/nginx/nginx.conf:\ninclude /u/*.conf;\n"+c.passes+"\n", "/u")
		if got := strings.Join(facts.Pitfalls([]string{"webapp"}), "|"); got != c.want {
			t.Errorf("%q: %q", c.passes, got)
		}
	}
}

func TestWritable(t *testing.T) {
	forEachShell(t, func(t *testing.T, f *fakeNginx) {
		if err := f.container().Writable(t.Context()); err != nil || len(f.files()) != 0 {
			t.Errorf("%v, left %v", err, f.files())
		}
		f.write("dir/.tvsctl/x", "in the way")
		if err := f.container().Writable(t.Context()); err == nil || !strings.Contains(err.Error(), "cannot write to "+f.dir) {
			t.Errorf("err %v", err)
		}
		c := f.container()
		c.Dir += "/none"
		if err := c.Writable(t.Context()); err == nil || !strings.Contains(err.Error(), "has no directory") {
			t.Errorf("err %v", err)
		}
	})
	h := &Host{Label: "nginx.service", Dir: t.TempDir()}
	if err := h.Writable(t.Context()); err != nil {
		t.Error(err)
	}
	h.Dir += "/none"
	if err := h.Writable(t.Context()); err == nil || !strings.Contains(err.Error(), "cannot write to "+h.Dir) {
		t.Errorf("err %v", err)
	}
}
