package systemd

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/godbus/dbus/v5"
)

// Version returns the number of the manager's version: 257 of "257.8-1~deb13u2".
func (u *Units) Version(ctx context.Context) (int, error) {
	var text string
	if err := ask(ctx, busName, string(managerPath), manager, "Version", &text); err != nil {
		return 0, err
	}
	digits := strings.TrimLeft(text, "v")
	if end := strings.IndexFunc(digits, func(r rune) bool { return r < '0' || r > '9' }); end >= 0 {
		digits = digits[:end]
	}
	number, err := strconv.Atoi(digits)
	if err != nil {
		return 0, fmt.Errorf("systemd has the version %q", text)
	}
	return number, nil
}

// ClockSynchronized reports whether the kernel's clock is kept right, as timedatectl
// does. To ask the kernel itself would be a system call that sandboxes end a program for.
func (u *Units) ClockSynchronized(ctx context.Context) (synchronized bool, err error) {
	const name = "org.freedesktop.timedate1"
	err = ask(ctx, name, "/org/freedesktop/timedate1", name, "NTPSynchronized", &synchronized)
	return synchronized, err
}

// ask reads one property of a service on the system bus.
func ask(ctx context.Context, service, object, iface, property string, into any) error {
	conn, err := dbus.ConnectSystemBus(dbus.WithContext(ctx))
	if err != nil {
		return fmt.Errorf("cannot reach the system bus: %v", err)
	}
	defer conn.Close()
	call := conn.Object(service, dbus.ObjectPath(object)).CallWithContext(ctx, "org.freedesktop.DBus.Properties.Get", 0, iface, property)
	if err := call.Store(into); err != nil {
		return fmt.Errorf("cannot ask for %s of %s: %v", property, service, err)
	}
	return nil
}
