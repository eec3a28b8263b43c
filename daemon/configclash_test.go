package daemon

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tvsctl/nginx"
)

// One upstream file belongs to one project: the one that has it, else the first.
func TestConfigsThatClash(t *testing.T) {
	dir, upstreams := t.TempDir(), t.TempDir()
	file := func(balances string) string {
		return fmt.Sprintf("[nginx]\nupstreams = %q\nbalances = %q\n", upstreams+"/", balances)
	}
	writeProject(t, dir, "shop", file("webapp:8080"))
	writeProject(t, dir, "api", file("api:8080"))
	writeProject(t, dir, "broken", "nginx")
	check := func(when string, refused ...string) {
		t.Helper()
		for _, name := range []string{"api", "cafe", "shop"} {
			_, err := readProjectConfig(dir, name)
			if len(refused) > 0 && name == refused[0] {
				want := fmt.Sprintf("the same %s as that of %s;", filepath.Join(upstreams, "webapp.conf"), filepath.Join(dir, refused[1]+".toml"))
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("%s: %s: %v, want %q", when, name, err, want)
				}
			} else if err != nil {
				t.Errorf("%s: %v", when, err)
			}
		}
	}
	check("each its own service")
	writeProject(t, dir, "cafe", file("coffee:8080,webapp:80"))
	check("nobody has it", "shop", "cafe")
	text := nginx.Upstream{Name: "webapp", Project: "shop"}.Render()
	if err := os.WriteFile(filepath.Join(upstreams, "webapp.conf"), text, 0o644); err != nil {
		t.Fatal(err)
	}
	check("shop has it", "cafe", "shop")
	// It is in the journal, and among the daemon's problems.
	journal := &journalBuffer{}
	d := New(Config{StateDir: t.TempDir(), ProjectDir: dir, Log: journal})
	defer d.state.close()
	d.log = &logbook{out: journal}
	if found := d.readDeclared(); fmt.Sprint(found.hostNginx) != "map[api:nginx.service shop:nginx.service]" {
		t.Errorf("%q", found.hostNginx)
	}
	if problems := strings.Join(d.problems(), "\n"); !strings.Contains(problems, "webapp.conf") || !strings.Contains(journal.String(), "webapp.conf") {
		t.Errorf("problems %s, journal %s", problems, journal)
	}
	writeProject(t, dir, "cafe", file("coffee:8080"))
	check("mended")
}
