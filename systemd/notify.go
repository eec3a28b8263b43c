package systemd

import (
	"strconv"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

// Notify tells the service manager about the daemon's state, as in sd_notify(3).
// Without a service manager it does nothing.
func Notify(state string) {
	// Nobody can be told that nobody listens.
	_, _ = daemon.SdNotify(false, state)
}

// Ready tells that requests are served.
func Ready() { Notify(daemon.SdNotifyReady) }

// Stopping tells that the daemon ends.
func Stopping() { Notify(daemon.SdNotifyStopping) }

// Status sets the line that systemctl status shows.
func Status(text string) { Notify("STATUS=" + text) }

// Alive feeds the watchdog.
func Alive() { Notify(daemon.SdNotifyWatchdog) }

// Reloading tells that the configuration is read again; Ready tells the end of that.
func Reloading() { Notify(daemon.SdNotifyReloading + "\n" + daemon.SdNotifyMonotonicUsec()) }

// ExtendTimeout keeps the service manager from ending a start or stop that takes
// longer than the unit allows, for d from now.
func ExtendTimeout(d time.Duration) {
	Notify("EXTEND_TIMEOUT_USEC=" + strconv.FormatInt(d.Microseconds(), 10))
}

// Watchdog returns how often Alive must be called: half the unit's WatchdogSec=,
// or 0 without one.
func Watchdog() time.Duration {
	interval, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		return 0
	}
	return interval / 2
}
