#!/bin/bash
# Tries the Debian packages of this tree under a real systemd: installs them, starts, stops, kills and updates them under a guest that runs, and looks whether it
# still runs.
#
#   tools/systemd-machine.sh [--shell]      (--shell: no trial, a shell in the machine)
#
# As root. The machine is this one's own file system with a layer above it, in namespaces of its own (processes, mounts, name, network, control groups), with
# systemd as its first process; it reaches nothing outside, and all of it is removed in any case. Ends with 0 when everything is as it should be, else with 1.
# Needs systemd, util-linux, what the packages depend on, PostgreSQL of Debian and overlayfs; two minutes.
set -euo pipefail

say() { echo "systemd-machine: $*" >&2; }
fail() { say "$*"; exit 1; }
case ${1-} in
  -h | --help) sed -n '2,/^set /{ /^#/!d; s/^# \{0,1\}//; p }' "$0"; exit ;;
  '' | --shell) ;;
  *) fail "unknown option $1; --help shows what there is" ;;
esac
[ "$(id -u)" = 0 ] || fail 'only root can make a machine'
for tool in unshare nsenter ip dpkg-deb qemu-system-x86_64 genisoimage nft; do
  command -v $tool >/dev/null || fail "$tool is missing"
done
[ -x /usr/lib/systemd/systemd ] || fail 'systemd is missing'

repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
guest=$repository/.cache/guest/guest.qcow2
[ -e "$guest" ] || "$repository/tools/guest/make-guest.sh" >/dev/null
work=$(mktemp -d)
machine=$work/root
first=
clean() {
  trap '' EXIT INT TERM HUP
  if [ -n "$first" ]; then kill -9 "$first" 2>/dev/null || true; fi
  if [ -n "${booted-}" ]; then wait "$booted" 2>/dev/null || true; fi
  rm -rf --one-file-system "$work"
}
trap clean EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

say 'packages'
mkdir -p "$work/share" "$work/upper" "$work/work" "$machine"
node "$repository/tools/package.mjs" --output "$work/share" 2>"$work/log" >&2 || { tail "$work/log" >&2; fail 'the packages could not be made'; }
cp "$guest" "$work/share/guest.qcow2"

