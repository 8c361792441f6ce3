#!/bin/bash
# Runs a command under Debian's own kernel, for what the kernel of this machine lacks: thin pools of LVM, WireGuard, VFIO.
#
#   tools/kernel-machine.sh COMMAND…      (default: the tests of volumes in a thin pool)
#   tools/kernel-machine.sh --shell       (a shell on the console instead)
#
# The machine is emulated (QEMU, TCG), with this machine's file system below a layer in memory: whatever is written there is gone afterwards. It starts in this
# repository, has two processors, 3 GiB of memory, lvm2 with its tools, and no network. Kernel and tools are Debian's
# packages, kept in .cache/kernel-machine. Ends as the command does; with 77, and why, where the packages cannot be had. Minutes, not seconds.
set -euo pipefail
export LC_ALL=C PATH=$PATH:/usr/sbin:/sbin

say() { echo "kernel-machine: $*" >&2; }
fail() { say "$*"; exit 1; }
skip() { say "skipped: $*"; exit 77; }
shell=
case ${1-} in
  -h | --help) sed -n '2,/^set /{ /^#/!d; s/^# \{0,1\}//; p }' "$0"; exit ;;
  --shell) shell=1; shift ;;
  --*) fail "unknown option $1; --help shows what there is" ;;
esac
repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
[ $# -gt 0 ] || set -- node node_modules/vitest/vitest.mjs run --project serial packages/agent/src/storage/thin-pool
readonly minutes=30 packages=(lvm2 thin-provisioning-tools dmeventd libdevmapper-event1.02.1 liblvm2cmd2.03 libaio1 busybox-static)
for tool in qemu-system-x86_64 dpkg-deb apt-get depmod cpio gzip; do
  command -v $tool >/dev/null || fail "$tool is missing; 'node tools/ensure.mjs qemu guest' says or installs what is needed"
done
[ "$(dpkg --print-architecture)" = amd64 ] || skip 'it is made on amd64 only'

# --- kernel and tools, unpacked beside the system; one at a time
cache=$repository/.cache/kernel-machine
mkdir -p "$cache"
exec 9>"$cache/.lock"
flock 9
recipe=$(sha256sum <"${BASH_SOURCE[0]}" | cut -c1-16)
lists=()
apt() { local verb=$1; shift; "apt-$verb" "${lists[@]}" -o DPkg::Lock::Timeout=300 "$@"; }
own_lists() {
  mkdir -p "$cache/apt/lists/partial" "$cache/apt/cache/archives/partial"
  lists=(-o "Dir::State::Lists=$cache/apt/lists" -o "Dir::Cache=$cache/apt/cache" -o APT::Sandbox::User=)
  apt get update -qq >&2
}
download() {
  local image
  image=$(apt cache depends linux-image-amd64 2>/dev/null | awk '$1 == "Depends:" && !found++ { print $2 }')
  [ -n "$image" ] || return 1
  (cd "$cache/new" && rm -f -- *.deb && apt get download -qq -o APT::Sandbox::User= "$image" "${packages[@]}" >&2)
}
if [ "$(cat "$cache/recipe" 2>/dev/null)" != "$recipe" ]; then
  rm -rf "$cache/new" "$cache/recipe"
  mkdir -p "$cache/new/extra/usr"
  download || { own_lists && download; } || skip 'the packages cannot be downloaded'
  for file in "$cache"/new/*.deb; do dpkg-deb -x "$file" "$cache/new/debian"; done
  rm -- "$cache"/new/*.deb
  # bin, sbin and lib are links into usr here: a folder above such a link would hide everything below it.
  for folder in usr bin sbin lib; do
    if [ -d "$cache/new/debian/$folder" ]; then
      target=$cache/new/extra/usr
      [ $folder = usr ] || target+=/$folder
      mkdir -p "$target"
      cp -a "$cache/new/debian/$folder/." "$target/"
    fi
  done
  cp -a "$cache/new/debian/etc" "$cache/new/extra/etc"
  release=$(ls "$cache/new/extra/usr/lib/modules")
  mv "$cache"/new/debian/boot/vmlinuz-* "$cache/new/kernel"
  modules=$cache/new/extra/usr/lib/modules/$release/kernel
  rm -rf "$modules"/sound "$modules"/drivers/{gpu,media,infiniband,staging,iio,scsi,usb,hwmon,input,mtd,isdn,video} "$modules"/drivers/net/{wireless,ethernet,usb,can}
  mkdir "$cache/new/base"
  ln -s ../extra/usr/lib "$cache/new/base/lib"
  depmod -b "$cache/new/base" "$release"
  # No udev here: nodes are made by lvm2 itself, and nobody watches pools.
  cat >"$cache/new/extra/etc/lvm/lvmlocal.conf" <<'CONFIG'
activation { udev_sync = 0 udev_rules = 0 monitoring = 0 }
devices { obtain_device_list_from_udev = 0 }
CONFIG
  # What the first steps need, before the file systems of this machine are there.
  root=$cache/new/root
  mkdir -p "$root"/{bin,dev,proc,sys,host,extra,upper,root} "$root/lib/modules/$release"
  cp "$cache/new/debian/bin/busybox" "$root/bin/busybox"
  for name in virtio_pci virtio_console virtio_rng 9pnet_virtio 9p overlay; do
    for path in $(modprobe -d "$cache/new/base" -S "$release" --show-depends $name 2>/dev/null | awk '$1 == "insmod" { print $2 }'); do
      relative=${path#*"/lib/modules/$release/"}
      mkdir -p "$root/lib/modules/$release/$(dirname "$relative")"
      cp "$cache/new/extra/usr/lib/modules/$release/$relative" "$root/lib/modules/$release/$relative"
      echo "/lib/modules/$release/$relative" >>"$root/modules"
    done
  done
  cat >"$root/init" <<'INIT'
#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin:/sbin HOME=/root TERM=dumb
die() { echo "kernel-machine: $*"; poweroff -f; }
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
for module in $(cat /modules); do insmod "$module" 2>/dev/null; done
share=trans=virtio,version=9p2000.L,msize=524288,cache=loose
mount -t 9p -o $share,ro host /host || die 'no file system of the host'
mount -t 9p -o $share,ro extra /extra || die 'no tools'
mount -t tmpfs -o size=60% tmpfs /upper
mkdir /upper/up /upper/work
mount -t overlay -o lowerdir=/extra:/host,upperdir=/upper/up,workdir=/upper/work overlay /root || die 'no layer'
for folder in proc sys dev; do mount -o move /$folder /root/$folder; done
mkdir -p /root/dev/shm /root/dev/pts
mount -t tmpfs tmpfs /root/dev/shm
mount -t devpts devpts /root/dev/pts
mount -t tmpfs tmpfs /root/run
mount -t tmpfs tmpfs /root/tmp
chmod 1777 /root/tmp /root/dev/shm
mkdir /root/run/machine
mount -t 9p -o trans=virtio,version=9p2000.L,msize=524288,cache=none work /root/run/machine || die 'no way to tell the end'
chroot /root /usr/bin/env -i HOME=/root PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin TERM=dumb /bin/bash /run/machine/begin
sync
poweroff -f
INIT
  chmod 755 "$root/init"
  (cd "$root" && find . | cpio -o -H newc --quiet -R 0:0 | gzip -1) >"$cache/new/initrd"
  rm -rf "$cache/new/debian" "$cache/new/base" "$root"
  rm -rf "$cache/extra"
  mv "$cache/new/extra" "$cache/extra"
  mv "$cache/new/kernel" "$cache/new/initrd" "$cache/"
  echo "$recipe" >"$cache/recipe"
  rm -rf "$cache/new"
  say "kernel $release, ${SECONDS} s"
fi
flock -u 9

# --- the machine
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/share"
command=$(printf '%q ' "$@")
# Not on the console itself: programs would draw on it.
command+='2>&1 </dev/null | cat'
[ -z "$shell" ] || command='bash -i'
cat >"$work/share/begin" <<BEGIN
ip link set lo up
modprobe -a dm_mod dm_thin_pool loop 2>&1
for name in wireguard vfio_pci vxlan bridge veth tun nf_tables; do modprobe -q \$name; done
cd $(printf '%q' "$repository")
$command
echo \${PIPESTATUS[0]} >/run/machine/status
BEGIN
say "boots"
begun=$SECONDS
share() { echo "local,id=$1,path=$2,mount_tag=$1,security_model=none,multidevs=remap$3"; }
timeout --foreground --kill-after=10 "${minutes}m" qemu-system-x86_64 -machine q35 -accel tcg,thread=multi -cpu max -smp 2 -m 3072 \
  -nodefaults -display none -no-reboot -serial stdio -device virtio-rng-pci \
  -kernel "$cache/kernel" -initrd "$cache/initrd" -append 'console=ttyS0 quiet panic=-1 nokaslr mitigations=off random.trust_cpu=on' \
  -virtfs "$(share host / ,readonly=on)" -virtfs "$(share extra "$cache/extra" ,readonly=on)" -virtfs "$(share work "$work/share" '')" \
  9>&- || true
status=$(cat "$work/share/status" 2>/dev/null) || fail "the machine ended before the command did, after $((SECONDS - begun)) s"
say "ended with $status after $((SECONDS - begun)) s"
exit "$status"
