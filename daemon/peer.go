package daemon

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/user"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"
)

// peer is who is at the other end of a connection, as the kernel says. It is
// taken when the connection is accepted, and carried as this type only.
type peer struct {
	UID    uint32
	GID    uint32
	PID    int32 // for the log; a pid can be reused, so nothing is decided on it
	Groups []uint32
	itself bool // the daemon, acting without anybody's command
}

// privileged reports whether the peer is root, or the user that the daemon runs as.
func (p peer) privileged() bool { return p.UID == 0 || p.UID == uint32(os.Geteuid()) }

// overflowID is what the kernel shows for ids that have no meaning here.
const overflowID = 65534

// readPeer asks the kernel for the peer's credentials. One whose ids mean nothing
// in this user namespace, or that lives outside this pid namespace, is refused.
func readPeer(conn *net.UnixConn) (peer, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return peer{}, err
	}
	var p peer
	var failed error
	if err := raw.Control(func(fd uintptr) {
		var credentials *unix.Ucred
		if credentials, failed = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); failed != nil {
			return
		}
		p.UID, p.GID, p.PID = credentials.Uid, credentials.Gid, credentials.Pid
		// SO_PEERCRED holds only the primary group.
		p.Groups, failed = peerGroups(int(fd))
	}); err != nil {
		return peer{}, err
	}
	if failed != nil {
		return peer{}, failed
	}
	if p.PID == 0 {
		return peer{}, errors.New("the peer is in another pid namespace")
	}
	if p.UID == overflowID || p.GID == overflowID {
		return peer{}, fmt.Errorf("the peer has the overflow id %d", overflowID)
	}
	return p, nil
}

// name returns the user's name, or the number where it has none.
func (p peer) name() string {
	if p.itself {
		return "tvsctld"
	}
	id := strconv.FormatUint(uint64(p.UID), 10)
	if u, err := user.LookupId(id); err == nil {
		return u.Username
	}
	return id
}

// gids are all its groups, each once.
func (p peer) gids() []uint32 {
	if slices.Contains(p.Groups, p.GID) {
		return p.Groups
	}
	return append([]uint32{p.GID}, p.Groups...)
}

type peerKey struct{}

func withPeer(ctx context.Context, p peer) context.Context {
	return context.WithValue(ctx, peerKey{}, p)
}

// peerOf returns who made the request. Every connection that the daemon serves
// carries a peer.
func peerOf(ctx context.Context) (peer, bool) {
	p, ok := ctx.Value(peerKey{}).(peer)
	return p, ok
}