boot() { # WORK: makes the machine's root and becomes its systemd
  set -e
  local device path major minor
  mount --make-rprivate /
  mount -t overlay overlay -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" "$1/root"
  cd "$1/root"
  mkdir -p proc sys dev run tmp srv
  mount -t proc proc proc
  mount -t sysfs sysfs sys
  mount -t cgroup2 cgroup2 sys/fs/cgroup
  mount -t tmpfs -o mode=755 tmpfs dev
  mkdir dev/net dev/pts dev/shm
  mount -t devpts -o newinstance,ptmxmode=666,mode=620,gid=5 devpts dev/pts
  mount -t tmpfs -o mode=1777 tmpfs dev/shm
  for device in null:1:3 zero:1:5 full:1:7 random:1:8 urandom:1:9 tty:5:0 net/tun:10:200 kvm:10:232; do
    IFS=: read -r path major minor <<<"$device"
    mknod -m 666 "dev/$path" c "$major" "$minor"
  done
  ln -s pts/ptmx dev/ptmx
  ln -s /proc/self/fd dev/fd
  mount -t tmpfs -o mode=755 tmpfs run
  mount -t tmpfs -o mode=1777 tmpfs tmp
  mount --bind "$1/share" srv
  # What this machine runs is not that one's business.
  rm -rf etc/systemd/system/*.wants etc/fstab var/lib/virt8ra var/lib/virt8ra-agent etc/virt8ra root/.config/virt8ra
  : >etc/machine-id
  echo units >etc/hostname
  printf '127.0.0.1 localhost\n127.0.1.1 units\n' >etc/hosts
  ip link set lo up
  mkdir -p .before
  pivot_root . .before
  umount -l /.before
  exec env -i container=virt8ra PATH=/usr/sbin:/usr/bin:/sbin:/bin TERM=dumb /usr/lib/systemd/systemd --unit=multi-user.target --log-target=journal
}
say 'boot'
# In a control group of its own before it has a namespace of them: what systemd makes there ends with it.
unshare --mount --pid --fork --uts --net --ipc --cgroup --kill-child \
  /bin/bash -c "$(declare -f boot); boot \"\$@\"" systemd-machine "$work" </dev/null >"$work/console" 2>&1 &
booted=$!
for _ in $(seq 100); do
  first=$(cat "/proc/$booted/task/$booted/children" 2>/dev/null | tr -d ' ') && [ -n "$first" ] && grep -q systemd "/proc/$first/comm" 2>/dev/null && break
  sleep 0.1
done
[ -n "$first" ] || { cat "$work/console" >&2; fail 'systemd did not start'; }
inside() { nsenter -t "$first" -m -p -u -n -i -r -w env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root TERM=dumb DEBIAN_FRONTEND=noninteractive "$@"; }
for _ in $(seq 60); do
  state=$(inside systemctl is-system-running 2>/dev/null) || true
  case $state in running | degraded) break ;; esac
  sleep 0.5
done
case $state in running | degraded) say "systemd is $state" ;; *) cat "$work/console" >&2; fail "systemd is ${state:-silent}" ;; esac
if [ "${1-}" = --shell ]; then inside bash; exit; fi

trial() {
  set -euo pipefail
  cd /srv
  ok() { echo "ok: $*"; }
  wrong() { echo "WRONG: $*"; exit 1; }
  until_true() { # SECONDS WHAT COMMAND…
    local left=$1 what=$2
    shift 2
    while ! "$@" >/dev/null 2>&1; do
      left=$((left - 1))
      [ $left -gt 0 ] || wrong "$what never came to be"
      sleep 1
    done
    ok "$what"
  }
  main_of() { systemctl show --property=MainPID --value "$1"; }
  agents() { pgrep -f '^[^ ]*/node [^ ]*agent/dist/main.js run' || true; }
  guest_of() { pgrep -f '^qemu-system.*guest=' | head -1; }
  same_guest() { [ "$(guest_of)" = "$guest" ] || wrong "the guest is not the one that ran before $1"; }
  linked() { virt8ra get host alpha -o json | grep -A1 '"connected"' | grep -q '"value": true'; }
  newly_linked() { [ "$(agents | wc -l)" = 1 ] && [ "$(agents)" != "$before" ] && linked; }

  dpkg -i ./virt8ra-server_*.deb ./virt8ra-agent_*.deb
  ok 'the packages install'
  [ "$(systemctl is-active virt8ra-agent virt8ra-server | sort -u)" = inactive ] || wrong 'something was started that nobody has set up'
  systemctl enable --now virt8ra-server
  until_true 60 'the server is ready' curl -fsS http://127.0.0.1:8480/readyz
  [ "$(ps -o user= -p "$(main_of virt8ra-server)" | tr -d ' ')" = virt8ra ] || wrong 'the server does not run as virt8ra'
  virt8ra login --server http://127.0.0.1:8480 --token-file /var/lib/virt8ra/admin-token --tenant default --workspace main
  virt8ra apply -f - <<'END'
kind: provider
metadata: { name: us }
spec: { displayName: Ourselves, legalSeat: ES }
---
kind: account
metadata: { name: own }
spec: { providerRef: providers/us, driver: agent }
---
kind: site
metadata: { name: home }
spec: { accountRef: accounts/own, country: ES, tier: edge }
---
kind: workspace
metadata: { name: main }
spec: {}
END
  eval "$(virt8ra enrol alpha --site home 2>/dev/null)"
  systemctl enable --now virt8ra-agent
  until_true 60 'the host is linked' linked

  virt8ra image import small --file guest.qcow2 --boot BIOS >/dev/null
  virt8ra apply --wait -f - <<'END'
kind: network
metadata: { name: inner }
spec: { skuRef: skus/n1k, cidr: { ipv4: 10.9.0.0/16 } }
---
kind: subnet
metadata: { name: one, network: inner }
spec: { zone: home, cidr: { ipv4: 10.9.1.0/24 } }
---
kind: nic
metadata: { name: web }
spec: { addresses: [0.0.0.0], subnetRef: networks/inner/subnets/one }
---
kind: block-storage
metadata: { name: web }
spec: { sizeGB: 1, skuRef: skus/rd100, sourceImageRef: images/small }
END
  virt8ra apply -f - <<'END'
kind: instance
metadata: { name: web }
extensions: { virt8ra.power: 'on' }
spec: { zone: home, skuRef: skus/seca.xs, bootVolume: { deviceRef: block-storages/web }, primaryNicRef: nics/web }
END
  virt8ra wait instance web --for activity=running --timeout 120s >/dev/null
  guest=$(guest_of)
  [ -n "$guest" ] || wrong 'no guest runs'
  ip netns list | grep -q . || wrong 'the network has no namespace'
  ok 'a guest runs in a network of its own, under the unit’s restrictions'

  before=$(agents)
  systemctl restart virt8ra-agent
  until_true 30 'the agent is restarted' newly_linked
  same_guest 'the restart'
  before=$(agents)
  kill -9 "$before"
  until_true 30 'a killed agent comes back' newly_linked
  same_guest 'the kill'
  before=$(agents)
  kill -9 "$(main_of virt8ra-agent)"
  until_true 30 'an agent whose launcher is killed ends, and another comes' newly_linked
  same_guest 'the kill of the launcher'
  systemctl stop virt8ra-agent
  [ -z "$(agents)" ] || wrong 'a stopped agent runs on'
  same_guest 'the stop'
  systemctl start virt8ra-agent
  until_true 30 'the agent is started again' linked

  mkdir /tmp/newer
  tar -xzf virt8ra-agent-*.tar.gz -C /tmp/newer
  mv /tmp/newer/virt8ra-agent-* /tmp/newer/virt8ra-agent-9.0.0
  sed -i "s/'[0-9.]*'/'9.0.0'/" /tmp/newer/virt8ra-agent-9.0.0/lib/node_modules/@virt8ra/agent/dist/version.js
  sed -i 's/"version":"[^"]*"/"version":"9.0.0"/' /tmp/newer/virt8ra-agent-9.0.0/RELEASE.json
  tar --sort=name -C /tmp/newer -czf /tmp/newer.tar.gz virt8ra-agent-9.0.0
  launcher=$(main_of virt8ra-agent)
  virt8ra release add /tmp/newer.tar.gz --name newer
  virt8ra update alpha --to 9.0.0 --timeout 120s
  [ "$(main_of virt8ra-agent)" = "$launcher" ] || wrong 'the update restarted the unit'
  [ "$(agents | wc -l)" = 1 ] || wrong 'there are two agents'
  same_guest 'the update'
  ok 'an agent is updated by command, and its unit does not notice'
  systemctl restart virt8ra-agent
  until_true 30 'the unit starts the release that was chosen' linked
  tr '\0' ' ' <"/proc/$(agents)/cmdline" | grep -q /releases/9.0.0- || wrong 'another release was started'

  postgres=$(pgrep -o -u virt8ra postgres)
  kill -9 "$(main_of virt8ra-server)"
  sleep 1
  until_true 60 'a killed server comes back' curl -fsS http://127.0.0.1:8480/readyz
  [ "$(pgrep -o -u virt8ra postgres)" = "$postgres" ] || wrong 'its PostgreSQL was ended with the server'
  until_true 60 'the host is linked again' linked
  for unit in virt8ra-server virt8ra-agent; do
    systemd-analyze security --no-pager $unit.service | tail -1
  done
  if journalctl --no-pager | grep -q eyJ; then wrong 'a token stands in the journal'; fi
  ok 'no token stands in the journal'
  virt8ra-server doctor --config /etc/virt8ra/server.json || wrong 'the doctor of the server finds something'
  virt8ra-agent doctor || wrong 'the doctor of the agent finds something'

  systemctl stop virt8ra-server
  echo '{ "nonsense": 1 }' >/etc/virt8ra/server.json
  systemctl start virt8ra-server || true
  sleep 4
  [ "$(systemctl is-failed virt8ra-server)" = failed ] || wrong 'a server that is set up wrongly is started again and again'
  ok 'a server that is set up wrongly waits for a person'
  dpkg -r virt8ra-agent >/dev/null
  [ -z "$(agents)" ] || wrong 'a removed agent runs on'
  same_guest 'the removal'
  ok 'a removed agent leaves its guest running'
}
say 'trial'
status=0
inside bash -c "$(declare -f trial); trial" || status=$?
if [ $status != 0 ]; then
  inside journalctl --no-pager -n 60 -u virt8ra-agent -u virt8ra-server >&2 || true
  inside systemctl status --no-pager virt8ra-agent virt8ra-server >&2 || true
fi
say "ended with $status after $SECONDS s"
[ $status = 0 ] || exit 1
