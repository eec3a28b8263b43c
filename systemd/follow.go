package systemd

import (
	"context"
	"encoding/hex"
	"fmt"
	"path"
	"strings"

	"github.com/godbus/dbus/v5"
)

const unitNamespace = managerPath + "/unit"

// follower is told of the changes of all units.
type follower struct {
	tell func(unit, state string)
}

// Follow tells of every change of any unit's state, with the ActiveState that it has then,
// until ctx ends or the bus cannot be reached. It begins with an empty name, and has one
// again whenever the bus or the manager was away: nobody knows what was missed. What tell
// does must not take time.
func (u *Units) Follow(ctx context.Context, tell func(unit, state string)) error {
	return u.persist(ctx, func(b *bus) error {
		if err := b.follow(ctx); err != nil {
			return err
		}
		f := &follower{tell}
		b.mu.Lock()
		b.followers[f] = true
		b.mu.Unlock()
		defer func() {
			b.mu.Lock()
			defer b.mu.Unlock()
			delete(b.followers, f)
		}()
		tell("", "")
		select {
		case <-b.conn.Context().Done():
			return fmt.Errorf("cannot follow the units: %w", errLost)
		case <-ctx.Done():
			return ctx.Err()
		}
	})
}

// tellFollowers passes a change on to those who follow all units. mu is held.
func (b *bus) tellFollowers(at dbus.ObjectPath, values map[string]dbus.Variant) {
	if state, told := values["ActiveState"].Value().(string); told && len(b.followers) > 0 {
		name := unitNameOf(at)
		for f := range b.followers {
			f.tell(name, state)
		}
	}
}

// unitNameOf is the inverse of unitPath: the last part of the path has _XX for what a path
// cannot have.
func unitNameOf(at dbus.ObjectPath) string {
	escaped := path.Base(string(at))
	var name strings.Builder
	for i := 0; i < len(escaped); i++ {
		if escaped[i] == '_' && i+2 < len(escaped) {
			if c, err := hex.DecodeString(escaped[i+1 : i+3]); err == nil {
				name.Write(c)
				i += 2
				continue
			}
		}
		name.WriteByte(escaped[i])
	}
	return name.String()
}
