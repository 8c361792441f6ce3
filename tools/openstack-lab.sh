#!/bin/bash
# A real OpenStack of Debian's packages on this machine, for the tests of the driver against it: Keystone, Glance, Placement, Nova with QEMU, Neutron.
#
#   tools/openstack-lab.sh [COMMAND…]   starts it, runs COMMAND in its network, stops it (default: the tests against it)
#   tools/openstack-lab.sh --make       only makes what is missing: minutes, once
#   tools/openstack-lab.sh --remove     removes all that it has made
#
# As root, in .cache/openstack-lab: a minimal Debian with the packages, in namespaces of its own (processes, mounts, name, network). Nothing is installed on this
# machine, /etc is left alone, and no port is taken: whoever wants to reach it is in its network. What is in it ends with it. COMMAND finds how to get in in the
# file that OPENSTACK_LAB names. Ends as COMMAND does; with 77, and why, where it cannot run. Takes 2.5 GiB of memory while it runs and some 2 GB of disk.
set -euo pipefail
export LC_ALL=C PATH=$PATH:/usr/sbin:/sbin

say() { echo "openstack-lab: $*" >&2; }
fail() { say "$*"; exit 1; }
skip() { say "skipped: $*"; exit 77; }

repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cache=$repository/.cache/openstack-lab
machine=$cache/machine
only=
case ${1-} in
  -h | --help) sed -n '2,/^set /{ /^#/!d; s/^# \{0,1\}//; p }' "$0"; exit ;;
  --make) only=make ;;
  --remove) only=remove ;;
  --*) fail "unknown option $1; --help shows what there is" ;;
esac
[ "$(id -u)" = 0 ] || skip 'only root can make a machine'
[ "$(dpkg --print-architecture 2>/dev/null)" = amd64 ] || skip 'it is made on Debian for amd64 only'
mkdir -p "$cache"
exec 9>"$cache/.lock"
flock -n 9 || { say 'waiting for another one'; flock 9; }
if [ "$only" = remove ]; then rm -rf --one-file-system "$machine"; exit; fi
for tool in debootstrap ip unshare nsenter; do command -v $tool >/dev/null || skip "$tool is missing"; done

# --- a machine with the packages: libraries rather than services, whose scripts would configure and start things
readonly packages=(python3-keystone python3-glance python3-placement python3-nova python3-neutron python3-pymysql python3-memcache python3-libvirt
  uwsgi-core uwsgi-plugin-python3 mariadb-server rabbitmq-server libvirt-daemon libvirt-daemon-driver-qemu libvirt-clients qemu-system-x86 qemu-utils genisoimage
  iproute2 iptables ebtables ipset bridge-utils conntrack sudo curl procps)
# Their settings of Paste are in packages that want more than is needed.
readonly unpacked=(nova-common glance-common neutron-common)
recipe=$(printf '%s\n' "${packages[@]}" "${unpacked[@]}" | sha256sum | cut -c1-16)
if [ "$(cat "$machine/.recipe" 2>/dev/null)" != "$recipe" ]; then
  release=$(. /etc/os-release && echo "$VERSION_CODENAME")
  mirror=$(apt-get indextargets --format '$(RELEASE) $(REPO_URI)' 'Created-By: Packages' "Codename: $release" | awk '{ print $2; exit }')
  [ -n "$mirror" ] || skip "apt knows no mirror of $release"
  say "installing (minutes; what it says is in $cache/make.log)"
  rm -rf --one-file-system "$machine"
  {
    debootstrap --variant=minbase --include=ca-certificates "$release" "$machine" "$mirror"
    rm -r "$machine/etc/apt"
    cp -aL /etc/apt "$machine/etc/apt"
    cp -L /etc/resolv.conf "$machine/etc/resolv.conf"
    cp -L /etc/ssl/certs/ca-certificates.crt "$machine/etc/ssl/certs/ca-certificates.crt"
    printf '#!/bin/sh\nexit 101\n' >"$machine/usr/sbin/policy-rc.d"
    chmod +x "$machine/usr/sbin/policy-rc.d"
    unshare --mount --pid --fork --kill-child env -i DEBIAN_FRONTEND=noninteractive LC_ALL=C PATH=/usr/sbin:/usr/bin:/sbin:/bin \
      bash -euo pipefail -c '
        machine=$1; unpacked=$2; shift 2
        mount -t proc proc "$machine/proc"
        mount --rbind /dev "$machine/dev"
        chroot "$machine" apt-get -q update
        chroot "$machine" apt-get -q install -y --no-install-recommends -o Dpkg::Options::=--force-unsafe-io "$@"
        chroot "$machine" sh -euc "mkdir -p /opt/paste && cd /tmp && for each in $unpacked; do apt-get -q download \$each; dpkg-deb -x ./\${each}_*.deb /opt/paste; rm ./*.deb; done; apt-get clean"
      ' openstack-lab "$machine" "${unpacked[*]}" "${packages[@]}"
  } >"$cache/make.log" 2>&1 </dev/null || { tail -n 5 "$cache/make.log" >&2; skip 'the packages cannot be had'; }
  echo "$recipe" >"$machine/.recipe"
