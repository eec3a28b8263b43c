//go:build e2e

package tests

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"tvsctl/ipc"
)

// TestExec: exit status, streams, terminal, and what becomes of a command whose client goes.
func TestExec(t *testing.T) {
	s := &stack{m: shared, name: "execs", port: 4105}
	s.box(t, "sleep 1000000", "")
	s.up(t)
	exec := func(args ...string) result {
		return s.m.tvsctl(append([]string{"-p", s.name, "exec"}, args...)...)
	}
	for _, c := range []struct {
		args           []string
		code           int
		out, err, says string
	}{
		{[]string{"box", "--", "sh", "-c", "echo out; echo err >&2; exit 3"}, 3, "out\n", "err\n", ""},
		{[]string{"box.1", "sh", "-c", "exit 0"}, 0, "", "", ""},
		{[]string{"box", "sh", "-c", "kill -9 $$"}, 137, "", "", ""},
		{[]string{"box", "--", "/proc"}, 126, "", "", "permission denied"},
		{[]string{"-t", "box", "sh", "-c", "echo err >&2"}, 0, "err\r\n", "", ""},
		{[]string{"-it", "box", "sh"}, ipc.ExitUsage, "", "", "standard input is none"},
		{[]string{"box"}, ipc.ExitUsage, "", "", "no command given"},
		{[]string{"box.2", "sh"}, ipc.ExitUnknown, "", "", "no replica of that number"},
		{[]string{"nothing", "sh"}, ipc.ExitUnknown, "", "", "no such service"},
	} {
		r := exec(c.args...)
		if r.code != c.code || c.says == "" && (r.out != c.out || r.err != c.err) || !strings.Contains(r.out+r.err, c.says) {
			t.Error(r)
		}
	}
	docker := s.m.run("docker", "exec", "execs-box-1", "nothing-of-that-name")
	if r := exec("box", "nothing-of-that-name"); r.code != docker.code || !strings.Contains(r.out, "not found") {
		t.Errorf("%s\nand %s", r, docker)
	}

	// Standard input, to its end, and back, whatever is in it.
	input := make([]byte, 3<<20)
	source := rand.NewChaCha8([32]byte{})
	_, _ = source.Read(input)
	if r := s.m.runWith(bytes.NewReader(input), "tvsctl", "-p", s.name, "exec", "-i", "box", "cat"); r.code != 0 || r.out != string(input) {
		t.Errorf("%d bytes came back of %d, exit status %d: %s", len(r.out), len(input), r.code, r.err)
	}

	// The terminal's size, at first and when it changes.
	const inside = `stty size; i=0; until [ "$(stty size)" = "44 99" ] || [ $i = 200 ]; do sleep 0.05; i=$((i+1)); done; stty size; echo resized`
	r := s.m.run("script", "-qec", `stty rows 33 cols 77; mkfifo /tmp/go; (exec 3</tmp/go; read -r _ <&3; stty rows 44 cols 99 </dev/tty; cat <&3 >/dev/null) & `+
		`tvsctl -p execs exec -it box -- sh -c '`+inside+`' | tee /tmp/go`, "/dev/null")
	s.m.run("rm", "/tmp/go")
	if r.code != 0 || !strings.Contains(r.out, "44 99\r\nresized") {
		t.Error(r)
	}

	journal := s.m.journalctl(t, "-u", "tvsctld", "-o", "json", "TVS_PROJECT=execs", "TVS_EXIT_STATUS=3")
	var entry map[string]string
	if err := json.Unmarshal([]byte(journal), &entry); err != nil || entry["TVS_UID"] != "0" || entry["TVS_REPLICA"] != "execs-box-1" ||
		entry["TVS_COMMAND"] != `"sh" "-c" "echo out; echo err >&2; exit 3"` || entry["TVS_DURATION_MS"] == "" {
		t.Errorf("%v: %s", err, journal)
	}
}

// TestExecLosesItsClient: a command whose client was killed is hung up; so is one whose
// daemon ends, which waits for no session.
func TestExecLosesItsClient(t *testing.T) {
	s := &stack{m: shared, name: "leaves", port: 4106}
	s.box(t, "sleep 1000000", "")
	s.up(t)
	runs := func(mark string) bool { return s.m.run("pgrep", "-fx", "sleep "+mark).code == 0 }
	begin := func(mark string, input io.Reader) (client func() error, kill func()) {
		ctx, cancel := context.WithCancel(t.Context())
		command := s.m.command(ctx, "tvsctl", "-p", s.name, "exec", "-i", "box", "--", "sleep", mark)
		command.Stdin = input
		if err := command.Start(); err != nil {
			t.Fatal(err)
		}
		s.m.eventually(t, 10*time.Second, "the command runs", func() bool { return runs(mark) })
		return command.Wait, cancel
	}
	wait, kill := begin("10101", nil)
	kill()
	_ = wait()
	s.m.eventually(t, 10*time.Second, "the command of a client that was killed ends", func() bool { return !runs("10101") })

	// One that has sent more than the command reads.
	full, _ := os.Open("/dev/zero")
	defer full.Close()
	wait, kill = begin("30303", full)
	kill()
	_ = wait()
	s.m.eventually(t, 10*time.Second, "the command of a client that was killed in the middle of its input ends", func() bool { return !runs("30303") })

	wait, _ = begin("20202", nil)
	if r := s.m.run("systemctl", "restart", "tvsctld"); r.code != 0 || r.took > 8*time.Second {
		t.Error(r)
	}
	if err := wait(); err == nil || !strings.Contains(err.Error(), "exit status 69") {
		t.Errorf("the client whose daemon ended: %v", err)
	}
	if runs("20202") {
		t.Error("the command of a daemon that ended goes on")
	}
	if log := s.m.journalctl(t, "-u", "tvsctld", "TVS_PROJECT=leaves", "TVS_ERROR=canceled"); strings.Count(log, "was hung up") != 3 {
		t.Errorf("the journal says %s", log)
	}
}
