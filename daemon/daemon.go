// Package daemon is tvsctld: it serves the API of package ipc on a Unix socket,
// runs operations one at a time for each project, and keeps nginx right while a
// managed project runs.
//
// routes.go is the whole API in one table. A change is decided, planned and applied
// in changes.go; a site (site.go) is what is known of one project, and guard.go
// follows Docker's events for it. The workers (dockerops, nginx, systemd) know
// nothing of each other or of ipc: errors.go gives their errors the codes.
package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"tvsctl/dockerops"
	"tvsctl/ipc"
	"tvsctl/systemd"
)

// Config is what the command line and the environment decide.
type Config struct {
	Version    string
	StateDir   string
	ProjectDir string        // of NAME.toml files
	Idle       time.Duration // without anything to do until Run returns; 0: never
	Log        io.Writer     // where the journal cannot be had
}

const (
	headerTimeout = 10 * time.Second
	readTimeout   = 30 * time.Second
	writeTimeout  = 30 * time.Second
	// stopPatience is how long a stop waits for running operations; the unit's
	// TimeoutStopSec is longer.
	stopPatience = 80 * time.Second
)

// Daemon is the running program.
type Daemon struct {
	config   Config
	engine   *dockerops.Engine
	units    systemd.Units
	state    *store
	log      *logbook
	activity *activity
	life     context.Context // ends when the daemon stops

	guarding chan struct{} // closed when the guard has looked for the first time
	once     sync.Once

	mu      sync.Mutex
	sites   map[string]*site
	again   map[string]chan struct{}
	running map[string]*operation
	recent  []*operation
	docker  error // why the engine cannot be used, as the guard last saw it
}

// New opens what the daemon works with. State that cannot be used is no error
// here: it is said to every client that wants a change.
func New(config Config) (*Daemon, error) {
	engine, err := dockerops.Open()
	if err != nil {
		return nil, err
	}
	d := &Daemon{config: config, engine: engine, state: openStore(config.StateDir), log: newLogbook(config.Log),
		guarding: make(chan struct{}), sites: map[string]*site{}, again: map[string]chan struct{}{}, running: map[string]*operation{}}
	if d.state.broken != nil {
		d.log.error(eventState, "Changes are refused: "+d.state.broken.Error(), nil)
	}
	d.closeInterrupted()
	return d, nil
}

// closeInterrupted gives the operations that an earlier life of the daemon did not
// end their outcome.
func (d *Daemon) closeInterrupted() {
	for _, record := range d.state.history() {
		if record.State.Finished() {
			continue
		}
		record.State, record.Ended = ipc.OperationFailed, time.Now()
		record.Error = &ipc.Error{Code: ipc.CodeInternal, Message: "tvsctld ended in the middle of it", Hint: "see tvsctl status, and repeat the command"}
		if err := d.state.record(record); err != nil {
			d.log.error(eventState, "Cannot keep the outcome of an operation: "+err.Error(), fields{"TVS_OPERATION": record.ID})
		}
	}
}

// Run serves the listener until ctx ends, or until nothing has happened for the
// idle time. It never loses a connection to its own end: what it has not accepted
// stays in the listener's backlog, for the next process to which systemd hands the
// socket.
func (d *Daemon) Run(ctx context.Context, listener *net.UnixListener) error {
	life, end := context.WithCancel(context.Background())
	defer end()
	d.life = life
	d.activity = newActivity(d.config.Idle)
	socket, err := listener.File()
	if err != nil {
		return fmt.Errorf("cannot use the socket: %v", err)
	}
	defer socket.Close()
	d.log.info(eventStarted, fmt.Sprintf("tvsctld %s serves %s.", d.config.Version, listener.Addr()), nil)
	d.activity.begin() // until the guard knows whether there is anything to guard
	go d.guard(life)
	go func() {
		defer d.activity.end()
		<-d.guarding
	}()
	systemd.Ready()
	d.showStatus()
	for {
		server := &http.Server{Handler: d.handler(), ReadHeaderTimeout: headerTimeout, ReadTimeout: readTimeout,
			WriteTimeout: writeTimeout, MaxHeaderBytes: 64 << 10, ErrorLog: nil,
			ConnContext: func(ctx context.Context, c net.Conn) context.Context {
				if c, ok := c.(*conn); ok {
					return withPeer(ctx, c.peer)
				}
				return ctx
			}}
		// One request a connection: a kept one would hold up the end.
		server.SetKeepAlivesEnabled(false)
		gate := newGate(listener, d.activity, d.log)
		served := make(chan error, 1)
		go func() { served <- server.Serve(gate) }()
		idle, err := d.wait(ctx, served)
		if err != nil {
			return err
		}
		listener.Close()
		<-served
		gate.drained()
		if !idle {
			break
		}
		if d.activity.quiet() {
			d.log.info(eventStopped, fmt.Sprintf("tvsctld ends: there was nothing to do for %v. The next command starts it again.", d.config.Idle), nil)
			systemd.Stopping()
			return d.state.close()
		}
		// A last connection began something: go on.
		if listener, err = reopen(socket); err != nil {
			return err
		}
	}
	systemd.Stopping()
	d.finish()
	d.log.info(eventStopped, "tvsctld ends: it was told to.", nil)
	return d.state.close()
}

