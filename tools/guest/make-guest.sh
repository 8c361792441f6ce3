#!/bin/bash
# Makes the demo guest out of Debian packages: their cloud kernel, their static busybox, and our scripts in root/.
#
#   tools/guest/make-guest.sh [OUT]     (default: .cache/guest in the repository)
#
# Leaves OUT/guest.qcow2 and OUT/guest.json: {image, sha256, bytes, virtualBytes, kernel, recipe}.
# Nothing is done when OUT holds a guest of this recipe and kernel; without the network one of this recipe is good enough.
# Needs no root and mounts nothing. Same packages in, same bytes out.
set -euo pipefail
export LC_ALL=C SOURCE_DATE_EPOCH=1767225600 PATH=$PATH:/usr/sbin:/sbin

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
out=${1:-$here/../../.cache/guest}
mkdir -p "$out"
out=$(cd "$out" && pwd)

say() { echo "make-guest: $*" >&2; }
fail() { say "$*"; exit 1; }

# MiB of the disk: the partition table and its gap, the boot partition, the guest's data.
readonly gap=1 boot=24 data=39 disk=64
mbr=/usr/lib/syslinux/mbr/mbr.bin

for tool in mcopy mkfs.vfat syslinux mke2fs depmod cpio sfdisk qemu-img dpkg-deb apt-get sha256sum; do
  command -v "$tool" >/dev/null || fail "$tool is missing; 'node tools/ensure.mjs guest' says or installs what is needed"
done
[ -r $mbr ] || fail "$mbr is missing; 'node tools/ensure.mjs guest' says or installs what is needed"
[ "$(dpkg --print-architecture)" = amd64 ] || fail 'the demo guest can be made on amd64 only'

# One at a time per folder: the second caller finds the work done.
exec 9>"$out/.lock"
flock 9

recipe=$(cd "$here" && find make-guest.sh root -type f | sort | xargs sha256sum | sha256sum | cut -c1-64)
made() { sed -n "s/^ *\"$1\": *\"\{0,1\}\([^\",]*\).*/\1/p" "$out/guest.json" 2>/dev/null; }
usable() { [ -s "$out/guest.qcow2" ] && [ "$(made recipe)" = "$recipe" ] && [ "$(made bytes)" = "$(stat -c %s "$out/guest.qcow2")" ]; }

# apt, with the machine's package lists, or with lists of our own where those are missing or old and are not ours to renew.
lists=()
apt() { local verb=$1; shift; "apt-$verb" "${lists[@]}" -o DPkg::Lock::Timeout=300 "$@"; }
own_lists() {
  mkdir -p "$out/apt/lists/partial" "$out/apt/cache/archives/partial"
  lists=(-o "Dir::State::Lists=$out/apt/lists" -o "Dir::Cache=$out/apt/cache" -o APT::Sandbox::User=)
  apt get update -qq >&2
}
# To the end of what apt says: one that nobody reads any more dies of it, and the whole with it.
kernel_package() { apt cache depends linux-image-cloud-amd64 2>/dev/null | awk '$1 == "Depends:" && !found++ { print $2 }'; }
candidate() { apt cache policy "$1" 2>/dev/null | awk '$1 == "Candidate:" && !found++ { print $2 }'; }

package=$(kernel_package) || package=
if [ -z "$package" ] && own_lists; then package=$(kernel_package) || package=; fi
kernel=${package:+$(candidate "$package")}
if usable && { [ -z "$kernel" ] || [ "$(made kernel)" = "$kernel" ]; }; then
  say "$out/guest.qcow2 is up to date"
  exit 0
fi
[ -n "$package" ] || fail 'apt knows no package linux-image-cloud-amd64'

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# --- the packages, unpacked beside the system
download() { (cd "$work" && rm -f -- *.deb && apt get download -qq -o APT::Sandbox::User= "$package" busybox-static >&2); }
if ! download && ! { own_lists && package=$(kernel_package) && kernel=$(candidate "$package") && download; }; then
  usable || fail 'the packages cannot be downloaded'
  say "the packages cannot be downloaded; $out/guest.qcow2 of kernel $(made kernel) is used"
  exit 0
