#!/usr/bin/env bash
# Installs tvsctld and tvsctl on a host that runs systemd, upgrades them in place,
# or removes them again.
set -euo pipefail

usage() {
  cat <<'USAGE'
usage: scripts/install.sh [--prefix DIR] [--without-docker] [--uninstall]

  --prefix DIR      where the programs go (default: where they are, else /opt/isel/tvs)
  --without-docker  on a host where only systemd units are to be managed
  --uninstall       remove everything that was installed

Running it again upgrades in place. In a git checkout it builds the programs anew
each time, where root has Go and make.
USAGE
}

fail() {
  echo "install.sh: $1" >&2
  exit "${2:-1}"
}

default_prefix=/opt/isel/tvs
prefix=
uninstall=
without_docker=
while (($#)); do
  case $1 in
    --prefix)
      [[ -n ${2:-} ]] || fail "--prefix needs a directory" 2
      prefix=$2
      shift
      ;;
    --prefix=*) prefix=${1#*=} ;;
    --without-docker) without_docker=yes ;;
    --uninstall) uninstall=yes ;;
    -h | --help)
      usage
      exit
      ;;
    *) fail "unknown option $1; try --help" 2 ;;
  esac
  shift
done
[[ -z $prefix || $prefix =~ ^(/[A-Za-z0-9._+-]+)+/?$ ]] || fail "--prefix must be an absolute path without blanks, not: $prefix" 2
prefix=${prefix%/}

source=$(cd "$(dirname "$0")/.." && pwd)
unit_dir=/etc/systemd/system
mapfile -t files < <(find "$source/units" -type f ! -name '*.go' | sort)
mapfile -t pages < <(cd "$source/docs/man" && ls -- *.[1-9])
mapfile -t units < <(cd "$source/units" && ls -- *.socket *.service)
# Those that do not say where they are WantedBy are started by others.
mapfile -t enabled < <(cd "$source/units" && grep -l '^\[Install\]' -- "${units[@]}")
rules_dir=/etc/polkit-1/rules.d
policy=/etc/tvsctld/policy.toml
declare -A links=([tvsctl]=/usr/local/bin/tvsctl [tvsctld]=/usr/local/sbin/tvsctld)
share=/usr/local/share
completions=(bash-completion/completions/tvsctl zsh/site-functions/_tvsctl fish/vendor_completions.d/tvsctl.fish)

# destination FILE: where a file of units/ is installed.
destination() {
  local name=${1##*/}
  case $name in
    *.socket | *.service) echo "$unit_dir/$name" ;;
    *.sysusers) echo "/etc/sysusers.d/${name%.*}.conf" ;;
    *.tmpfiles) echo "/etc/tmpfiles.d/${name%.*}.conf" ;;
    *.rules) echo "$rules_dir/50-$name" ;;
    *.catalog) echo "/usr/local/lib/systemd/catalog/$name" ;; # there is none in /etc
    *.preset) echo "/etc/systemd/system-preset/50-$name" ;;
    *) fail "units/$name: a kind of file with no place to go to" ;;
  esac
}

# installed_prefix: where an earlier run put the programs.
installed_prefix() {
  sed -n 's|^ExecStart=\(/.*\)/tvsctld/bin/tvsctld$|\1|p' "$unit_dir/tvsctld.service" 2>/dev/null || true
}

# at_least HAVE WANT: compares versions.
at_least() { [[ $(printf '%s\n' "$1" "$2" | sort -V | head -n 1) == "$2" ]]; }

