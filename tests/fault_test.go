//go:build e2e

package tests

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"tvsctl/ipc"
)

// faultMark is in every build of tvsctld that a test can end or let fail somewhere.
const faultMark = "TVSCTLD_FAULTS"

func TestReleaseHasNoFaults(t *testing.T) {
	for path, want := range map[string]bool{"../bin/tvsctld": false, "../bin/tests/tvsctld-faults": true} {
		program, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(program, []byte(faultMark)) != want {
			t.Errorf("%s: faults can be made in it: %v", path, !want)
		}
	}
}

// change is one command of the walk, and what the stack has when it has succeeded.
type change struct {
	args  []string
	state string // as walked says
}

// walked is what a stack of containers is, "2 running app, 2 in nginx", and whether nginx
// serves exactly what runs.
func walked(t *testing.T, s *stack) (state string, right bool) {
	t.Helper()
	out := s.m.sh(t, strings.ReplaceAll(`of="--filter label=com.docker.compose.project=PROJECT --filter label=com.docker.compose.service=webapp"
		docker ps -a $of --format '{{.State}} {{.Image}}'
		echo --; for id in $(docker ps -q $of); do docker inspect -f '{{range .NetworkSettings.Networks}}{{.IPAddress}}:8080{{end}}' $id; done | sort
		echo --; docker exec PROJECT-entry-1 cat /etc/nginx/upstreams/webapp.conf`, "PROJECT", s.name))
	part := strings.Split(out, "--\n")
	if len(part) != 3 {
		t.Fatalf("%q", out)
	}
	kinds := map[string]int{}
	for line := range strings.Lines(part[0]) {
		kinds[strings.TrimSpace(line)]++
	}
	serving := servers(part[2])
	slices.Sort(serving)
	return tell(kinds, len(serving)), slices.Equal(serving, strings.Fields(part[1]))
}

// walkedInstances is what a stack of units is, "2 active, 2 in nginx", and whether the host's
// nginx serves exactly what runs.
func walkedInstances(t *testing.T, s *stack) (state string, right bool) {
	t.Helper()
	kinds, running, serving := map[string]int{}, []string{}, servers(s.m.must(t, "cat", "/run/tvs/upstreams/webapp.conf"))
	for line := range strings.Lines(s.m.must(t, "systemctl", "list-units", "--plain", "--no-legend", "tvsapp@*.service")) {
		fields := strings.Fields(line) // UNIT LOAD ACTIVE SUB DESCRIPTION
		kinds[fields[2]]++
		if fields[2] == "active" {
			running = append(running, "127.0.0.1:"+strings.TrimSuffix(strings.TrimPrefix(fields[0], "tvsapp@"), ".service"))
		}
	}
	slices.Sort(serving)
	slices.Sort(running)
	return tell(kinds, len(serving)), slices.Equal(serving, running)
}

// tell says how many there are of each kind, and how many nginx serves.
func tell(kinds map[string]int, serving int) string {
	var parts []string
	for _, kind := range slices.Sorted(maps.Keys(kinds)) {
		parts = append(parts, fmt.Sprintf("%d %s", kinds[kind], kind))
	}
	return strings.Join(append(parts, fmt.Sprintf("%d in nginx", serving)), ", ")
}

// TestFaultWalk ends the daemon with SIGKILL before and after every side effect of every
// kind of change, its first and its last, under load. The next life ends the change:
// it is done, or all is as before.
func TestFaultWalk(t *testing.T) {
	t.Parallel()
	m := breakableMachine(t, "walk1")
	w := newWalker(t, m, "walk", 3000, "", "")
	w.walk(t, true, change{[]string{"scale", "webapp", "1"}, "1 running app, 1 in nginx"}, change{[]string{"scale", "webapp", "2"}, w.start})
	w.walk(t, false, change{[]string{"stop"}, "2 exited app, 0 in nginx"}, change{[]string{"start"}, w.start})
	w.end(t, 40)
	unchanged(t, w.stack, 2, "--scale", "webapp=2", "--no-recreate")

	// One whose replicas only compose can make whole.
	w = newWalker(t, m, "whole", 3001, "configs:\n  - source: greeting\n    target: /greeting\n", "configs:\n  greeting:\n    content: hello\n")
	w.walk(t, true, change{[]string{"scale", "webapp", "1"}, "1 running app, 1 in nginx"}, change{[]string{"scale", "webapp", "2"}, w.start})
	w.end(t, 20)
	unchanged(t, w.stack, 2, "--scale", "webapp=2", "--no-recreate")
}

func TestFaultWalkOfRollouts(t *testing.T) {
	t.Parallel()
	w := newWalker(t, breakableMachine(t, "walk2"), "walk", 3000, "", "")
	rollout := []string{"rollout", "webapp", "--image", "app:other"}
	w.walk(t, true, change{rollout, "2 running app:other, 2 in nginx"}, change{[]string{"rollback", "webapp"}, w.start})
	w.walk(t, true, change{append(rollout, "--pause-after", "1"), "1 exited app, 1 running app, 1 running app:other, 2 in nginx"},
		change{[]string{"rollback", "webapp"}, w.start})
	w.end(t, 40)
	unchanged(t, w.stack, 2, "--scale", "webapp=2", "--no-recreate")
}

