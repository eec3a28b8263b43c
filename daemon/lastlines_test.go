package daemon

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"tvsctl/dockerops/enginetest"
	"tvsctl/ipc"
)

func TestLastLines(t *testing.T) {
	var kept atomic.Int64
	small := lastLines{kept: &kept, most: 2}
	for _, text := range []string{"one", "two", "three"} {
		small.add(ipc.LogLine{Line: text})
	}
	if len(small.lines) != 2 || small.lines[0].Line != "two" || small.seen != 3 || small.over || kept.Load() != 2*lineBytes+8 {
		t.Errorf("%+v, %d bytes", small, kept.Load())
	}
	// However long they are and however many logs are read, there is room for so much.
	var logs []*lastLines
	for range 100 {
		l := &lastLines{kept: &kept, most: ipc.MaxTail}
		logs = append(logs, l)
		for range 1000 {
			l.add(ipc.LogLine{Line: strings.Repeat("x", 500)})
			if n := kept.Load(); n > keptInAll+keptBytes {
				t.Fatalf("%d bytes are kept", n)
			}
		}
	}
	long := &lastLines{kept: &kept, most: ipc.MaxTail}
	for range keptBytes {
		long.add(ipc.LogLine{})
	}
	fit := slices.IndexFunc(logs, func(l *lastLines) bool { return l.over })
	if fit < 10 || !long.over || long.lines != nil || long.seen != keptBytes {
		t.Errorf("%d logs of 700 kB fit; %d empty lines are kept", fit, len(long.lines))
	}
	for _, l := range append(logs, long, &small) {
		l.drop()
	}
	if n := kept.Load(); n != 0 {
		t.Errorf("%d bytes are kept of nothing", n)
	}
}

// fill writes lines 1 to n, of about 1 kB.
func fill(s *stack, name string, n int) {
	for i := range n {
		s.Write(name, 1, second(i), fmt.Sprintf("%d %s\n", i+1, strings.Repeat("x", 800)))
	}
}

// Readers who ask for much and do not read it make the daemon keep no more than it has room
// for; and all of them get all that they asked for.
func TestManySlowReadersOfLastLines(t *testing.T) {
	s := newStack(t)
	s.Add("webapp", 2, func(c *enginetest.Container) { c.State = "exited" })
	const readers, lines = 12, 2000 // of webapp-1: too much to keep even for one
	fill(s, "tvs-webapp-1", lines+10)
	fill(s, "tvs-webapp-2", 900) // fits, but not for all readers
	stuck, on := make(chan struct{}), make(chan struct{})
	told := make(chan error, readers)
	for range readers {
		go func() {
			next := map[string]int{"tvs-webapp-1": 11, "tvs-webapp-2": 1}
			first := true
			request := ipc.LogRequest{Project: "tvs", Services: []string{"webapp"}, Tail: lines, Until: time.Now().Add(time.Hour)}
			err := s.d.tellLogs(asking(t, 0).Context(), request, func(line ipc.LogLine) error {
				if first {
					first = false
					stuck <- struct{}{}
					<-on
				}
				number, _, _ := strings.Cut(line.Line, " ")
				if number != strconv.Itoa(next[line.Name]) {
					return fmt.Errorf("%s: line %q comes instead of %d", line.Name, number, next[line.Name])
				}
				next[line.Name]++
				return nil
			}, func() error { return nil })
			if err == nil && (next["tvs-webapp-1"] != lines+11 || next["tvs-webapp-2"] != 901) {
				err = fmt.Errorf("it ends before %v", next)
			}
			told <- err
		}()
	}
	for range readers {
		<-stuck
	}
	if n := s.d.keptLines.Load(); n > keptInAll || n == 0 {
		t.Errorf("%d bytes are kept", n)
	}
	close(on)
	for range readers {
		if err := <-told; err != nil {
			t.Error(err)
		}
	}
	if n := s.d.keptLines.Load(); n != 0 {
		t.Errorf("%d bytes are kept after the end", n)
	}
}

// The last entries of a unit that do not fit are read again, in their order and to the
// newest of the first time.
func TestLastLinesOfAUnitAreReadAgain(t *testing.T) {
	const entries = 3000
	arguments := fakeJournal(t, `entry() { printf '{"__CURSOR":"c%d","__REALTIME_TIMESTAMP":"%d000000","MESSAGE":"%d `+strings.Repeat("x", 400)+`"}\n' $1 $1 $1; }
case "$*" in
*--reverse*) i=`+strconv.Itoa(entries)+`; while [ $i -ge 1 ]; do entry $i; i=$((i-1)); done ;;
*) i=1; while [ $i -le `+strconv.Itoa(entries+100)+` ]; do entry $i; i=$((i+1)); done ;;
esac
`)
	d, _ := ruled(t, "")
	next := 1
	ctx, cancel := context.WithCancel(asking(t, 0).Context())
	defer cancel()
	request := ipc.LogRequest{Units: []string{"x.service"}, Tail: entries, Since: second(0)}
	err := d.tellLogs(ctx, request, func(line ipc.LogLine) error {
		if !strings.HasPrefix(line.Line, strconv.Itoa(next)+" ") {
			return fmt.Errorf("%.20q comes instead of %d", line.Line, next)
		}
		next++
		return nil
	}, func() error { return nil })
	if err != nil || next != entries+1 || d.keptLines.Load() != 0 {
		t.Errorf("it ends before %d, %v, %d bytes are kept", next, err, d.keptLines.Load())
	}
	calls := strings.Split(readFile(t, arguments), "\n.\n")
	if !strings.Contains(calls[1], "\n--cursor=c1\n") || strings.Contains(calls[1], "--lines") || strings.Contains(calls[1], "--since") {
		t.Errorf("it is read again with %q", calls[1])
	}
}