fi
say "kernel $kernel"
for file in "$work"/*.deb; do dpkg-deb -x "$file" "$work/debian"; done
release=$(ls "$work/debian/lib/modules")
modules=$work/debian/lib/modules/$release
depmod -b "$work/debian" "$release"

# --- initial RAM disk, which is the guest's whole system
root=$work/root
mkdir -p "$root"/{bin,dev,proc,sys,run,data,etc} "$root/lib/modules/$release"
cp -r "$here/root/." "$root/"
cp "$work/debian/bin/busybox" "$root/bin/busybox"
ln -s busybox "$root/bin/sh"

copy_module() { # NAME: and what it needs
  local file path
  file=$(grep -m1 -E "/${1//[-_]/[-_]}\.ko:" "$modules/modules.dep") || return 0
  for path in $(tr -d : <<<"$file"); do
    mkdir -p "$root/lib/modules/$release/$(dirname "$path")"
    cp "$modules/$path" "$root/lib/modules/$release/$path"
  done
}
for name in virtio_pci virtio_blk virtio_net virtio_rng virtio_console virtio_balloon virtio_scsi sd_mod sr_mod ata_piix \
  isofs vfat nls_utf8 nls_cp437 nls_ascii nls_iso8859-1 button evdev; do
  copy_module "$name"
done
cp "$modules"/modules.{builtin,builtin.modinfo,order} "$root/lib/modules/$release/"
depmod -b "$root" "$release"
rm -f "$root/lib/modules/$release"/modules.*.bin

chmod -R u=rwX,go=rX "$root"
find "$root" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
(cd "$root" && find . | sort | cpio -o -H newc --quiet --reproducible -R 0:0) >"$work/initrd"

# --- disk: boot sector, FAT with syslinux, ext4
image=$work/disk
truncate -s $((gap + boot))M "$image"
# The number of hidden sectors tells the boot sector where its partition begins.
mkfs.vfat --invariant -F 16 -n GUESTBOOT -h $((gap * 2048)) --offset $((gap * 2048)) "$image" >/dev/null
truncate -s ${disk}M "$image"
printf 'label: dos\nlabel-id: 0x76697274\nstart=%d, size=%d, type=e, bootable\nstart=%d, size=%d, type=83\n' \
  $((gap * 2048)) $((boot * 2048)) $(((gap + boot) * 2048)) $((data * 2048)) | sfdisk -q "$image"
dd if=$mbr of="$image" bs=440 count=1 conv=notrunc status=none

cat >"$work/syslinux.cfg" <<CONFIG
DEFAULT guest
PROMPT 0
LABEL guest
  KERNEL kernel
  INITRD initrd
  APPEND $(paste -sd ' ' <<'WORDS'
console=ttyS0,115200 quiet panic=10
nokaslr mitigations=off random.trust_cpu=on audit=0 tsc=reliable no_timer_check rcupdate.rcu_expedited=1
i8042.noaux i8042.nokbd i8042.nopnp 8250.nr_uarts=1
WORDS
)
CONFIG
cp "$work/debian/boot/vmlinuz-$release" "$work/kernel"
touch -d "@$SOURCE_DATE_EPOCH" "$work"/{kernel,initrd,syslinux.cfg}
for name in kernel initrd syslinux.cfg; do mcopy -m -i "$image@@${gap}M" "$work/$name" "::$name"; done
syslinux --offset $((gap * 1024 * 1024)) --install "$image"

export E2FSPROGS_FAKE_TIME=$SOURCE_DATE_EPOCH
uuid=76697274-3872-6100-8000-000000000001
mke2fs -q -F -t ext4 -L guestdata -U $uuid -O ^metadata_csum -m 0 -N 256 \
  -E "hash_seed=$uuid,lazy_itable_init=0,lazy_journal_init=0,offset=$(((gap + boot) * 1024 * 1024))" "$image" ${data}M

qemu-img convert -c -f raw -O qcow2 "$image" "$out/guest.qcow2.new"
rm -f "$out/guest.json"
mv "$out/guest.qcow2.new" "$out/guest.qcow2"
cat >"$out/guest.json" <<JSON
{
  "image": "guest.qcow2",
  "sha256": "$(sha256sum <"$out/guest.qcow2" | cut -c1-64)",
  "bytes": $(stat -c %s "$out/guest.qcow2"),
  "virtualBytes": $((disk * 1024 * 1024)),
  "kernel": "$kernel",
  "recipe": "$recipe"
}
JSON
say "$out/guest.qcow2: $(made bytes) bytes, initial RAM disk $(stat -c %s "$work/initrd") bytes, ${SECONDS} s"
