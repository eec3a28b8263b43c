package daemon

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"tvsctl/ipc"
	"tvsctl/policy"
)

func newReserving() *Daemon {
	d := &Daemon{running: map[string]*operation{}, reserved: map[string]place{}}
	d.settings.Store(&settings{MaxOperations: 256, MaxOperationsPerUser: 64})
	return d
}

// launched reserves places for operations of a user in a project, until one is refused, and
// says how many there were.
func launched(t *testing.T, d *Daemon, uid uint32, project string, most int) (n int, refusal string) {
	t.Helper()
	for n < most {
		o := newOperation(nil, ipc.Operation{ID: newID(), UID: uid, Project: project, Summary: "scale webapp"}, job{})
		release, err := d.reserve(o, peer{UID: uid})
		if err != nil {
			return n, err.Error()
		}
		// It runs, and is what it was reserved for: counted once.
		d.running[o.record.ID] = o
		if n++; n%2 == 0 {
			release()
		}
	}
	return n, ""
}

// One user has half of a project's places, all have the whole, and root is let in all the
// same; other projects and units know nothing of it.
func TestReserveInAProject(t *testing.T) {
	d := newReserving()
	for _, c := range []struct {
		uid     uint32
		project string
		most    int
		want    int
		refusal string
	}{
		{1000, "tvs", 99, 16, "16 operations of 1000 in project tvs wait already"},
		{1001, "tvs", 15, 15, ""},
		{0, "tvs", 3, 3, ""},
		{1001, "tvs", 1, 0, "34 operations of project tvs wait already"},
		{1002, "tvs", 1, 0, "34 operations of project tvs wait already"},
		{1000, "shop", 2, 2, ""},
		{1000, "", 99, 46, "64 operations of 1000 run or wait already"},
		{0, "tvs", 99, 29, "63 operations of project tvs wait already"},
		// 240 of 256 are for others.
		{1003, "", 99, 64, "64 operations of 1003 run or wait already"},
		{1004, "", 60, 60, ""},
		{1005, "", 99, 240 - 16 - 15 - 32 - 2 - 46 - 64 - 60, "240 operations run or wait already"},
		{0, "shop", 9, 9, ""},
		{0, "", 99, 7, "256 operations run or wait already"},
	} {
		n, refusal := launched(t, d, c.uid, c.project, c.most)
		refusal = strings.Replace(refusal, peer{UID: c.uid}.name(), fmt.Sprint(c.uid), 1)
		if n != c.want || strings.TrimPrefix(refusal, "cannot scale webapp: ") != c.refusal {
			t.Errorf("%d in %q: %d, %q", c.uid, c.project, n, refusal)
		}
	}
}

// Requests that come at the same moment do not get past the bound together.
func TestReserveAtOnce(t *testing.T) {
	d := newReserving()
	var all sync.WaitGroup
	var let atomic.Int32
	for i := range 200 {
		all.Go(func() {
			uid := uint32(1000 + i%5)
			o := newOperation(nil, ipc.Operation{ID: newID(), UID: uid, Project: "tvs"}, job{})
			if _, err := d.reserve(o, peer{UID: uid}); err == nil {
				let.Add(1)
			}
		})
	}
	all.Wait()
	if let.Load() != maxQueued || len(d.reserved) != maxQueued {
		t.Errorf("%d were let in", let.Load())
	}
}

// Who has filled their places of a project is refused before anything is kept of it, and
// root is not.
func TestLaunchIntoAFullProject(t *testing.T) {
	s := newStack(t)
	s.d.mu.Lock()
	for range maxQueuedByUser {
		s.d.reserved[newID()] = place{stranger, "tvs"}
		s.d.reserved[newID()] = place{stranger + 1, "tvs"}
	}
	s.d.mu.Unlock()
	for _, uid := range []uint32{stranger, stranger + 2, 0} {
		ctx := asking(t, uid).Context()
		s.d.grant(ctx, peer{UID: uid}, []policy.Request{{Verb: policy.Scale}}, make([]policy.Decision, 1))
		_, err := s.d.launch(ctx, s.d.site("tvs"), "reload", "reload nginx of tvs", job{Kind: "reload"})
		if root := uid == 0; root != (err == nil) || !root && describeError(err).Code != ipc.CodeBusy || !root && len(s.d.state.history()) != 0 {
			t.Errorf("%d: %v", uid, err)
		}
	}
	until(t, "root's is done", func() bool { return !s.d.operating() })
}
