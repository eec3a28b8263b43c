#!/usr/bin/env bash
# Installs the example on a host with nginx and tvsctld, or removes it (--uninstall).
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
bin=$here/../../bin/examples
programs=/opt/isel/tvs/tvsapp/bin
units=/etc/systemd/system

fail() {
  echo "install.sh: $1" >&2
  exit 1
}

do_install() {
  [[ -x $bin/webapp && -x $bin/storage ]] || fail "there are no programs yet: make examples"
  command -v nginx >/dev/null || fail "there is no nginx on this host: apt-get install nginx-light"
  [[ -d /etc/tvsctld/projects ]] || fail "there is no tvsctld on this host: scripts/install.sh"
  install -D -m 755 -t "$programs" "$bin/webapp" "$bin/storage"
  install -m 644 -t "$units" "$here/tvsapp@.service" "$here/tvsapp-storage.service"
  install -D -m 644 "$here/tvsapp.tmpfiles" /etc/tmpfiles.d/tvsapp.conf
  install -D -m 644 "$here/tvsapp.sysctl" /etc/sysctl.d/tvsapp.conf
  install -m 644 "$here/tvsapp.toml" /etc/tvsctld/projects/tvsapp.toml
  install -m 644 "$here/site.conf" /etc/nginx/conf.d/tvsapp.conf
  systemctl daemon-reload
  sysctl -q -p /etc/sysctl.d/tvsapp.conf
  systemd-tmpfiles --create /etc/tmpfiles.d/tvsapp.conf
  # Which units tvsctld may start and stop is written where it is loaded.
  systemctl reload-or-restart tvsctld.service
  systemctl --quiet enable nginx.service
  systemctl reload-or-restart nginx.service
  echo "installed; next: tvsctl -p tvsapp scale webapp 3, then tvsctl -p tvsapp verify"
}

do_uninstall() {
  systemctl stop 'tvsapp@*.service' tvsapp-storage.service
  rm -rf /opt/isel/tvs/tvsapp "$units"/tvsapp@.service "$units"/tvsapp-storage.service \
    /etc/tvsctld/projects/tvsapp.toml /etc/nginx/conf.d/tvsapp.conf /etc/tmpfiles.d/tvsapp.conf /etc/sysctl.d/tvsapp.conf
  systemctl daemon-reload
  # Not a reload: it may be about to publish that the instances have stopped.
  systemctl restart tvsctld.service
  rm -f /run/tvs/upstreams/webapp.conf
  systemctl try-reload-or-restart nginx.service
  echo "removed; /var/lib/private/tvsapp-storage stays"
}

((EUID == 0)) || fail "must be root: run it with sudo"
case ${1:-} in
  '') do_install ;;
  --uninstall) do_uninstall ;;
  *) fail "usage: examples/tvsapp-units/install.sh [--uninstall]" ;;
esac
