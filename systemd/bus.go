package systemd

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/godbus/dbus/v5"
)

const (
	dbusName    = "org.freedesktop.DBus"
	busName     = "org.freedesktop.systemd1"
	managerPath = dbus.ObjectPath("/org/freedesktop/systemd1")
	manager     = "org.freedesktop.systemd1.Manager"
	unitIface   = "org.freedesktop.systemd1.Unit"
	properties  = "org.freedesktop.DBus.Properties"
)

// ErrUnavailable means that the system bus cannot be reached.
var ErrUnavailable = errors.New("cannot reach the system bus")

// errLost means that the bus, or the manager on it, went away in the middle.
var errLost = errors.New("lost the system bus")

const (
	// lossPatience is how long the bus or the manager may be away: both are soon back when
	// somebody restarted them.
	lossPatience = 10 * time.Second
	// maxCalls bounds the calls under way: the bus refuses more than 128 on a connection
	// (max_replies_per_connection, dbus-daemon(1)).
	maxCalls  = 32
	lossPause = 100 * time.Millisecond
)

// bus is a connection to the system bus. It hands each signal to those who wait for it
// where it is read, in order: a channel of godbus would block the connection when full.
type bus struct {
	conn  *dbus.Conn
	slots chan struct{} // holds a value for each call under way

	following chan struct{} // holds a value while somebody asks for the signals
	matched   bool          // the bus was asked

	mu         sync.Mutex
	subscribed bool                              // the manager was asked for its signals
	owner      string                            // the manager's own name on the bus
	starting   int                               // jobs whose paths are not known yet
	ended      map[dbus.ObjectPath]string        // while there are such: the results of jobs
	jobs       map[dbus.ObjectPath][]chan string // who waits for the end of a job
	watchers   map[dbus.ObjectPath][]*watcher    // who wants to know that a unit changed
	followers  map[*follower]bool                // who wants to know of all
}