// TestFaultWalkOfUnits: the same with instances of a template unit behind the host's nginx.
func TestFaultWalkOfUnits(t *testing.T) {
	t.Parallel()
	s := instances(t, "walk3")
	s.dropIn(t, "Environment=ON_TERM=exit\n")
	// It starts an instance more often than anybody would.
	writeFile(t, s.m, "/etc/systemd/system/tvsapp@.service.d/limit.conf", "[Unit]\nStartLimitIntervalSec=0\n")
	breakable(t, s.m)
	s.tvsctl(t, "scale", "webapp", "2")
	w := &walker{stack: s, look: walkedInstances, start: "2 active, 2 in nginx", labels: map[string]bool{}}
	w.walk(t, true, change{[]string{"scale", "webapp", "1"}, "1 active, 1 in nginx"}, change{[]string{"scale", "webapp", "2"}, w.start})
	w.walk(t, true, change{[]string{"restart", "webapp"}, w.start})
	s.tvsctl(t, "scale", "webapp", "1") // where the further one serves alone meanwhile
	w.walk(t, true, change{[]string{"restart", "webapp"}, "1 active, 1 in nginx"})
	s.tvsctl(t, "scale", "webapp", "2")
	w.walk(t, false, change{[]string{"stop"}, "0 in nginx"}, change{[]string{"start"}, w.start})
	w.end(t, 60)
}

// walker goes through the points of changes.
type walker struct {
	*stack
	look    func(*testing.T, *stack) (state string, right bool)
	start   string // what it is before
	labels  map[string]bool
	crashes int
	done    []doneChange
}

// doneChange is a change that was carried out, killed or not.
type doneChange struct {
	what  string
	begun time.Time
}

// newWalker brings up a stack of containers with two replicas.
func newWalker(t *testing.T, m *machine, name string, port int, service, extra string) *walker {
	t.Helper()
	s := &stack{m: m, name: name, port: port, env: map[string]string{"ON_TERM": "exit"},
		service: "labels: {tvs.rollout.settle: 0s}\n" + service, extra: extra}
	s.up(t)
	s.tvsctl(t, "scale", "webapp", "2")
	return &walker{stack: s, look: walked, start: "2 running app, 2 in nginx", labels: map[string]bool{}}
}

// breakableMachine is a machine with Docker whose daemon can be killed at any point.
func breakableMachine(t *testing.T, name string) *machine {
	t.Helper()
	m := own(t, name)
	if err := m.install(); err != nil {
		t.Fatal(err)
	}
	breakable(t, m)
	m.sh(t, `tar -C /tmp/app -c . | docker import -c 'ENTRYPOINT ["/app"]' -c 'EXPOSE 8080' -c 'ENV NEXT=1' - app:other`)
	return m
}

// breakable gives a machine a daemon that can be killed at any point.
func breakable(t *testing.T, m *machine) {
	t.Helper()
	daemon := filepath.Join(m.root, "opt/isel/tvs/tvsctld/bin/tvsctld")
	if output, err := exec.Command("cp", "--remove-destination", "../bin/tests/tvsctld-faults", daemon).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	m.sh(t, `systemctl stop tvsctld.service; install -d -o tvsctld /run/tvsctld-fault; mkdir -p /run/systemd/system/tvsctld.service.d
		printf '[Service]\nRestartSec=20ms\nEnvironment=TVSCTLD_FAULTS=/run/tvsctld-fault\nReadWritePaths=/run/tvsctld-fault\n' >/run/systemd/system/tvsctld.service.d/quick.conf; systemctl daemon-reload`)
}

// end prints what was walked, which is that many crashes at least.
func (w *walker) end(t *testing.T, least int) {
	t.Helper()
	t.Logf("%d labels, %d crashes: %v", len(w.labels), w.crashes, slices.Sorted(maps.Keys(w.labels)))
	if w.crashes < least {
		t.Errorf("the walk is short, it shows little: %d crashes, want %d", w.crashes, least)
	}
}

// walk goes through changes by turns; the last leads to where the first begins.
func (w *walker) walk(t *testing.T, load bool, changes ...change) {
	t.Helper()
	start, crashes := time.Now(), w.crashes
	points, most := make([][]string, len(changes)), 0
	for i, c := range changes {
		points[i] = w.trace(t, c)
		most = max(most, len(points[i]))
	}
	body := func() {
		for i := range most {
			before := changes[len(changes)-1].state
			for j, c := range changes {
				point := "" // when one has no more, it is only carried out
				if i < len(points[j]) {
					point = points[j][i]
				}
				w.crash(t, c, before, point)
				before = c.state
			}
		}
	}
	said := "no load"
	if load {
		r := w.underLoadUntil(t, body)
		if said = r.String(); r.Failed > 0 {
			t.Errorf("%d requests failed\n%s", r.Failed, w.blame(r.FailedAt))
		}
	} else {
		body()
	}
	t.Logf("%v: %d crashes in %v; requests: %s", changes[0].args, w.crashes-crashes, time.Since(start).Round(time.Second), said)
}

