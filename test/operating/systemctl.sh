#!/bin/bash
# Plays systemctl where no systemd runs: starts and stops the main process of a unit as the unit says, and kills nothing else of it.
set -eu
verb=$1; shift
now=
names=()
for word in "$@"; do case $word in --now) now=1 ;; -*) ;; *) names+=("${word%.service}") ;; esac; done
field() { sed -n "s/^$2=//p" "/usr/lib/systemd/system/$1.service" | head -1; }

start() {
  local environment=() file user
  is_active "$1" && return 0
  file=$(field "$1" EnvironmentFile); file=${file#-}
  if [ -n "$file" ] && [ -e "$file" ]; then mapfile -t environment < <(grep -E '^[A-Z]' "$file" || true); fi
  user=$(field "$1" User)
  # The words of ExecStart are plain; that the shell parts them is meant.
  # shellcheck disable=SC2046
  setsid env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/ "${environment[@]}" \
    $([ -z "$user" ] || echo "setpriv --reuid=$user --regid=$user --init-groups") $(field "$1" ExecStart) \
    </dev/null >>"/run/$1.log" 2>&1 &
  echo $! >"/run/$1.pid"
}
is_active() { [ -e "/run/$1.pid" ] && kill -0 "$(cat "/run/$1.pid")" 2>/dev/null; }
stop() {
  is_active "$1" || return 0
  kill "$(cat "/run/$1.pid")"
  while is_active "$1"; do sleep 0.1; done
}

for name in "${names[@]}"; do
  case $verb in
    enable) [ -e "/usr/lib/systemd/system/$name.service" ]; [ -z "$now" ] || start "$name" ;;
    start | stop) $verb "$name" ;;
    restart) stop "$name"; start "$name" ;;
    try-restart) ! is_active "$name" || { stop "$name"; start "$name"; } ;;
    is-active) is_active "$name" ;;
    *) echo "systemctl: $verb is not played here" >&2; exit 1 ;;
  esac
done
