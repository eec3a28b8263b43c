# Runs beside an nginx, as: sh -c "$(cat control.sh)". It reads VERB ARGUMENT... from
# its input: how many there are, then each as its number of lines and the lines.
# POSIX sh; of programs it needs nginx, mv, cp, rm and sleep. Container.outcome
# says what the exit statuses mean.
set -u

# scan sets serving and leaving to the ids of the workers. nginx names them in
# their titles (src/os/unix/ngx_process_cycle.c).
scan() {
  serving='' leaving=''
  for entry in /proc/[0-9]*; do
    title=
    { read -r title <"$entry/cmdline"; } 2>/dev/null
    case $title in
    'nginx: worker process is shutting down'*) leaving="$leaving ${entry#/proc/}" ;;
    'nginx: worker process'*) serving="$serving ${entry#/proc/}" ;;
    esac
  done
}

tick() {
  ticks=$((ticks - 1))
  [ "$ticks" -gt 0 ] || return 1
  sleep 0.01 2>/dev/null || sleep 1
}

# restore puts the files back that publish replaced.
restore() {
  for name in $names; do
    if [ -e ".$name.before" ]; then mv -f ".$name.before" "$name"; else rm -f "$name"; fi
  done
}

# await_workers returns when nginx serves. While it starts, its start script may
# still write files, and a signal to reload would end it.
await_workers() {
  scan
  while [ -z "$serving" ]; do
    tick || exit 25
    scan
  done
}

facts() {
  ticks=$1
  await_workers
  nginx -v 2>&1
  nginx -T 2>&1 || exit 22
}

publish() {
  ticks=$1 dir=$2 names=''
  shift 2
  await_workers
  if [ $# -gt 0 ]; then
    cd "$dir" 2>/dev/null || exit 20
  fi
  while [ $# -gt 0 ]; do
    rm -f ".$1.before"
    if [ -e "$1" ]; then cp -p "$1" ".$1.before" || exit 21; fi
    names="$names $1"
    { printf '%s\n' "$2" >".$1.new" && mv -f ".$1.new" "$1"; } || { restore; exit 21; }
    shift 2
  done
  complaint=$(nginx -t 2>&1) || { restore; printf '%s\n' "$complaint"; exit 22; }
  # As late as can be: somebody else's reload may have come meanwhile.
  scan
  before=$serving
  # What nginx -s reload does once it has read the configuration again.
  if ! { read -r _ _ _ master _ <"/proc/${before##* }/stat" && kill -HUP "$master"; }; then
    restore
    exit 23
  fi
  until taken; do
    # It may yet come to it: let that be the configuration of before.
    tick || { restore; kill -HUP "$master"; exit 24; }
  done
  for name in $names; do rm -f ".$name.before"; done
}

# taken succeeds when new workers serve and none of those before does.
taken() {
  scan
  [ -n "$serving" ] || return 1
  for old in $before; do
    case " $serving " in *" $old "*) return 1 ;; esac
  done
}

writable() {
  cd "$1" 2>/dev/null || exit 20
  (: >.tvsctl && rm -f .tvsctl) 2>/dev/null || exit 21
}

drain() {
  ticks=$1
  scan
  while [ -n "$leaving" ]; do
    tick || exit 26
    scan
  done
}

newline='
'
read -r count || exit 0 # not needed after all
set --
while [ "$count" -gt 0 ]; do
  read -r lines
  text=
  while [ "$lines" -gt 0 ]; do
    IFS= read -r line
    text=$text$line$newline
    lines=$((lines - 1))
  done
  set -- "$@" "${text%"$newline"}"
  count=$((count - 1))
done

case $1 in
facts | publish | drain | writable) "$@" ;;
test) nginx -t 2>&1 ;;
esac
