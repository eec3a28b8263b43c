//go:build e2e

package tests

import (
	"encoding/json"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"tvsctl/ipc"
)

// mostExposed is the highest level that systemd-analyze security may give the daemon.
const mostExposed = 1.5

// TestSandbox: how little the daemon can do, as systemd judges it, on each systemd; that
// its unit says why for all that is left; and that systemd finds nothing wrong in any unit.
func TestSandbox(t *testing.T) {
	t.Parallel()
	unit, err := os.ReadFile("../units/tvsctld.service")
	if err != nil {
		t.Fatal(err)
	}
	var comments strings.Builder
	for line := range strings.Lines(string(unit)) {
		if strings.HasPrefix(line, "#") {
			comments.WriteString(line)
		}
	}
	for _, suite := range suites {
		t.Run(suite, func(t *testing.T) {
			t.Parallel()
			m := installed(t, "sandbox-"+suite, suite)
			if out := m.sh(t, "systemd-analyze verify --man=no /etc/systemd/system/tvsctld* 2>&1"); out != "" {
				t.Errorf("systemd-analyze verify: %s", out)
			}
			out := m.must(t, "systemd-analyze", "security", "--no-pager", "tvsctld.service")
			level := regexp.MustCompile(`Overall exposure level for tvsctld.service: ([0-9.]+)`).FindStringSubmatch(out)
			if level == nil {
				t.Fatal(out)
			}
			if exposed, err := strconv.ParseFloat(level[1], 64); err != nil || exposed > mostExposed {
				t.Errorf("exposed to %s, more than %.1f:\n%s", level[1], mostExposed, out)
			}
			var lines []struct {
				Name, Description string
				Set               *bool
			}
			if err := json.Unmarshal([]byte(m.must(t, "systemd-analyze", "security", "--json=short", "tvsctld.service")), &lines); err != nil {
				t.Fatal(err)
			}
			left := 0
			for _, line := range lines {
				if line.Set == nil || *line.Set {
					continue
				}
				left++
				// "RestrictAddressFamilies=~AF_UNIX", "RootDirectory=/RootImage="
				if directive, _, _ := strings.Cut(line.Name, "="); !strings.Contains(comments.String(), directive+"=") {
					t.Errorf("the unit does not explain %s: %s", line.Name, line.Description)
				}
			}
			if len(lines) < 60 || left == 0 {
				t.Errorf("%d lines, %d left: the test shows nothing", len(lines), left)
			}
			t.Logf("systemd %d: exposure level %s; %d of %d lines are left, and explained", m.version(t, "systemd"), level[1], left, len(lines))
		})
	}
}

// TestScaleWithoutDocker: a member of group tvs scales the example, and cannot use Docker.
func TestScaleWithoutDocker(t *testing.T) {
	m := shared
	example := "/srv/tvs/examples/tvs/"
	t.Cleanup(func() { m.run("sh", "-c", "tvsctl -p tvs down; userdel ana") })
	m.sh(t, "useradd -M ana && usermod -aG tvs ana")
	m.must(t, "tvsctl", "up", "-f", example+"compose.yaml", "-f", example+"compose.offline.yaml")
	as := func(argv ...string) result { return m.run(append([]string{"runuser", "-u", "ana", "--"}, argv...)...) }
	if groups := as("id", "-Gn").out; groups != "ana tvs\n" {
		t.Fatalf("she is in %s", groups)
	}
	if r := as("docker", "ps"); r.code == 0 || !strings.Contains(r.err, "permission denied") {
		t.Errorf("docker ps: %s", r)
	}
	for _, count := range []string{"3", "1"} {
		if r := as("tvsctl", "-p", "tvs", "scale", "webapp", count); r.code != 0 {
			t.Errorf("%s", r)
		}
		if ready := strconv.Itoa(m.service(t, "tvs", "webapp").Ready); ready != count {
			t.Errorf("%s ready replicas, want %s", ready, count)
		}
	}
	for _, refused := range [][]string{{"down"}, {"up", "-f", example}, {"rollout", "webapp", "--image", "tvs-entry"}} {
		if r := as(append([]string{"tvsctl", "-p", "tvs"}, refused...)...); r.code != ipc.ExitForbidden {
			t.Errorf("%s", r)
		}
	}
}
