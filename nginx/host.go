package nginx

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"tvsctl/fault"
)

// Unit is the systemd unit that a host's nginx runs as.
type Unit interface {
	Reload(ctx context.Context) error
	// MainPID returns the process id of the master; 0 when it does not run.
	MainPID(ctx context.Context) (int, error)
	// Examine runs nginx -v -T with the rights to read all that nginx reads, and returns
	// whether it accepts its configuration, and what it printed.
	Examine(ctx context.Context) (accepted bool, output string, err error)
}

// Host is an nginx that runs as a unit of this host.
type Host struct {
	Label string // for messages: the unit's name
	Dir   string // absolute
	Unit  Unit
}

// Facts asks nginx for its version and configuration. That is what is on disk: of the
// upstream files it leaves out those that the workers may not have.
func (h *Host) Facts(ctx context.Context) (Facts, error) {
	accepted, output, err := h.Unit.Examine(ctx)
	if err != nil {
		return Facts{}, err
	}
	if !accepted {
		return Facts{}, &ConfigError{Nginx: h.Label, Text: refusedText, Refused: true, Output: lines(complaints(output))}
	}
	facts := readFacts(output, h.Dir)
	maps.DeleteFunc(facts.Files, func(name string, _ []byte) bool { return h.unproven(name) })
	return facts, nil
}

// Test tests the configuration as nginx -t does.
func (h *Host) Test(ctx context.Context) (ok bool, output []string, err error) {
	ok, text, err := h.Unit.Examine(ctx)
	return ok, lines(complaints(text)), err
}

// Reload tests and reloads without a change of ours.
func (h *Host) Reload(ctx context.Context) error { return h.Publish(ctx, nil) }

// Publish is as Container.Publish.
func (h *Host) Publish(ctx context.Context, files map[string][]byte) (err error) {
	master, err := h.waitForWorkers(ctx)
	if err != nil {
		return err
	}
	if len(files) > 0 {
		if err := untrusted(filepath.Clean(h.Dir)); err != nil {
			return &ConfigError{Nginx: h.Label, Text: "gets no upstreams: " + err.Error()}
		}
	}
	var written, doubted []string
	replaced, reloaded := map[string][]byte{}, false
	unheard := false // whether a reload may yet come
	defer func() {
		if err == nil {
			h.prove(written)
			return
		}
		notRestored := fault.Do("nginx restore", func() error { return h.restore(written, replaced) })
		if notRestored == nil && !reloaded && !unheard {
			h.prove(doubted)
		}
		err = errors.Join(err, notRestored)
		if reloaded {
			// It may yet come to the new configuration: let that be the one of before.
			err = errors.Join(err, fault.Do("nginx reload", func() error { return h.Unit.Reload(ctx) }))
		}
	}()
	for _, name := range slices.Sorted(maps.Keys(files)) {
		old, err := os.ReadFile(filepath.Join(h.Dir, name))
		if err == nil {
			replaced[name] = old
		} else if !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("cannot read %s's upstreams: %v", h.Label, err)
		}
		written = append(written, name)
		if !h.unproven(name) { // else what is restored is as doubtful as it was
			doubted = append(doubted, name)
		}
		err = fault.Do("nginx write", func() error {
			if err := h.doubt(name); err != nil {
				return err
			}
			return replaceFile(filepath.Join(h.Dir, name), files[name])
		})
		if err != nil {
			return fmt.Errorf("cannot write %s's upstreams: %v", h.Label, err)
		}
	}
	ok, output, err := h.Test(ctx)
	if err != nil {
		return err
	}
	if !ok {
		return &ConfigError{Nginx: h.Label, Text: refusedText, Refused: true, Output: output}
	}
	// As late as can be: somebody else's reload may have come meanwhile.
	before, err := childrenOf(master)
	if err != nil {
		return err
	}
	if err := fault.Do("nginx reload", func() error { return h.Unit.Reload(ctx) }); err != nil {
		unheard = ctx.Err() != nil
		return &ConfigError{Nginx: h.Label, Text: "cannot be reloaded", Output: lines(err.Error())}
	}
	reloaded = true
	return h.await(ctx, takeUp, func() (bool, error) {
		now, err := childrenOf(master)
		stale := slices.ContainsFunc(now.serving, func(pid int) bool { return slices.Contains(before.pids, pid) })
		return len(now.serving) > 0 && !stale, err
	}, &ConfigError{Nginx: h.Label, Text: "did not take up the new configuration; its log says why"})
}

// Writable is as Container.Writable.
func (h *Host) Writable(context.Context) error {
	file, err := os.CreateTemp(h.Dir, ".tvsctl")
	if err != nil {
		return &ConfigError{Nginx: h.Label, Text: "cannot write to " + h.Dir, Output: lines(err.Error())}
	}
	return errors.Join(file.Close(), os.Remove(file.Name()))
}

// Drain is as Container.Drain.
func (h *Host) Drain(ctx context.Context) error {
	master, err := h.Unit.MainPID(ctx)
	if err != nil || master == 0 {
		return err
	}
	return h.await(ctx, time.Hour, func() (bool, error) {
		now, err := childrenOf(master)
		return len(now.leaving) == 0, err
	}, context.DeadlineExceeded)
}

// waitForWorkers returns the master once a worker serves.
func (h *Host) waitForWorkers(ctx context.Context) (master int, err error) {
	err = h.await(ctx, takeUp, func() (bool, error) {
		if master, err = h.Unit.MainPID(ctx); err != nil || master == 0 {
			return false, err
		}
		now, err := childrenOf(master)
		return len(now.serving) > 0, err
	}, &ConfigError{Nginx: h.Label, Text: "has no workers"})
	return master, err
}

// await looks every tick: the kernel tells nobody about a child of a child.
func (h *Host) await(ctx context.Context, limit time.Duration, done func() (bool, error), otherwise error) error {
	limited, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for {
		if ok, err := done(); ok || err != nil {
			return err
		}
		select {
		case <-ticker.C:
		case <-limited.Done():
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return otherwise
		}
	}
}

func (h *Host) restore(written []string, replaced map[string][]byte) error {
	var errs []error
	for _, name := range written {
		path := filepath.Join(h.Dir, name)
		if old, was := replaced[name]; was {
			errs = append(errs, replaceFile(path, old))
		} else if err := os.Remove(path); !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func replaceFile(path string, contents []byte) error {
	fresh := filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+".new")
	if err := os.WriteFile(fresh, contents, 0o644); err != nil {
		return err
	}
	return os.Rename(fresh, path)
}