// wait returns when it is time to stop serving: idle, or told to.
func (d *Daemon) wait(ctx context.Context, served <-chan error) (idle bool, err error) {
	var ping <-chan time.Time
	if interval := systemd.Watchdog(); interval > 0 {
		ticker := time.NewTicker(interval)
		defer ticker.Stop()
		ping = ticker.C
	}
	for {
		select {
		case <-ctx.Done():
			return false, nil
		case err := <-served:
			return false, fmt.Errorf("cannot serve the socket: %v", err)
		case <-ping:
			systemd.Alive()
		case <-d.activity.expired:
			if d.activity.quiet() {
				return true, nil
			}
		}
	}
}

func reopen(socket *os.File) (*net.UnixListener, error) {
	listener, err := net.FileListener(socket)
	if err != nil {
		return nil, fmt.Errorf("cannot go on serving the socket: %v", err)
	}
	unix, ok := listener.(*net.UnixListener)
	if !ok {
		return nil, errors.New("cannot go on serving the socket: it is no Unix socket")
	}
	unix.SetUnlinkOnClose(false)
	return unix, nil
}

// finish lets running operations come to their end, within stopPatience.
func (d *Daemon) finish() {
	deadline := time.NewTimer(stopPatience)
	defer deadline.Stop()
	for {
		d.mu.Lock()
		var next *operation
		for _, o := range d.running {
			next = o
		}
		d.mu.Unlock()
		if next == nil {
			return
		}
		for n := 0; !next.snapshot().State.Finished(); {
			events, more := next.eventsFrom(n)
			if n += len(events); len(events) > 0 {
				continue
			}
			select {
			case <-more:
			case <-deadline.C:
				return
			}
		}
	}
}

// showStatus tells systemctl status what runs.
func (d *Daemon) showStatus() {
	d.mu.Lock()
	defer d.mu.Unlock()
	text := "Nothing runs"
	for _, o := range d.running {
		if record := o.snapshot(); record.State == ipc.OperationRunning {
			text = fmt.Sprintf("Running: %s in project %s, for %s", record.Summary, record.Project, record.User)
		}
	}
	systemd.Status(text)
}

// guardReady marks that the guard has looked for the first time.
func (d *Daemon) guardReady() { d.once.Do(func() { close(d.guarding) }) }

// setDocker notes whether the engine can be used, and says so when that changes.
func (d *Daemon) setDocker(err error) {
	d.mu.Lock()
	before := d.docker
	d.docker = err
	d.mu.Unlock()
	switch {
	case err != nil && before == nil:
		d.log.warning(eventDocker, "The Docker Engine cannot be used: "+err.Error(), nil)
	case err == nil && before != nil:
		d.log.notice(eventDocker, "The Docker Engine is back.", nil)
	}
}

// problems are those of the daemon as a whole.
func (d *Daemon) problems() []string {
	var list []string
	if d.state.broken != nil {
		list = append(list, d.state.broken.Error()+"; changes are refused")
	}
	return list
}

// againChannel returns the channel on which a project's guard is told to look.
func (d *Daemon) againChannel(name string) chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.again[name] == nil {
		d.again[name] = make(chan struct{}, 1)
	}
	return d.again[name]
}

func (d *Daemon) lookAgain(name string) {
	select {
	case d.againChannel(name) <- struct{}{}:
	default: // it has not yet looked since the last time
	}
}