// connect returns a connection, the one that all share while it lasts.
func (u *Units) connect(ctx context.Context) (*bus, error) {
	u.once.Do(func() { u.dialing = make(chan struct{}, 1) })
	select {
	case u.dialing <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { <-u.dialing }()
	if u.shared != nil && u.shared.conn.Connected() {
		return u.shared, nil
	}
	b := &bus{slots: make(chan struct{}, maxCalls), following: make(chan struct{}, 1), ended: map[dbus.ObjectPath]string{}, jobs: map[dbus.ObjectPath][]chan string{}, watchers: map[dbus.ObjectPath][]*watcher{}, followers: map[*follower]bool{}}
	conn, err := dbus.SystemBusPrivate(dbus.WithSignalHandler(b))
	if err != nil {
		return nil, fmt.Errorf("%w: %v", ErrUnavailable, err)
	}
	// A bus that accepts and never greets holds nobody beyond his time.
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	if err = conn.Auth(nil); err == nil {
		err = conn.Hello()
	}
	if !stop() {
		return nil, ctx.Err()
	}
	if err != nil { // what accepts and does not greet is a bus that ends
		conn.Close()
		return nil, fmt.Errorf("%w: %w (%v)", ErrUnavailable, errLost, err)
	}
	b.conn, u.shared = conn, b
	return b, nil
}

// Close ends the connection to the bus, if there is one. The next call makes another.
func (u *Units) Close() {
	u.once.Do(func() { u.dialing = make(chan struct{}, 1) })
	u.dialing <- struct{}{}
	defer func() { <-u.dialing }()
	if u.shared != nil {
		u.shared.conn.Close()
	}
}

// persist does something on a connection, and again on a new one while the bus is lost.
func (u *Units) persist(ctx context.Context, do func(b *bus) error) error {
	var since time.Time // of the loss
	for {
		b, err := u.connect(ctx)
		if err == nil {
			began := time.Now()
			if err = do(b); time.Since(began) > lossPatience/10 {
				since = time.Time{} // it was there for a while
			}
		}
		if !errors.Is(err, errLost) {
			return err
		}
		if since.IsZero() {
			since = time.Now()
		}
		if time.Since(since) > lossPatience {
			return fmt.Errorf("%w: %v", ErrUnavailable, err)
		}
		select {
		case <-time.After(lossPause):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// call calls a method and stores what it returns. doing says for what, in errors.
func (b *bus) call(ctx context.Context, doing string, object dbus.ObjectPath, method string, args []any, into ...any) error {
	select {
	case b.slots <- struct{}{}:
		defer func() { <-b.slots }()
	case <-ctx.Done():
		return lost(ctx, doing, ctx.Err())
	}
	call := b.conn.Object(busName, object).CallWithContext(ctx, method, 0, args...)
	if call.Err != nil {
		return lost(ctx, doing, call.Err)
	}
	if len(into) == 0 {
		return nil
	}
	// Store would copy a large map by reflection.
	if body, ok := into[0].(*[]any); ok && len(call.Body) > 0 {
		*body = call.Body
		return nil
	}
	if err := call.Store(into...); err != nil {
		return fmt.Errorf("cannot %s: %v", doing, err)
	}
	return nil
}

// follow asks the bus and the manager for the signals, once for a connection and again
// when the manager may have forgotten it.
func (b *bus) follow(ctx context.Context) error {
	select {
	case b.following <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-b.following }()
	b.mu.Lock()
	subscribed := b.subscribed
	b.mu.Unlock()
	if subscribed {
		return nil
	}
	if !b.matched {
		err := b.conn.AddMatchSignalContext(ctx, dbus.WithMatchSender(dbusName), dbus.WithMatchInterface(dbusName), dbus.WithMatchMember("NameOwnerChanged"), dbus.WithMatchArg(0, busName))
		if err == nil {
			err = b.conn.AddMatchSignalContext(ctx, dbus.WithMatchInterface(manager), dbus.WithMatchMember("JobRemoved"), dbus.WithMatchObjectPath(managerPath))
		}
		if err == nil {
			// Of all units: the bus has room for few rules (max_match_rules_per_connection, 512).
			err = b.conn.AddMatchSignalContext(ctx, dbus.WithMatchInterface(properties), dbus.WithMatchMember("PropertiesChanged"), dbus.WithMatchPathNamespace(unitNamespace))
		}
		if err != nil {
			return lost(ctx, "follow jobs", err)
		}
		b.matched = true
	}
	var owner string
	err := b.conn.BusObject().CallWithContext(ctx, dbusName+".GetNameOwner", 0, busName).Store(&owner)
	if err != nil {
		return lost(ctx, "follow jobs", err)
	}
	b.mu.Lock()
	b.owner, b.subscribed = owner, true
	b.mu.Unlock()
	err = b.call(ctx, "follow jobs", managerPath, manager+".Subscribe", nil)
	var refused *RefusedError
	if errors.As(err, &refused) && refused.Problem == Already {
		err = nil
	}
	if err != nil {
		b.resubscribe()
	}
	return err
}

// resubscribe has the next follow ask the manager again.
func (b *bus) resubscribe() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.subscribed = false
}

// DeliverSignal implements dbus.SignalHandler. Everybody on the bus may send signals, so
// the sender counts.
func (b *bus) DeliverSignal(iface, name string, signal *dbus.Signal) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case signal.Sender == dbusName && name == "NameOwnerChanged":
		var of, before, now string
		if dbus.Store(signal.Body, &of, &before, &now) == nil && of == busName {
			// Another life of the manager, which may know nothing of who asked the one before.
			b.owner, b.subscribed = now, false
			for f := range b.followers {
				f.tell("", "")
			}
			if now != "" {
				go b.followAgain()
			}
		}
	case signal.Sender != b.owner:
	case iface == manager && name == "JobRemoved":
		var id uint32
		var path dbus.ObjectPath
		var unit, result string
		if dbus.Store(signal.Body, &id, &path, &unit, &result) != nil {
			return
		}
		for _, waiting := range b.jobs[path] {
			waiting <- result // there is room for one
		}
		delete(b.jobs, path)
		if b.starting > 0 {
			b.ended[path] = result
		}
	case iface == properties && name == "PropertiesChanged":
		if len(signal.Body) != 3 {
			return
		}
		values, _ := signal.Body[1].(map[string]dbus.Variant)
		b.tellFollowers(signal.Path, values)
		for _, w := range b.watchers[signal.Path] {
			for _, name := range telling {
				if value, there := values[name]; there {
					w.seen[name] = value
				}
			}
			select {
			case w.changed <- struct{}{}:
			default: // it has not yet looked since the last time
			}
		}
	}
}

// followAgain is for those who wait already.
func (b *bus) followAgain() {
	ctx, cancel := context.WithTimeout(b.conn.Context(), lossPatience)
	defer cancel()
	// Who wants to begin something asks again, and hears why that fails.
	_ = b.follow(ctx)
}

// begin calls a method that makes a job. The result of the job comes from the channel,
// also when the job ends before its path is known.
func (b *bus) begin(ctx context.Context, doing, method string, args ...any) (job dbus.ObjectPath, ended chan string, err error) {
	if err := b.follow(ctx); err != nil {
		return "", nil, err
	}
	b.mu.Lock()
	b.starting++
	b.mu.Unlock()
	err = b.call(ctx, doing, managerPath, method, args, &job)
	b.mu.Lock()
	defer b.mu.Unlock()
	if err == nil {
		ended = b.await(job)
	}
	if b.starting--; b.starting == 0 {
		clear(b.ended)
	}
	return job, ended, err
}

// await returns the channel on which the result of a job comes. mu is held.
func (b *bus) await(job dbus.ObjectPath) chan string {
	ended := make(chan string, 1)
	if result, already := b.ended[job]; already {
		ended <- result
	} else {
		b.jobs[job] = append(b.jobs[job], ended)
	}
	return ended
}

// forget ends an await, and returns the result if it came.
func (b *bus) forget(job dbus.ObjectPath, ended chan string) (result string, came bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	left := slices.DeleteFunc(b.jobs[job], func(c chan string) bool { return c == ended })
	if b.jobs[job] = left; len(left) == 0 {
		delete(b.jobs, job)
	}
	select {
	case result = <-ended:
		return result, true
	default:
		return "", false
	}
}

// watcher is told of the changes of a unit.
type watcher struct {
	changed chan struct{}
	seen    props // what was told that is telling, the last of each; the bus's mu guards it
}

// watch tells of the changes of a unit until stop.
func (b *bus) watch(ctx context.Context, unit dbus.ObjectPath) (w *watcher, stop func(), err error) {
	if err := b.follow(ctx); err != nil {
		return nil, nil, err
	}
	w = &watcher{changed: make(chan struct{}, 1), seen: props{}}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.watchers[unit] = append(b.watchers[unit], w)
	return w, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		left := slices.DeleteFunc(b.watchers[unit], func(other *watcher) bool { return other == w })
		if b.watchers[unit] = left; len(left) == 0 {
			delete(b.watchers, unit)
		}
	}, nil
}

// lost makes an error errLost where it says that nobody heard the call, or that its
// answer is lost, and gives those of the manager their meaning.
func lost(ctx context.Context, doing string, err error) error {
	var answer dbus.Error
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case !errors.As(err, &answer):
		return fmt.Errorf("cannot %s: %w (%v)", doing, errLost, err)
	}
	switch name := strings.TrimPrefix(answer.Name, "org.freedesktop.DBus.Error."); {
	case name == "ServiceUnknown", name == "NameHasNoOwner", name == "NoReply", name == "Disconnected", name == "Timeout", strings.HasPrefix(name, "Spawn"):
		return fmt.Errorf("cannot %s: %w (%v)", doing, errLost, err)
	}
	return &RefusedError{Doing: doing, Problem: problems[answer.Name], Text: answer.Error()}
}
