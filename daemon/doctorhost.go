package daemon

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"tvsctl/dockerops"
)

func checkDocker(ctx context.Context, d *Daemon, r *report) {
	info, err := d.engine.Info(ctx)
	switch {
	case err != nil && d.needsNoDocker(ctx):
		r.ok("there is no Docker, and no project that needs it")
	case err != nil:
		r.wrong("as root: systemctl start docker; see journalctl -u docker", "%v", err)
	case !info.Enough:
		r.wrong("install Docker Engine 20.10 or later", "Docker %s speaks version %s of its API, and %s is needed", info.Version, info.API, dockerops.LeastAPI)
	default:
		r.ok("Docker %s, API %s", info.Version, info.API)
	}
}

func checkCompose(ctx context.Context, d *Daemon, r *report) {
	version, err := dockerops.ComposeVersion(ctx)
	if err != nil && d.needsNoDocker(ctx) {
		return
	}
	if err != nil {
		r.wrong("apt install docker-compose (Debian) or docker-compose-plugin (Docker's own packages)", "%v: tvsctl up, down, override and rollouts need it", err)
		return
	}
	r.ok("docker compose %s", version)
}

const (
	// leastFree is how much room there must be, whatever the size: the state and a few
	// containers' layers fit.
	leastFree  = 200 << 20
	leastShare = 5 // percent
)

func checkDisk(ctx context.Context, d *Daemon, r *report) {
	places := [][2]string{{"state", d.config.StateDir}}
	if info, err := d.engine.Info(ctx); err == nil {
		places = append(places, [2]string{"Docker's data", info.Root})
	}
	for _, place := range places {
		var fs unix.Statfs_t
		if err := unix.Statfs(place[1], &fs); err != nil {
			// The engine may be on another host.
			r.warn("see that the directory exists", "cannot tell how much room %s is left for %s: %v", place[1], place[0], err)
			continue
		}
		free, total := fs.Bavail*uint64(fs.Bsize), fs.Blocks*uint64(fs.Bsize)
		remedy := "make room: docker system prune, journalctl --vacuum-size=500M"
		switch {
		case free < leastFree || free*100 < total*leastShare:
			r.wrong(remedy, "%s has %s left of %s for %s", place[1], mebibytes(free), mebibytes(total), place[0])
		case fs.Files > 0 && fs.Ffree*100 < fs.Files*leastShare:
			r.wrong(remedy, "%s has %d inodes left of %d for %s", place[1], fs.Ffree, fs.Files, place[0])
		default:
			r.ok("%s has %s left of %s for %s", place[1], mebibytes(free), mebibytes(total), place[0])
		}
	}
}

func mebibytes(n uint64) string { return fmt.Sprintf("%d MiB", n>>20) }

func checkCgroup(ctx context.Context, d *Daemon, r *report) {
	info, err := d.engine.Info(ctx)
	if err != nil {
		return // said of Docker already
	}
	if len(info.NoControl) > 0 {
		r.warn("boot with these controllers, such as cgroup_enable=memory on the kernel's command line",
			"Docker cannot limit containers: cgroup %s without %s", info.CgroupV, strings.Join(info.NoControl, ", "))
		return
	}
	r.ok("cgroup %s, with memory, cpu and pids", info.CgroupV)
}

// insideContainer is where systemd notes that it runs in a container (systemd(1)).
const insideContainer = "/run/systemd/container"

func checkClock(ctx context.Context, d *Daemon, r *report) {
	program, _ := os.Executable()
	if info, err := os.Stat(program); err == nil && info.ModTime().After(d.born) {
		r.wrong("as root: timedatectl set-ntp true", "the clock said %s when tvsctld began, which is before it was installed", d.born.UTC().Format("2006-01-02 15:04 UTC"))
		return
	}
	if _, err := os.Stat(insideContainer); err == nil {
		r.ok("the clock is that of the host of this container")
		return
	}
	synchronized, err := d.units.ClockSynchronized(ctx)
	switch {
	case err != nil:
		r.warn("see timedatectl", "cannot tell whether the clock is right: %v", err)
	case !synchronized:
		r.warn("as root: timedatectl set-ntp true", "the clock is not synchronised: times in logs and in the audit can be wrong")
	default:
		r.ok("the clock is synchronised")
	}
}

func missing(err error) bool { return errors.Is(err, fs.ErrNotExist) }
