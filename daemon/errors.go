package daemon

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"tvsctl/dockerops"
	"tvsctl/ipc"
	"tvsctl/nginx"
	"tvsctl/systemd"
)

// describeError gives every error of the workers its code, and the remedy where
// there is a general one.
func describeError(err error) *ipc.Error {
	var leftover *dockerops.LeftoverError
	if errors.As(err, &leftover) {
		told := *describeError(leftover.Err)
		told.Message += "; and " + leftover.Rest()
		return &told
	}
	var known *ipc.Error
	var refused *dockerops.RefusedError
	var notReady *dockerops.NotReadyError
	var compose *dockerops.ComposeError
	var config *nginx.ConfigError
	var misnamed *systemd.NameError
	var unitRefused *systemd.RefusedError
	switch {
	case errors.As(err, &known):
		return known
	case errors.As(err, &refused):
		code := map[dockerops.Reason]ipc.Code{dockerops.UnknownService: ipc.CodeUnknownService,
			dockerops.NotScalable: ipc.CodeNotScalable, dockerops.OutOfRange: ipc.CodeOutOfRange, dockerops.Unsupported: ipc.CodeUnsupported}[refused.Reason]
		return &ipc.Error{Code: code, Message: refused.Error(), Hint: refused.Hint}
	case errors.As(err, &notReady):
		return &ipc.Error{Code: ipc.CodeNotReady, Message: notReady.Error(), Detail: notReady.Logs, Log: excerptOf(notReady.Logs, ipc.Excerpt{Service: notReady.Service}),
			Hint: cmp.Or(notReady.Hint, "mend the image or its settings; raise label tvs.ready.timeout if it only needs longer")}
	case errors.As(err, &compose):
		code, hint := ipc.CodeCompose, ""
		if compose.Untrusted {
			code, hint = ipc.CodeForbidden, ownsTheHost
		}
		if compose.Missing {
			hint = "install it: apt install docker-compose (Debian) or docker-compose-plugin (Docker's own packages)"
		}
		return &ipc.Error{Code: code, Message: compose.Error(), Hint: hint, Detail: compose.Output}
	case errors.As(err, &config):
		hint := "see what nginx logs"
		if config.Refused {
			hint = "the configuration before it is in force; see tvsctl nginx test"
		}
		return &ipc.Error{Code: ipc.CodeNginx, Message: config.Error(), Hint: hint, Detail: config.Output}
	case errors.As(err, &misnamed):
		return &ipc.Error{Code: ipc.CodeBadRequest, Message: misnamed.Error(), Hint: "see tvsctl unit list"}
	case errors.As(err, &unitRefused):
		return describeRefusal(unitRefused)
	case errors.Is(err, systemd.ErrUnavailable):
		return &ipc.Error{Code: ipc.CodeSystemd, Message: err.Error(), Hint: "see systemctl status dbus.service dbus.socket"}
	case errors.Is(err, dockerops.ErrUnavailable):
		return &ipc.Error{Code: ipc.CodeDocker, Message: err.Error(), Hint: "as root: systemctl start docker"}
	case errors.Is(err, context.DeadlineExceeded):
		return &ipc.Error{Code: ipc.CodeBusy, Message: "it took longer than " + requestDeadline.String(), Hint: "try again"}
	}
	return &ipc.Error{Code: ipc.CodeInternal, Message: err.Error()}
}

// managedUnits says which setting lists the units that the daemon may manage where it is
// not root: polkit asks its rule, which is made of that.
const managedUnits = "as root, list it under units in /etc/tvsctld/tvsctld.toml, then systemctl reload tvsctld; the daemon may change no others"

func describeRefusal(err *systemd.RefusedError) *ipc.Error {
	switch err.Problem {
	case systemd.NoSuchUnit:
		return &ipc.Error{Code: ipc.CodeUnknownUnit, Message: err.Error(), Hint: "see tvsctl unit list --all, and systemctl list-unit-files"}
	case systemd.Denied:
		return &ipc.Error{Code: ipc.CodeForbidden, Message: err.Error(), Hint: managedUnits}
	}
	return &ipc.Error{Code: ipc.CodeUnitRefused, Message: err.Error()}
}

func badRequest(format string, args ...any) error {
	return &ipc.Error{Code: ipc.CodeBadRequest, Message: fmt.Sprintf(format, args...)}
}

// notBegun is the refusal of what cannot be kept before it is begun; nil for nil.
func notBegun(doing string, err error) error {
	if err == nil {
		return nil
	}
	return &ipc.Error{Code: ipc.CodeState, Message: "cannot " + doing + ": " + err.Error(), Hint: stateHint}
}
