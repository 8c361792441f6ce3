#!/bin/sh
# Starts the agent. `run` has it supervised: this process stays, starts the release that is to run, and another when that one gives way (status 75) or
# fails on trial. Which one is decided by the installed package alone, so that no release can keep an earlier one from coming back.
here=$(dirname "$(readlink -f "$0")")
main=@main@
launch=$(dirname "$main")/release/launch-main.js

# Ends with this process, should that be killed: two agents must not be.
tied() {
  if command -v setpriv >/dev/null; then exec setpriv --pdeathsig TERM "$@"; else exec "$@"; fi
}

supervise() {
  child='' stopping='' ended=''
  trap 'stopping=yes; [ -z "$child" ] || kill -TERM "$child" 2>/dev/null' TERM
  trap 'stopping=yes; [ -z "$child" ] || kill -INT "$child" 2>/dev/null' INT
  while :; do
    choice=$(@node@ "$launch" choose "$ended" "$@") || exit
    [ -z "$stopping" ] || exit 0
    release=${choice%% *} choice=${choice#* }
    seconds=${choice%% *} program=${choice#* }
    (
      export VIRT8RA_AGENT_RELEASE="$release"
      tied "$program" "$@"
    ) &
    child=$!
    [ -z "$stopping" ] || kill -TERM "$child" 2>/dev/null
    watcher=''
    if [ "$seconds" -gt 0 ]; then
      @node@ "$launch" watch "$child" "$@" &
      watcher=$!
    fi
    wait "$child"
    status=$?
    while kill -0 "$child" 2>/dev/null; do
      wait "$child"
      status=$?
    done
    child=''
    [ -z "$watcher" ] || kill "$watcher" 2>/dev/null
    [ -z "$stopping" ] || exit "$status"
    if [ "$status" = 75 ]; then
      ended=''
      continue
    fi
    # Whatever a release on trial ends with, and be it for good, another start is due: its own, or that of the one before it.
    @node@ "$launch" trial "$@" || exit "$status"
    ended="status $status"
    sleep 1
  done
}

command=''
for word; do
  [ "$word" != run ] || command=run
done
if [ "$command" = run ] && [ -z "${VIRT8RA_AGENT_RELEASE-}" ]; then
  supervise "$@"
fi
exec @node@ "$main" "$@"
