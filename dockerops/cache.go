package dockerops

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/docker/docker/api/types/container"
)

// known is what an inspection said, and the listing that it belongs to. It holds
// while the container is listed the same and no event has come for it; a project of
// many replicas is then observed with one call instead of one for each.
type known struct {
	listing string
	detail  *container.InspectResponse
}

// listing is what of a container's row changes when the container does. Of the
// status only the health: the rest is the time that passes.
func listing(c container.Summary) string {
	health := ""
	if i := strings.IndexByte(c.Status, '('); i >= 0 && c.State == "running" {
		health = c.Status[i:]
	}
	parts := []string{string(c.State), health, strings.Join(c.Names, ",")}
	if c.NetworkSettings != nil {
		for _, name := range slices.Sorted(maps.Keys(c.NetworkSettings.Networks)) {
			if n := c.NetworkSettings.Networks[name]; n != nil {
				parts = append(parts, name, n.IPAddress)
			}
		}
	}
	return strings.Join(parts, " ")
}

// seen returns the inspection of a listed container if it still holds.
func (w *watches) seen(c container.Summary) *container.InspectResponse {
	w.mu.Lock()
	defer w.mu.Unlock()
	if k, ok := w.details[c.ID]; ok && w.connected && k.listing == listing(c) {
		return k.detail
	}
	return nil
}

// inspect inspects a listed container, and keeps the answer unless something
// happened meanwhile.
func (e *Engine) inspect(ctx context.Context, c container.Summary) (*container.InspectResponse, error) {
	w := &e.watches
	w.mu.Lock()
	before := w.events
	w.mu.Unlock()
	detail, err := e.api.ContainerInspect(ctx, c.ID)
	if err != nil {
		return nil, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.connected && w.events == before {
		if w.details == nil {
			w.details = map[string]known{}
		}
		w.details[c.ID] = known{listing(c), &detail}
	}
	return &detail, nil
}
