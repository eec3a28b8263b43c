//go:build e2e && bench

package tests

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
)

// TestBench measures against docker compose and against the floor, in the same run
// and in turn, prints the table and writes it to docs/benchmarks.md. It runs with
// make bench: figures are for a machine that has nothing else to do.
func TestBench(t *testing.T) {
	example := "/srv/tvs/examples/tvs/"
	t.Cleanup(func() { shared.run("tvsctl", "-p", "tvs", "down") })
	files := []string{example + "compose.yaml", example + "compose.offline.yaml", "/srv/many.yaml"}
	shared.sh(t, `printf 'services: {webapp: {labels: {tvs.scale.max: "100"}}}\n' >/srv/many.yaml`)
	shared.must(t, "tvsctl", "up", "-f", files[0], "-f", files[1], "-f", files[2])
	var b struct {
		Rounds      int     `json:"rounds"`
		Tvsctl      float64 `json:"tvsctl_ms"`
		Compose     float64 `json:"compose_ms"`
		Floor       float64 `json:"floor_ms"`
		StatusWarm  float64 `json:"status_warm_ms"`
		StatusCold  float64 `json:"status_cold_ms"`
		ComposePs   float64 `json:"compose_ps_ms"`
		ResidentKiB int     `json:"resident_kib"`
		UpFew       float64 `json:"up_few_ms"`
		UpMany      float64 `json:"up_many_ms"`
		DownFew     float64 `json:"down_few_ms"`
		DownMany    float64 `json:"down_many_ms"`
		ManyKiB     int     `json:"many_kib"`
		Crowd       float64 `json:"crowd_ms"`
		CrowdBare   float64 `json:"crowd_bare_ms"`
	}
	shared.sh(t, "echo max_connections_per_user = 1024 >/etc/tvsctld/tvsctld.toml && systemctl reload-or-restart tvsctld.service")
	t.Cleanup(func() { shared.run("rm", "/etc/tvsctld/tvsctld.toml") })
	out := shared.must(t, "/srv/tvs/bin/tests/bench", "-files", strings.Join(files, ","))
	if err := json.Unmarshal([]byte(out), &b); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	size := func(name string) float64 {
		info, err := os.Stat("../bin/" + name)
		if err != nil {
			t.Fatal(err)
		}
		return float64(info.Size()) / (1 << 20)
	}
	rows := []struct {
		what     string
		measured float64
		most     float64
		unit     string
		how      string
	}{
		{"scale webapp 1 → 4, against docker compose", b.Tvsctl / b.Compose, 0.8, "×", fmt.Sprintf("%.0f ms against %.0f ms", b.Tvsctl, b.Compose)},
		{"scale webapp 1 → 4, against the floor", b.Tvsctl / b.Floor, 1.3, "×", fmt.Sprintf("%.0f ms against %.0f ms", b.Tvsctl, b.Floor)},
		{"tvsctl status, warm, against docker compose ps", b.StatusWarm / b.ComposePs, 0.125, "×", fmt.Sprintf("%.1f ms against %.1f ms", b.StatusWarm, b.ComposePs)},
		{"tvsctl status, cold, more than warm", b.StatusCold - b.StatusWarm, 150, "ms", fmt.Sprintf("%.1f ms, warm %.1f ms", b.StatusCold, b.StatusWarm)},
		{"memory of the daemon, resident", float64(b.ResidentKiB) / 1024, 25, "MiB", "VmRSS after all of this"},
		{"one replica more, 1 → 50 against 1 → 4", b.UpMany / b.UpFew, 1, "×", fmt.Sprintf("%.0f ms against %.0f ms", b.UpMany, b.UpFew)},
		{"one replica fewer, 50 → 1 against 4 → 1", b.DownMany / b.DownFew, 1, "×", fmt.Sprintf("%.0f ms against %.0f ms", b.DownMany, b.DownFew)},
		{"memory of the daemon after 50 replicas", float64(b.ManyKiB) / 1024, 40, "MiB", "VmRSS"},
		{"1,000 status at once on one core, p99, against bare net/http", b.Crowd / b.CrowdBare, 3, "×", fmt.Sprintf("%.0f ms against %.0f ms", b.Crowd, b.CrowdBare)},
		{"tvsctl on disk", size("tvsctl"), 10, "MiB", ""},
		{"tvsctld on disk", size("tvsctld"), 20, "MiB", ""},
	}
	var table strings.Builder
	table.WriteString("| what | measured | at most | |\n|---|---|---|---|\n")
	for _, row := range rows {
		fmt.Fprintf(&table, "| %s | %.3g %s | %g %s | %s |\n", row.what, row.measured, row.unit, row.most, row.unit, row.how)
		if row.measured > row.most {
			t.Errorf("%s: %.3g %s, more than %g", row.what, row.measured, row.unit, row.most)
		}
	}
	t.Logf("medians of %d rounds, each measured in turn\n%s", b.Rounds, table.String())
	document := fmt.Sprintf(benchmarks, b.Rounds, table.String())
	if err := os.WriteFile("../docs/benchmarks.md", []byte(document), 0o644); err != nil {
		t.Fatal(err)
	}
}

const benchmarks = `# Benchmarks

Written by ` + "`make bench`" + `: the example stack on the test machine (2 cores), compose, tvsctl and
the floor measured in turn, medians of %d rounds. The floor is the same create and start calls sent
straight to the Engine API, in parallel, and one exec of nginx's test and reload, without waiting
for readiness or for the reload; tvsctl's time includes both. compose and the floor are measured with
tvsctld stopped. ` + "`docker compose up`" + ` tells nginx nothing, and its time has no reload in it.

%s`