# check fills missing with what is, and how to get it.
missing=()
check() {
  local version link
  if [[ ! -d /run/systemd/system ]]; then
    missing+=("systemd as PID 1: on a host without it, run tvsctld --listen PATH for development")
  else
    version=$(systemctl --version | sed -n '1s/^systemd \([0-9]*\).*/\1/p')
    ((version >= 249)) || missing+=("systemd 249 or later (this is $version): Debian 12, Ubuntu 22.04 and later have it")
  fi
  if [[ $without_docker ]]; then
    : # nothing of it is needed
  elif ! command -v docker >/dev/null; then
    missing+=("Docker Engine 20.10 or later: apt-get install docker.io docker-cli docker-compose (Debian 13), or https://docs.docker.com/engine/install/")
  elif ! version=$(docker version --format '{{.Server.Version}}' 2>/dev/null); then
    missing+=("a running Docker Engine: systemctl start docker")
  elif ! at_least "$version" 20.10; then
    missing+=("Docker Engine 20.10 or later (this is $version): https://docs.docker.com/engine/install/")
  fi
  if [[ -e /usr/lib/systemd/system/tvsctld.service ]]; then
    missing+=("a host without the package tvsctl, which this would hide: apt-get remove tvsctl, or upgrade that")
  fi
  for link in "${links[@]}"; do
    [[ ! -e $link || -L $link ]] || missing+=("a free place for the link $link: move the file that is there away")
  done
  check_programs
}

