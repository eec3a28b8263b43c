package daemon

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"tvsctl/ipc"
)

const refusalTimeout = time.Second

// gate accepts connections: it reads the peer's credentials, applies the caps, and
// counts what is open, where it is accepted rather than where it is handled, so
// that none is overlooked between the two.
type gate struct {
	net.Listener
	activity *activity
	log      *logbook
	refusals *refusals
	lent     *lent
	health   *health
	settings func() *settings // those in force now
	handed   func()           // called when what was accepted has been handed on

	// earlier is the one before, of which connections may be open still.
	earlier *gate

	open   sync.WaitGroup
	mu     sync.Mutex
	total  int
	byUser map[uint32]int
}

func newGate(listener net.Listener, d *Daemon) *gate {
	return &gate{Listener: listener, activity: d.activity, log: d.log, refusals: &d.refusals, lent: &d.lent, health: d.health, settings: d.settings.Load,
		handed: func() {}, byUser: map[uint32]int{}}
}

// conn is an accepted connection with its peer.
type conn struct {
	*net.UnixConn
	peer  peer
	close func()
}

func (c *conn) Close() error {
	err := c.UnixConn.Close()
	c.close()
	return err
}

// Accept returns the next connection whose peer may speak.
func (g *gate) Accept() (net.Conn, error) {
	for {
		g.handed()
		g.handed = func() {}
		accepted, err := g.Listener.Accept()
		if err != nil {
			return nil, err
		}
		g.handed = g.health.begin("accepting connections", acceptLimit)
		g.activity.begin()
		g.open.Add(1)
		unix := accepted.(*net.UnixConn)
		p, err := readPeer(unix)
		if err == nil {
			err = g.lent.check(p.UID)
		}
		if err != nil {
			g.refusals.note(g.log, eventRefused, peer{UID: overflowID}, "connect", "Refused a connection: "+err.Error(), nil)
			g.refuse(unix, &ipc.Error{Code: ipc.CodeForbidden, Message: "cannot serve you: " + err.Error()})
			continue
		}
		if refusal := g.enter(p); refusal != nil {
			g.refuse(unix, refusal)
			continue
		}
		return &conn{UnixConn: unix, peer: p, close: sync.OnceFunc(func() {
			g.leave(p)
			g.activity.end()
			g.open.Done()
		})}, nil
	}
}

// drained returns when no accepted connection is open any more, nor any of the gate
// before. The listener is closed.
func (g *gate) drained() {
	g.open.Wait()
	if g.earlier != nil {
		g.earlier.drained()
	}
}

func (g *gate) enter(p peer) *ipc.Error {
	most := g.settings()
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.total >= butRoots(most.MaxConnections, p.UID):
		return &ipc.Error{Code: ipc.CodeBusy, Message: fmt.Sprintf("cannot serve you: %d connections are open", g.total), Hint: "try again"}
	case g.byUser[p.UID] >= int(most.MaxConnectionsPerUser):
		return &ipc.Error{Code: ipc.CodeBusy, Message: fmt.Sprintf("cannot serve you: %d connections of yours are open", g.byUser[p.UID]), Hint: "end some and try again"}
	}
	g.total++
	g.byUser[p.UID]++
	return nil
}

func (g *gate) leave(p peer) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.total--
	if g.byUser[p.UID]--; g.byUser[p.UID] == 0 {
		delete(g.byUser, p.UID)
	}
}

// refuse answers in the background: the peer may be slow.
func (g *gate) refuse(c *net.UnixConn, refusal *ipc.Error) {
	go func() {
		defer g.open.Done()
		defer g.activity.end()
		defer c.Close()
		body, _ := json.Marshal(ipc.ErrorReply{Error: refusal})
		_ = c.SetDeadline(time.Now().Add(refusalTimeout))
		// A client takes an answer that comes before its request for a stray one.
		_, _ = c.Read(make([]byte, 4096))
		status := refusal.Code.HTTPStatus()
		// A client that has gone needs no answer.
		_, _ = fmt.Fprintf(c, "HTTP/1.1 %d refused\r\nContent-Type: application/json\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", status, len(body), body)
		_ = c.CloseWrite()
		// Closing with unread input would reset the connection and lose the answer.
		_, _ = io.Copy(io.Discard, c)
	}()
}
