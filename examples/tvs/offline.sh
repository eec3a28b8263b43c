#!/usr/bin/env bash
# Makes the example's images without a registry: entry from this machine's nginx
# package, webapp and storage from the programs that `make examples` built (in $BIN,
# by default bin/examples of the checkout).
#
#   offline.sh [entry|webapp|storage]...
#
# entry can also be made from another root tree, under another name:
#   NGINX_ROOT=/some/tree IMAGE=entry-new offline.sh entry
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
bin=${BIN:-$here/../../bin/examples}

# import DIR IMAGE INSTRUCTION...
import() {
  local dir=$1 image=$2 instruction changes=()
  shift 2
  for instruction in "$@"; do changes+=(--change "$instruction"); done
  tar -C "$dir" -c . | docker import "${changes[@]}" - "$image" >/dev/null
  echo "made image $image"
}

# entry DIR IMAGE: what the official nginx image has, as far as the example needs it.
entry() {
  local dir=$1 image=$2 root=${NGINX_ROOT:-/} file
  [[ -x $root/usr/sbin/nginx ]] || {
    echo "offline.sh: there is no nginx in $root: apt-get install nginx-light" >&2
    exit 1
  }
  mkdir -p "$dir"/{bin,usr/sbin,dev,proc,run,tmp,var/log/nginx,var/cache/nginx,var/lib/nginx,etc/nginx/upstreams}
  chmod 1777 "$dir/tmp"
  (
    cd "$root"
    # nginx, its libraries and the loader, at their own places.
    while read -r file; do cp -L --parents ".$file" "$dir"; done < <(
      echo /usr/sbin/nginx
      chroot . ldd /usr/sbin/nginx | grep -o '/[^ ]*'
    )
    cp ./etc/nginx/mime.types "$dir/etc/nginx/"
    # The C library loads these by name, where they are not part of it.
    for file in lib/*/libnss_{files,dns}.so.2; do
      [[ ! -e $file ]] || cp -L --parents "./$file" "$dir"
    done
  )
  cp /bin/busybox "$dir/bin/"
  chroot "$dir" /bin/busybox --install -s /bin
  printf 'root:x:0:0::/root:/bin/sh\nnginx:x:101:101::/nonexistent:/bin/false\n' >"$dir/etc/passwd"
  printf 'root:x:0:\nnginx:x:101:\n' >"$dir/etc/group"
  echo 'hosts: files dns' >"$dir/etc/nsswitch.conf"
  ln -s /dev/stdout "$dir/var/log/nginx/access.log"
  ln -s /dev/stderr "$dir/var/log/nginx/error.log"
  cp "$here/entry/nginx.conf" "$dir/etc/nginx/"
  cp -r "$here/entry/docker-entrypoint.d" "$dir/"
  cat >"$dir/docker-entrypoint.sh" <<'SCRIPT'
#!/bin/sh
set -eu
for script in /docker-entrypoint.d/*.sh; do "$script"; done
exec "$@"
SCRIPT
  chmod +x "$dir/docker-entrypoint.sh"
  import "$dir" "$image" 'ENTRYPOINT ["/docker-entrypoint.sh"]' 'CMD ["nginx", "-g", "daemon off;"]' \
    'ENV PATH=/usr/sbin:/bin' 'EXPOSE 80'
}

program() {
  [[ -x $bin/$1 ]] || {
    echo "offline.sh: $bin/$1 is missing: make examples" >&2
    exit 1
  }
  cp "$bin/$1" "$2/"
}

webapp() {
  program webapp "$1"
  import "$1" "$2" 'ENTRYPOINT ["/webapp"]' 'USER 65534:65534' 'EXPOSE 8080'
}

storage() {
  program storage "$1"
  # The volume takes its owner over from the image.
  mkdir "$1/data"
  chown 65534:65534 "$1/data"
  import "$1" "$2" 'ENTRYPOINT ["/storage", "/data"]' 'USER 65534:65534' 'EXPOSE 9200' 'VOLUME /data'
}

((EUID == 0)) || {
  echo "offline.sh: must be root: sudo $0 $*" >&2
  exit 1
}
(($#)) || set -- entry webapp storage
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for part in "$@"; do
  case $part in
    entry | webapp | storage) ;;
    *)
      echo "usage: offline.sh [entry|webapp|storage]..." >&2
      exit 2
      ;;
  esac
  mkdir "$work/$part"
  chmod 755 "$work/$part"
  "$part" "$work/$part" "${IMAGE:-tvs-$part}"
done