# check_programs builds those of a checkout anew, for they may be older than its units.
# A tree that was copied has what it came with.
check_programs() {
  local have='' checkout=''
  if [[ -x $source/bin/tvsctld && -x $source/bin/tvsctl ]]; then have=yes; fi
  if [[ -e $source/.git ]]; then checkout=yes; fi
  if [[ $have && ! $checkout ]]; then return; fi
  # git, and Go with it, refuses root a checkout of somebody else outside of sudo.
  if command -v go >/dev/null && command -v make >/dev/null && { [[ ! $checkout ]] || git -C "$source" status >/dev/null 2>&1; }; then
    ((${#missing[@]})) || make -C "$source" build
  elif [[ $have ]]; then
    echo "note: the programs in $source/bin are installed as they are: root has no Go, no make, or no use of the checkout; after git pull run make build first"
  else
    missing+=("the programs in $source/bin: run make build there, or install Go and make")
  fi
}

notes() {
  [[ $without_docker ]] || docker compose version >/dev/null 2>&1 ||
    echo "note: there is no docker compose plugin; tvsctl up and down need it: apt-get install docker-compose (Debian 13) or docker-compose-plugin (docker.com)"
  command -v nginx >/dev/null ||
    echo "note: there is no nginx on this host; that is needed only for a project without one in a container"
}

# put MODE SOURCE DEST: written beside and renamed, so that nobody sees half a file
# and a running program keeps its own.
put() {
  install -D -m "$1" "$2" "$3.new"
  mv -f "$3.new" "$3"
}

# remove_programs PREFIX: and the directories that are empty then, but none of / itself.
remove_programs() {
  local dir=$1
  rm -f "$1/tvsctld/bin/tvsctld" "$1/tvsctl/bin/tvsctl"
  rmdir "$1"/{tvsctld,tvsctl}{/bin,} 2>/dev/null || true
  while [[ $dir == /*/* ]] && rmdir "$dir" 2>/dev/null; do dir=${dir%/*}; done
}

do_install() {
  local before program file place shells=(bash zsh fish) i work
  # The rest cannot be judged without.
  ((EUID == 0)) || fail "must be root: run it with sudo"
  check
  if ((${#missing[@]})); then
    echo "install.sh: cannot install, this is missing:" >&2
    printf '  - %s\n' "${missing[@]}" >&2
    exit 1
  fi
  before=$(installed_prefix)
  prefix=${prefix:-${before:-$default_prefix}}
  work=$(mktemp -d)
  # shellcheck disable=SC2064 # work is local
  trap "rm -rf '$work'" EXIT

  for program in "${!links[@]}"; do
    put 755 "$source/bin/$program" "$prefix/$program/bin/$program"
    install -d "${links[$program]%/*}"
    ln -sfn "$prefix/$program/bin/$program" "${links[$program]}"
  done
  for i in "${!shells[@]}"; do
    if "${links[tvsctl]}" completion "${shells[i]}" >"$work/completion" 2>/dev/null; then
      put 644 "$work/completion" "$share/${completions[i]}"
    fi
  done
  for file in "${pages[@]}"; do
    put 644 "$source/docs/man/$file" "$share/man/man${file##*.}/$file"
  done
  echo "installed programs in $prefix, linked ${links[tvsctl]} and ${links[tvsctld]}"

  for file in "${files[@]}"; do
    place=$(destination "$file")
    [[ $file != *.rules || -d $rules_dir ]] || continue # no polkit
    sed "s|$default_prefix/|$prefix/|" "$file" >"$work/file"
    put 644 "$work/file" "$place"
    case $file in
      *.sysusers) systemd-sysusers "$place" ;;
      *.tmpfiles) systemd-tmpfiles --create "$place" ;;
    esac
  done
  systemd-tmpfiles --create --prefix=/run/tvs # what sites have their nginx start with
  [[ -e $policy ]] || put 644 "$source/policy/default.toml" "$policy"
  journalctl --update-catalog
  systemctl daemon-reload
  systemctl --quiet enable "${enabled[@]}"
  # The socket stays open throughout: who connects meanwhile waits for the new daemon.
  systemctl start tvsctld.socket
  systemctl try-restart tvsctld.service
  if [[ $before && $before != "$prefix" ]]; then
    remove_programs "$before"
    echo "removed the programs in $before"
  fi
  echo "enabled ${enabled[*]}; /run/tvsctld.sock is open for root and group tvs"
  notes
  if [[ ! $before ]]; then
    echo "next: usermod -aG tvs USER lets a user in; tvsctl --help"
  fi
}

do_uninstall() {
  local program file place left
  ((EUID == 0)) || fail "must be root: run it with sudo"
  prefix=${prefix:-$(installed_prefix)}
  if [[ -d /run/systemd/system && -e $unit_dir/tvsctld.socket ]]; then
    systemctl --quiet disable "${enabled[@]}"
    systemctl stop "${units[@]/@./@*.}" # instances of a template are a pattern
  fi
  for file in "${files[@]}"; do
    place=$(destination "$file")
    rm -f "$place"
  done
  rm -f "$rules_dir/60-tvsctld.rules" # which tvsctld-polkit.service wrote
  # systemd does not bring these.
  rmdir /etc/sysusers.d /etc/systemd/system-preset /usr/local/lib/systemd{/catalog,} 2>/dev/null || true
  if [[ -d /run/systemd/system ]]; then
    journalctl --update-catalog
    systemctl daemon-reload
    systemctl reset-failed "${units[@]/@./@*.}" 2>/dev/null || true
  fi
  remove_programs "${prefix:-$default_prefix}"
  # A link that leads elsewhere is not ours.
  for program in "${!links[@]}"; do
    if [[ $(readlink "${links[$program]}") == */"$program/bin/$program" ]]; then rm -f "${links[$program]}"; fi
  done
  for file in "${completions[@]}"; do
    rm -f "$share/$file"
    (cd "$share" && rmdir -p "${file%/*}" 2>/dev/null) || true
  done
  for file in "${pages[@]}"; do
    rm -f "$share/man/man${file##*.}/$file"
    rmdir "$share/man/man${file##*.}" 2>/dev/null || true
  done
  rm -f /run/tvsctld.sock
  find /run/tvs -mindepth 1 -maxdepth 1 ! -name upstreams -exec rm -rf {} + 2>/dev/null || true
  # A host's nginx may include what is there: it starts with that and is reloaded with it.
  rmdir /run/tvs/upstreams /run/tvs 2>/dev/null || chown -R root:root /run/tvs 2>/dev/null || true
  # The policy as shipped is ours; a changed one is the administrator's.
  if cmp -s "$source/policy/default.toml" "$policy"; then rm -f "$policy"; fi
  rmdir /etc/tvsctld/projects /etc/tvsctld/policy.d /etc/tvsctld 2>/dev/null || true
  # systemd-sysusers removes nobody.
  if getent passwd tvsctld >/dev/null; then userdel tvsctld; fi
  if getent group tvs >/dev/null; then
    groupdel tvs || echo "note: group tvs stays: it is the primary group of a user"
  fi
  echo "removed tvsctld and tvsctl"
  for left in /run/tvs/upstreams /var/lib/tvsctld /etc/tvsctld /etc/default/tvsctld "$unit_dir"/tvsctld.{socket,service}.d; do
    [[ ! -e $left ]] || echo "left in place: $left"
  done
}

if [[ $uninstall ]]; then do_uninstall; else do_install; fi