// blame says in which changes requests failed, and what was said around the first.
func (w *walker) blame(failed []time.Time) string {
	slices.SortFunc(failed, time.Time.Compare)
	var text strings.Builder
	for i, c := range w.done {
		var in []string
		for _, at := range failed {
			if !at.Before(c.begun) && (i+1 == len(w.done) || at.Before(w.done[i+1].begun)) {
				in = append(in, at.Format("05.000"))
			}
		}
		if len(in) > 0 {
			fmt.Fprintf(&text, "%s, begun at %s: %d failed, known at %s\n", c.what, c.begun.Format("15:04:05.000"), len(in), strings.Join(in, " "))
		}
	}
	since, until := failed[0].Add(-5*time.Second), failed[0].Add(2*time.Second)
	const format = "2006-01-02 15:04:05"
	text.WriteString(w.m.run("journalctl", "-o", "short-precise", "--no-pager", "--since", since.UTC().Format(format), "--until", until.UTC().Format(format)).out)
	text.WriteString(w.m.run("sh", "-c", "tail -n 40 /var/log/nginx/error.log").out)
	return text.String()
}

// trace carries out a change and returns its points: before and after the first and the
// last side effect of each label.
func (w *walker) trace(t *testing.T, c change) []string {
	t.Helper()
	w.m.sh(t, "install -o tvsctld /dev/null /run/tvsctld-fault/trace")
	w.tvsctl(t, c.args...)
	trace := w.m.sh(t, "cat /run/tvsctld-fault/trace; rm /run/tvsctld-fault/trace")
	count := map[string]int{}
	for line := range strings.Lines(trace) {
		count[strings.TrimSpace(line)]++
	}
	var points []string
	for _, point := range slices.Sorted(maps.Keys(count)) {
		_, label, _ := strings.Cut(point, " ")
		w.labels[label] = true
		if points = append(points, point+" 1"); count[point] > 1 {
			points = append(points, fmt.Sprintf("%s %d", point, count[point]))
		}
	}
	if state, _ := w.look(t, w.stack); state != c.state {
		t.Fatalf("%v leads to %s, want %s", c.args, state, c.state)
	}
	return points
}

// crash carries out a change, in which the daemon is killed at the point.
func (w *walker) crash(t *testing.T, c change, before, point string) {
	t.Helper()
	w.done = append(w.done, doneChange{fmt.Sprintf("%v, killed %s", c.args, cmp.Or(point, "nowhere")), time.Now()})
	if point == "" {
		w.tvsctl(t, c.args...)
		return
	}
	known := len(w.operations(t))
	const armed = "/run/tvsctld-fault/next"
	if err := os.WriteFile(filepath.Join(w.m.root, "root/point"), []byte("crash "+point), 0o644); err != nil {
		t.Fatal(err)
	}
	first := w.m.run(append([]string{"bash", "-c", `mv /root/point ` + armed + `; tvsctl "$@"`, "tvsctl", "-p", w.name}, c.args...)...)
	if w.m.run("rm", armed).code != 0 {
		w.crashes++ // else the change had fewer of its label than the traced one
	}
	var list []ipc.Operation
	w.m.eventually(t, time.Minute, fmt.Sprintf("%v, killed %s, has an outcome", c.args, point), func() bool {
		list = w.operations(t)
		return !slices.ContainsFunc(list, func(o ipc.Operation) bool { return !o.State.Finished() })
	})
	want := before
	if len(list) > known && list[0].State != ipc.OperationSucceeded {
		t.Logf("%v, killed %s: %s: %v", c.args, point, list[0].State, list[0].Error)
	}
	switch {
	case len(list) > known+1:
		t.Errorf("%v, killed %s: %d outcomes on record", c.args, point, len(list)-known)
	case len(list) == known+1 && list[0].State == ipc.OperationSucceeded:
		want = c.state
	case len(list) == known && !strings.Contains(first.err, "cannot talk to tvsctld"):
		// Who was told of an operation finds it. What the guard writes may have killed the daemon before.
		t.Errorf("%v, killed %s: nothing on record\n%s", c.args, point, first)
	}
	if state, right := w.look(t, w.stack); state != want || !right {
		t.Errorf("%v, killed %s: the stack has %s, want %s\n%s%s", c.args, point, state, want, first, w.m.journal())
	}
	if want != c.state {
		w.tvsctl(t, c.args...)
	}
}

func (w *walker) operations(t *testing.T) []ipc.Operation {
	t.Helper()
	var list []ipc.Operation
	w.m.ask(t, &list, "ops")
	return list
}
