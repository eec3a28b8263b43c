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
	"maps"
	"net"
	"net/http"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"tvsctl/dockerops"
	"tvsctl/policy"
	"tvsctl/systemd"
)

// Config is what the command line and the environment decide.
type Config struct {
	Version    string
	StateDir   string
	ProjectDir string        // of NAME.toml files
	PolicyFile string        // who may do what; without it and PolicyDir the shipped policy
	PolicyDir  string        // of further *.toml
	File       string        // of settings, tvsctld.toml; "": none
	Idle       time.Duration // without anything to do until Run returns, if File says nothing; 0: never
	IdleGiven  bool          // Idle was asked for, whatever File says
	Log        io.Writer     // where the journal cannot be had

	// Reload has a value when File and the projects' files are to be read again.
	Reload <-chan os.Signal
}

const (
	headerTimeout = 10 * time.Second
	readTimeout   = 30 * time.Second
	writeTimeout  = 30 * time.Second
	// shutFor is how long at most the daemon lets clients wait while it would end for want of
	// work: what it has accepted till then may take longer.
	shutFor = time.Second
)

// Daemon is the running program.
type Daemon struct {
	config   Config
	engine   *dockerops.Engine
	units    systemd.Units // shares a connection; not to be copied
	state    *store
	log      *logbook
	activity *activity
	health   *health
	settings atomic.Pointer[settings]
	rules    atomic.Pointer[policy.Policy]
	limiter  policy.Limiter
	refusals refusals
	names    names
	lent     lent
	life     context.Context // ends when the daemon stops

	born      time.Time
	began     chan struct{} // gets a value when an operation begins
	stopping  chan struct{} // closed when the daemon was told to end
	guards    sync.WaitGroup
	guarding  chan struct{} // closed when the guard has looked for the first time
	once      sync.Once
	statuses  flights
	examining chan struct{} // holds a value while the host's nginx is examined
	lookings  flights       // into containers
	tests     flights       // of an nginx's configuration, by who asks for one
	facts     flights       // of an nginx as its files are now
	journals  journalTurns
	keptLines atomic.Int64 // bytes of the last lines of logs, see lastLines
	showing   sync.Mutex   // what runs, to systemd

	mu       sync.Mutex
	sites    map[string]*site
	again    map[string]chan struct{}
	running  map[string]*operation
	admitted int              // counts operations
	reserved map[string]place // operations that are about to run
	sessions int              // what clients follow, and commands that run for them
	recent   []*operation
	docker   error             // why the engine cannot be used, as the guard last saw it
	misread  error             // what is wrong with the settings' file
	lawless  error             // what is wrong with the policy
	broken   map[string]string // by project: what is wrong with its file
}

// New opens what the daemon works with. State or an engine that cannot be used is no
// error here, it is said to every client: a daemon that ends for it would only be
// started again and again.
func New(config Config) *Daemon {
	d := &Daemon{config: config, engine: dockerops.Open(), state: openStore(config.StateDir), log: newLogbook(config.Log),
		health: newHealth(), guarding: make(chan struct{}), sites: map[string]*site{}, again: map[string]chan struct{}{}, running: map[string]*operation{}, reserved: map[string]place{}, broken: map[string]string{}, began: make(chan struct{}, 1), stopping: make(chan struct{}), examining: make(chan struct{}, 1), born: time.Now()}
	initial := d.defaults()
	d.settings.Store(&initial)
	// What is wrong with it is said, and kept for those who ask.
	_ = d.configure("the defaults are")
	_ = d.loadPolicy()
	d.state.mended = func(unfinished []keptOperation) {
		d.log.notice(eventState, "The state can be used again.", nil)
		d.restoreRates()
		d.resume(unfinished)
	}
	d.limiter.Spend = d.state.rates.add
	d.restoreRates()
	if err := d.state.usable(); err != nil {
		d.log.error(eventState, "Changes are refused: "+err.Error(), nil)
	}
	return d
}

