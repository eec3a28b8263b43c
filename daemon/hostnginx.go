package daemon

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
)

const (
	// examinerUnit runs nginx -v -T as root, which may read keys and open logs as the
	// daemon may not. It may be started and nothing more.
	examinerUnit = "tvsctld-nginx-test.service"
	// examinerOutput is where that unit leaves what nginx printed.
	examinerOutput = "/run/tvs/nginx/test"
	// nginxRefused is the exit status of an nginx that does not accept its configuration.
	nginxRefused = 1
)

// unit is the host's nginx, as nginx.Host wants it.
type unit struct {
	d    *Daemon
	name string
}

func (u unit) Reload(ctx context.Context) error { return u.d.units.Reload(ctx, u.name) }

func (u unit) MainPID(ctx context.Context) (int, error) {
	state, err := u.d.units.State(ctx, u.name)
	return state.MainPID, err
}

// Examine lets the examiner run. One at a time: a second would end the first, and both
// write the same file.
func (u unit) Examine(ctx context.Context) (accepted bool, output string, err error) {
	err = u.d.examineAlone(ctx, func() error {
		accepted, output, err = u.examine(ctx)
		return err
	})
	return accepted, output, err
}

// examineAlone examines when nobody else does, in the order of coming. It must not be held
// up by many who only look: those go through sharedTest and sharedFacts.
func (d *Daemon) examineAlone(ctx context.Context, examine func() error) error {
	select {
	case d.examining <- struct{}{}:
		defer func() { <-d.examining }()
		return examine()
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (u unit) examine(ctx context.Context) (accepted bool, output string, err error) {
	status, err := u.d.units.Run(ctx, examinerUnit)
	if err != nil {
		return false, "", fmt.Errorf("cannot test the configuration of %s: %w", u.name, err)
	}
	text, err := os.ReadFile(examinerOutput)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, "", fmt.Errorf("cannot test the configuration of %s: %s left no %s; systemd-tmpfiles --create makes its directory", u.name, examinerUnit, examinerOutput)
	case err != nil:
		return false, "", fmt.Errorf("cannot test the configuration of %s: %v", u.name, err)
	case status != 0 && status != nginxRefused:
		return false, "", fmt.Errorf("cannot test the configuration of %s: nginx exited %d: %s", u.name, status, text)
	}
	return status == 0, string(text), nil
}
