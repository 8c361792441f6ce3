#!/bin/bash
# Tries a clone of this repository on a machine that has nothing but Debian, Node and git.
#
#   tools/bare-machine.sh [--user] [COMMAND…]     (default: npm run demo -- --exit --report r.json)
#
# As root. Makes a minimal Debian of this machine's release by debootstrap in a temporary folder, gives it this machine's Node and npm,
# its apt and npm configuration and its certificates, clones the last commit into it, and runs COMMAND in the clone, as root, in
# namespaces of its own: processes, mounts, name, and a network that reaches out through this machine. With --user an ordinary user runs
# it, and root the one line that it was told to have run first.
#
# Ends as COMMAND ended, or with 1 when that left a process behind. Folder, namespaces and packet filter are removed in any case.
# Needs debootstrap, iproute2, nftables; some 1.5 GB in $TMPDIR.
set -euo pipefail

say() { echo "bare-machine: $*" >&2; }
fail() { say "$*"; exit 1; }

as=root
case ${1-} in
  -h | --help) sed -n '2,/^set /{ /^#/!d; s/^# \{0,1\}//; p }' "$0"; exit ;;
  --user) as=user; shift ;;
  -*) fail "unknown option $1; --help shows what there is" ;;
esac
[ $# -gt 0 ] || set -- npm run demo -- --exit --report r.json
[ "$(id -u)" = 0 ] || fail 'only root can make a machine'
for tool in debootstrap ip nft unshare nsenter git node npm; do
  command -v $tool >/dev/null || fail "$tool is missing"
done

repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
release=$(. /etc/os-release && echo "$VERSION_CODENAME")
mirror=$(apt-get indextargets --format '$(RELEASE) $(REPO_URI)' "Created-By: Packages" "Codename: $release" | awk '{ print $2; exit }')
[ -n "$mirror" ] || fail "apt knows no mirror of $release"

name=bare$$
# One network of four addresses for each process number, in a range that no site routes.
third=$(($$ / 64 % 256)) fourth=$(($$ % 64 * 4))
outer=198.18.$third.$((fourth + 1)) inner=198.18.$third.$((fourth + 2))
work=$(mktemp -d)
machine=$work/machine
forwarded=$(cat /proc/sys/net/ipv4/ip_forward)

# The mounts are seen by the machine alone and end with its processes.
clean() {
  trap '' EXIT INT TERM HUP
  if [ -n "${running-}" ]; then kill -9 "$running" 2>/dev/null || true; wait "$running" 2>/dev/null || true; fi
  ip netns delete $name 2>/dev/null || true
  ip link delete $name 2>/dev/null || true
  nft delete table ip $name 2>/dev/null || true
  nft list tables | grep -q 'table ip bare[0-9]' || echo "$forwarded" >/proc/sys/net/ipv4/ip_forward
  rm -rf --one-file-system "$work"
}
trap clean EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

say "Debian $release"
debootstrap --variant=minbase --include=ca-certificates,git "$release" "$machine" "$mirror" >"$work/log" 2>&1 || { tail "$work/log" >&2; fail 'debootstrap failed'; }

# --- what it shares with this machine: Node, npm, how packages are reached
copy() { # FROM TO: when there is such a file
  if [ -e "$1" ]; then mkdir -p "$(dirname "$machine$2")" && cp -aL "$1" "$machine$2"; fi
}
copy "$(node -p process.execPath)" /usr/local/bin/node
copy "$(npm root --global)/npm" /usr/local/lib/node_modules/npm
for program in npm npx; do ln -s ../lib/node_modules/npm/bin/$program-cli.js "$machine/usr/local/bin/$program"; done
copy "$(npm config get userconfig)" /root/.npmrc
copy "$(npm config get globalconfig)" /usr/local/etc/npmrc
rm -r "$machine/etc/apt"
copy /etc/apt /etc/apt
copy /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
copy /etc/resolv.conf /etc/resolv.conf
printf '127.0.0.1 localhost\n127.0.1.1 %s\n::1 localhost\n' $name >"$machine/etc/hosts"
git clone -q --bare "$repository" "$machine/srv/virt8ra.git"
chroot "$machine" git config --system --add safe.directory /srv/virt8ra.git

# --- its network
ip netns add $name
ip link add $name mtu 1400 type veth peer name eth0 mtu 1400 netns $name
ip address add $outer/30 dev $name
ip link set $name up
ip -n $name link set lo up
ip -n $name address add $inner/30 dev eth0
ip -n $name link set eth0 up
ip -n $name route add default via $outer
nft "add table ip $name; add chain ip $name out { type nat hook postrouting priority 100; }; add rule ip $name out ip saddr $inner masquerade"
echo 1 >/proc/sys/net/ipv4/ip_forward

# --- inside
boot() { # MACHINE NAME USER COMMAND…
  set -euo pipefail
  local as=$3 device path major minor
  hostname "$2"
  mount --bind "$1" "$1"
  cd "$1"
  mount -t proc proc proc
  mount -t sysfs sysfs sys
  mount -t tmpfs -o mode=755 tmpfs run
  mount -t tmpfs -o mode=755 tmpfs dev
  mkdir dev/net dev/pts dev/shm .before
  mount -t devpts -o newinstance,ptmxmode=666,mode=620,gid=5 devpts dev/pts
  mount -t tmpfs -o mode=1777 tmpfs dev/shm
  for device in null:1:3 zero:1:5 full:1:7 random:1:8 urandom:1:9 tty:5:0 net/tun:10:200 kvm:10:232; do
    IFS=: read -r path major minor <<<"$device"
    if [ -e "/dev/$path" ]; then mknod -m 666 "dev/$path" c "$major" "$minor"; fi
  done
  ln -s pts/ptmx dev/ptmx
  ln -s /proc/self/fd dev/fd
  pivot_root . .before
  umount -l /.before
  rmdir /.before
  shift 3
  cd /root
  if [ "$as" = user ]; then
    useradd --create-home --shell /bin/bash user
    install -o user -g user -m 600 -t /home/user .npmrc 2>/dev/null || true
    cd /home/user
  fi
  try() { # COMMAND…: as the chosen one
    if [ "$as" = user ]; then setpriv --reuid=user --regid=user --clear-groups env HOME=/home/user USER=user "$@"; else "$@"; fi
  }
  try git clone -q /srv/virt8ra.git virt8ra
  cd virt8ra
  local status=0 told
  try "$@" 2>&1 | tee /run/said || status=$?
  told=$(sed -n 's/^\[.*\] sudo apt-get update && sudo //p' /run/said)
  if [ -n "$told" ]; then
    (apt-get update -q && $told) >/run/said 2>&1 || { tail /run/said; exit 1; }
    status=0
    try "$@" || status=$?
  fi
  sleep 1
  local left=0
  for path in /proc/[0-9]*; do
    if [ "${path#/proc/}" != 1 ] && [ -s "$path/cmdline" ]; then left=1; echo "left behind: $(tr '\0' ' ' <"$path/cmdline")"; fi
  done 2>/dev/null
  [ $status != 0 ] || status=$left
  exit $status
}

say "$* (as $as)"
status=0
nsenter --net=/run/netns/$name unshare --pid --fork --kill-child --mount --uts --ipc env -i TERM=dumb HOME=/root LANG=C.UTF-8 \
  PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin NODE_EXTRA_CA_CERTS=/etc/ssl/certs/ca-certificates.crt \
  /bin/bash -c "$(declare -f boot); boot \"\$@\"" bare-machine "$machine" $name $as "$@" </dev/null &
running=$!
wait $running || status=$?
running=
say "ended with $status after $SECONDS s"
exit $status