// Run serves the listener until ctx ends, or until nothing has happened for the
// idle time. It never loses a connection to its own end: what it has not accepted
// stays in the listener's backlog, for the next process to which systemd hands the
// socket.
func (d *Daemon) Run(ctx context.Context, listener *net.UnixListener) error {
	life, end := context.WithCancel(context.Background())
	defer end()
	defer d.units.Close()
	defer func() { d.refusals.sum(d.log) }() // tests give it another log
	d.life = life
	d.activity = newActivity(d.idle())
	go d.health.answer(life, d.passLocks)
	socket, err := listener.File()
	if err != nil {
		return fmt.Errorf("cannot use the socket: %v", err)
	}
	defer socket.Close()
	d.log.info(eventStarted, fmt.Sprintf("tvsctld %s serves %s.", d.config.Version, listener.Addr()), nil)
	d.resume(d.state.unfinished())
	d.activity.begin() // until the guard knows whether there is anything to guard
	d.guards.Go(func() { d.guard(life) })
	go func() {
		defer d.activity.end()
		<-d.guarding
	}()
	systemd.Ready()
	d.showStatus()
	go d.reloads(life)
	var earlier *gate
	for {
		gate, served := d.serve(listener)
		gate.earlier = earlier
		idle, err := d.wait(ctx, served)
		if err != nil {
			return err
		}
		listener.Close()
		<-served
		if !idle {
			systemd.Stopping()
			close(d.stopping)
			d.finish(gate)
			end()
			d.guards.Wait() // they keep what they know
			d.log.info(eventStopped, "tvsctld ends: it was told to.", nil)
			return d.state.close()
		}
		gate.earlier = nil // it was quiet
		if d.drained(ctx, gate) && d.activity.quiet() {
			d.log.info(eventStopped, fmt.Sprintf("tvsctld ends: there was nothing to do for %v. The next command starts it again.", d.idle()), nil)
			systemd.Stopping()
			return d.state.close()
		}
		// A last connection began something, or takes its time: go on.
		earlier = gate
		if listener, err = reopen(socket); err != nil {
			return err
		}
	}
}

// serve begins to accept connections.
func (d *Daemon) serve(listener *net.UnixListener) (*gate, <-chan error) {
	server := &http.Server{Handler: d.handler(), ReadHeaderTimeout: headerTimeout, ReadTimeout: readTimeout,
		WriteTimeout: writeTimeout, MaxHeaderBytes: 64 << 10,
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			if c, ok := c.(*conn); ok {
				return withPeer(ctx, c.peer)
			}
			return ctx
		}}
	// One request a connection: a kept one would hold up the end.
	server.SetKeepAlivesEnabled(false)
	gate, served := newGate(listener, d), make(chan error, 1)
	go func() { served <- server.Serve(gate) }()
	return gate, served
}

// wait returns when it is time to stop serving: idle, or told to.
func (d *Daemon) wait(ctx context.Context, served <-chan error) (idle bool, err error) {
	ping, stop := watchdog()
	defer stop()
	for {
		select {
		case <-ctx.Done():
			return false, nil
		case err := <-served:
			return false, fmt.Errorf("cannot serve the socket: %v", err)
		case <-ping:
			d.askHealth()
		case <-d.activity.expired:
			if d.activity.quiet() {
				return true, nil
			}
		}
	}
}

// watchdog ticks when systemd wants to hear that the daemon is alive.
func watchdog() (<-chan time.Time, func()) {
	interval := systemd.Watchdog()
	if interval <= 0 {
		return nil, func() {}
	}
	ticker := time.NewTicker(interval)
	return ticker.C, ticker.Stop
}

// drained waits until no accepted connection is open. It reports false as soon as
// one of them has begun an operation or follows something, which others must be served
// beside, after shutFor, and when ctx ends.
func (d *Daemon) drained(ctx context.Context, g *gate) bool {
	ping, stop := watchdog()
	defer stop()
	patience := time.NewTimer(shutFor)
	defer patience.Stop()
	empty := make(chan struct{})
	go func() {
		g.drained()
		close(empty)
	}()
	select {
	case <-d.began: // of before
	default:
	}
	for {
		if d.operating() {
			return false
		}
		select {
		case <-empty:
			return true
		case <-d.began:
		case <-ctx.Done():
			return false
		case <-patience.C:
			return false
		case <-ping:
			d.askHealth()
		}
	}
}

func (d *Daemon) operating() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.running)+d.sessions > 0
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

// setConfigured notes what is wrong with a project's file, and says so when it changes.
func (d *Daemon) setConfigured(name string, err error) {
	d.mu.Lock()
	before := d.broken[name]
	if delete(d.broken, name); err != nil {
		d.broken[name] = err.Error()
	}
	d.mu.Unlock()
	if err != nil && err.Error() != before {
		d.log.error(eventConfigured, err.Error()+".", fields{"TVS_PROJECT": name})
	}
}

// problems are those of the daemon as a whole.
func (d *Daemon) problems() []string {
	var list []string
	if err := d.state.usable(); err != nil {
		list = append(list, err.Error()+"; changes are refused")
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.misread != nil {
		list = append(list, d.misread.Error())
	}
	if d.lawless != nil {
		list = append(list, d.lawless.Error())
	}
	for _, name := range slices.Sorted(maps.Keys(d.broken)) {
		list = append(list, d.broken[name])
	}
	return list
}

// problemsUnseen are those of projects that the caller does not see.
func (d *Daemon) problemsUnseen(ctx context.Context) []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	var list []string
	for name, problem := range d.broken {
		if !d.sees(ctx, name) {
			list = append(list, problem)
		}
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