fi
[ "$only" = make ] && exit
[ $# -gt 0 ] || set -- node node_modules/vitest/vitest.mjs run --project parallel openstack.real

# --- its network: nothing but itself
network=v8os$$
log=$cache/log
mkdir -p "$log"
clean() {
  trap '' EXIT INT TERM HUP
  if [ -n "${running-}" ]; then kill -9 "$running" 2>/dev/null || true; wait "$running" 2>/dev/null || true; fi
  ip netns delete "$network" 2>/dev/null || true
}
trap clean EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
ip netns add "$network"
ip -n "$network" link set lo up

# --- inside
rm -rf --one-file-system "$machine/lab"
cp -r "$repository/tools/openstack-lab" "$machine/lab"
boot() { # MACHINE LOG
  set -euo pipefail
  local device path major minor
  hostname openstack-lab
  mount --bind "$1" "$1"
  cd "$1"
  mkdir -p var/log/lab .before
  mount --bind "$2" var/log/lab
  mount -t proc proc proc
  mount -t sysfs sysfs sys
  mount -t tmpfs -o mode=755 tmpfs run
  mount -t tmpfs -o mode=755 tmpfs dev
  mkdir -p dev/net dev/pts dev/shm run/lock
  mount -t devpts -o newinstance,ptmxmode=666,mode=620,gid=5 devpts dev/pts
  mount -t tmpfs -o mode=1777 tmpfs dev/shm
  for device in null:1:3 zero:1:5 full:1:7 random:1:8 urandom:1:9 tty:5:0 net/tun:10:200; do
    IFS=: read -r path major minor <<<"$device"
    mknod -m 666 "dev/$path" c "$major" "$minor"
  done
  ln -s pts/ptmx dev/ptmx
  ln -s /proc/self/fd dev/fd
  pivot_root . .before
  umount -l /.before
  printf '127.0.0.1 localhost openstack-lab\n' >/etc/hosts
  exec /lab/inside.sh
}
rm -f "$log/access.json"
began=$SECONDS
nsenter --net="/run/netns/$network" unshare --pid --fork --kill-child --mount --uts --ipc env -i HOME=/root LC_ALL=C.UTF-8 \
  PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
  bash -c "$(declare -f boot); boot \"\$@\"" openstack-lab "$machine" "$log" </dev/null >"$log/inside.log" 2>&1 9>&- &
running=$!
until [ -s "$log/access.json" ]; do
  kill -0 "$running" 2>/dev/null || { tail -n 15 "$log/inside.log" >&2; running=; fail "it did not start; its logs are in $log"; }
  [ $((SECONDS - began)) -lt 600 ] || fail "it did not start within ten minutes; its logs are in $log"
  sleep 0.5
done
say "up after $((SECONDS - began)) s"

status=0
cd "$repository"
nsenter --net="/run/netns/$network" env OPENSTACK_LAB="$log/access.json" "$@" 9>&- || status=$?
exit $status
