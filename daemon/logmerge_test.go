package daemon

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tvsctl/ipc"
)

// said is a line that a log says after a while, with the time that it has.
type said struct {
	after time.Duration
	stamp int // seconds
	text  string
}

func say(clock time.Time, lines ...said) func(f *feed) {
	return func(f *feed) {
		for _, l := range lines {
			time.Sleep(l.after)
			if l.text == "" {
				f.caughtUp()
				continue
			}
			f.put(ipc.LogLine{Time: clock.Add(time.Duration(l.stamp) * time.Second), Line: l.text})
		}
	}
}

// mergeAll merges logs until ctx ends, or all have, and returns the lines.
func mergeAll(ctx context.Context, follow bool, reads ...func(f *feed)) string {
	m := newMerge(follow)
	for _, read := range reads {
		m.add(ctx, true, read, nil)
	}
	var lines []string
	tell := func(line ipc.LogLine) error {
		lines = append(lines, line.Line)
		return nil
	}
	_ = m.run(ctx, tell, func() error { return nil }, nil, nil)
	return strings.Join(lines, " ")
}

func TestMergeOfThePast(t *testing.T) {
	clock := time.Now()
	for _, c := range []struct {
		name string
		logs [][]said
		want string
	}{
		{"none", nil, ""},
		{"one", [][]said{{{0, 1, "a"}, {0, 2, "b"}}}, "a b"},
		{"two, one of them slow", [][]said{{{0, 1, "a"}, {0, 4, "d"}}, {{time.Minute, 2, "b"}, {time.Minute, 3, "c"}}}, "a b c d"},
		{"the same time", [][]said{{{time.Second, 1, "a"}}, {{0, 1, "b"}}}, "a b"},
		{"one is empty", [][]said{{{0, 1, "a"}}, {}}, "a"},
		{"a line that is older than the one before it", [][]said{{{0, 2, "a"}, {0, 1, "b"}}, {{0, 3, "c"}}}, "a b c"},
	} {
		synctest.Test(t, func(t *testing.T) {
			var reads []func(f *feed)
			for _, lines := range c.logs {
				reads = append(reads, say(clock, lines...))
			}
			if got := mergeAll(t.Context(), false, reads...); got != c.want {
				t.Errorf("%s: %q, not %q", c.name, got, c.want)
			}
		})
	}
}

func TestMergeWhileFollowing(t *testing.T) {
	const late, slow = reorderTime / 2, 200 * time.Millisecond
	clock := time.Now()
	for _, c := range []struct {
		name string
		logs [][]said
		want string
	}{
		{"the past comes first, however slow one log is in telling it", [][]said{{{0, 1, "a"}, {0, 5, "e"}, {0, 0, ""}}, {{slow, 2, "b"}, {slow, 3, "c"}}}, "a b c e"},
		{"one that says nothing is not waited for", [][]said{{{0, 1, "a"}, {time.Second, 3, "c"}}, {{time.Minute, 2, "b"}}}, "a c b"},
		{"a new line waits for an older one", [][]said{{{0, 0, ""}, {time.Second, 2, "b"}, {time.Second, 9, "i"}}, {{0, 0, ""}, {time.Second + late, 1, "a"}}}, "a b i"},
		{"but not for long", [][]said{{{0, 0, ""}, {time.Second, 2, "b"}, {time.Second, 9, "i"}}, {{0, 0, ""}, {time.Second + 2*reorderTime, 1, "a"}}}, "b a i"},
	} {
		synctest.Test(t, func(t *testing.T) {
			var reads []func(f *feed)
			for _, lines := range c.logs {
				reads = append(reads, say(clock, lines...))
			}
			if got := mergeAll(t.Context(), true, reads...); got != c.want {
				t.Errorf("%s: %q, not %q", c.name, got, c.want)
			}
		})
	}
}

// One log alone has nothing to wait for.
func TestMergeOfOneTellsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		m, start := newMerge(true), time.Now()
		m.add(ctx, false, say(start, said{time.Second, 1, "a"}), nil)
		var at time.Duration
		err := m.run(ctx, func(ipc.LogLine) error {
			at = time.Since(start)
			return nil
		}, func() error { return nil }, nil, nil)
		if err != nil || at != time.Second {
			t.Errorf("after %v, %v", at, err)
		}
	})
}

// A reader that takes nothing makes those wait who write, and nothing grows.
func TestMergeOfASlowReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		m, taken := newMerge(true), [3]int{}
		for i := range taken {
			m.add(ctx, true, func(f *feed) {
				for f.put(ipc.LogLine{Time: time.Now()}) {
					taken[i]++
				}
			}, nil)
		}
		stuck := make(chan struct{})
		go func() {
			_ = m.run(ctx, func(ipc.LogLine) error {
				<-stuck
				return errors.New("gone")
			}, func() error { return nil }, nil, nil)
		}()
		synctest.Wait()
		for i, n := range taken {
			if n > feedLines {
				t.Errorf("log %d: %d lines in the daemon", i, n)
			}
		}
		cancel()
		close(stuck)
	})
}

// However many lines a log has at once, they come out in its order.
func TestMergeOfMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const logs, lines = 20, 500
		clock := time.Now()
		var reads []func(f *feed)
		for i := range logs {
			reads = append(reads, func(f *feed) {
				for n := range lines {
					f.put(ipc.LogLine{Time: clock.Add(time.Duration(n*logs+i) * time.Millisecond), Line: fmt.Sprint(n*logs + i)})
				}
			})
		}
		got := strings.Fields(mergeAll(t.Context(), false, reads...))
		if len(got) != logs*lines {
			t.Fatalf("%d lines", len(got))
		}
		for i, text := range got {
			if text != fmt.Sprint(i) {
				t.Fatalf("line %d is %s", i, text)
			}
		}
	})
}
