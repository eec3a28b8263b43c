package dockerops

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"tvsctl/dockerops/enginetest"
)

// nginxStub is the nginx side: it notes what it is told, by replica name.
type nginxStub struct {
	engine     *enginetest.Engine
	publishErr error
	drain      func(ctx context.Context) error
	onPublish  func()

	mu       sync.Mutex
	held     map[string]bool
	calls    []string
	prepared int
}

func (n *nginxStub) Prepare(context.Context) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.prepared++
}

func (n *nginxStub) Hold(ids ...string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.held == nil {
		n.held = map[string]bool{}
	}
	for _, id := range ids {
		n.held[n.engine.Container(id).Name] = true
	}
}

func (n *nginxStub) HoldNew(service string, above int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.calls = append(n.calls, fmt.Sprintf("hold new %s above %d", service, above))
}

func (n *nginxStub) Publish(_ context.Context, join, retire []string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	names := func(ids []string) string {
		var list []string
		for _, id := range ids {
			c := n.engine.Container(id)
			list = append(list, c.Name+"/"+c.State)
		}
		slices.Sort(list)
		return strings.Join(slices.Compact(list), ",")
	}
	n.calls = append(n.calls, "publish +"+names(join)+" -"+names(retire))
	if n.onPublish != nil {
		n.onPublish()
	}
	return n.publishErr
}

func (n *nginxStub) Withdraw(context.Context, ...string) error { return nil }

func (n *nginxStub) Drain(ctx context.Context) error {
	n.mu.Lock()
	n.calls = append(n.calls, "drain")
	n.mu.Unlock()
	if n.drain != nil {
		return n.drain(ctx)
	}
	return nil
}
