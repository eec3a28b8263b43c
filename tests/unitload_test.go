//go:build e2e

package tests

import (
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"testing"
	"time"
)

// unitSpeed: a warm status is no slower than systemctl's of the same unit.
func unitSpeed(t *testing.T, m *machine) {
	m.must(t, "systemctl", "start", "nginx")
	out := m.sh(t, `us() { local s=${EPOCHREALTIME/./}; "$@" >/dev/null; echo -n "$((${EPOCHREALTIME/./} - s)) "; }
tvsctl unit status nginx >/dev/null
for i in $(seq 30); do us tvsctl unit status nginx; us systemctl status --no-pager nginx; us tvsctl unit status nginx -n 10; echo; done`)
	columns := make([][]int, 3)
	for line := range strings.Lines(out) {
		for i, text := range strings.Fields(line) {
			n, err := strconv.Atoi(text)
			if err != nil {
				t.Fatal(err)
			}
			columns[i] = append(columns[i], n)
		}
	}
	for i := range columns {
		sort.Ints(columns[i])
		if len(columns[i]) != 30 {
			t.Fatalf("%d measurements: %s", len(columns[i]), out)
		}
	}
	median := func(i int) time.Duration { return time.Duration(columns[i][15]) * time.Microsecond }
	ratio := float64(median(0)) / float64(median(1))
	t.Logf("medians of 30: tvsctl unit status %v, systemctl status %v (ratio %.2f); tvsctl unit status -n 10 %v", median(0), median(1), ratio, median(2))
	if ratio > 1 {
		t.Errorf("a status takes %.2f of systemctl's time", ratio)
	}
}

// manyUnits: 200 jobs at once end each with its own result, also with the bus restarted or
// systemd executed anew in the middle.
func manyUnits(t *testing.T, m *machine) {
	m.configure(t, "max_connections_per_user = 500\n"+managedUnits())
	kinds, n := jobKinds, manyJobs
	for round, disturb := range []string{":", "systemctl restart dbus", "systemctl daemon-reexec"} {
		first := firstJobs[round]
		var script strings.Builder
		script.WriteString("rm -rf /root/u; mkdir /root/u; cd /root/u\n")
		for i := range n {
			fmt.Fprintf(&script, "(tvsctl unit start %s@%d >%d.out 2>&1; echo $? >%[3]d.rc) &\n", kinds[i%len(kinds)].unit, first+i, i)
		}
		script.WriteString("until [ $(ls *.rc 2>/dev/null | wc -l) -ge 20 ]; do sleep 0.05; done; ls *.rc | wc -l >before; " + disturb + "; ls *.rc | wc -l >after; wait")
		start := time.Now()
		r := m.run("timeout", "120", "bash", "-c", script.String())
		if r.code != 0 {
			t.Fatalf("some hang: %s\n%s", r, m.journal())
		}
		took := time.Since(start)
		root := filepath.Join(m.root, "root/u")
		wrong := 0
		for i := range n {
			kind := kinds[i%len(kinds)]
			out, err := os.ReadFile(filepath.Join(root, fmt.Sprintf("%d.out", i)))
			if err != nil {
				t.Fatal(err)
			}
			rc, err := os.ReadFile(filepath.Join(root, fmt.Sprintf("%d.rc", i)))
			if err != nil {
				t.Fatal(err)
			}
			says := fmt.Sprintf(kind.says, first+i)
			if strings.TrimSpace(string(rc)) != strconv.Itoa(kind.code) || !strings.Contains(string(out), strings.TrimSuffix(says, "%!(EXTRA)")) {
				if wrong++; wrong <= 5 {
					t.Errorf("%s@%d, with %q: exit status %s, not %d and %q:\n%s", kind.unit, first+i, disturb, rc, kind.code, says, out)
				}
			}
		}
		if again := m.sh(t, `for f in /run/short.????; do [ "$(cat $f)" = ran ] || echo $f; done; ls /run/short.???? >/dev/null`); again != "" {
			t.Errorf("ran more than once: %s", again)
		}
		t.Logf("%d jobs with %q: %v; %d wrong; ended before it %s, after it %s", n, disturb, took.Round(10*time.Millisecond), wrong,
			strings.TrimSpace(m.must(t, "cat", "/root/u/before")), strings.TrimSpace(m.must(t, "cat", "/root/u/after")))
	}
	m.configure(t, managedUnits())
}
