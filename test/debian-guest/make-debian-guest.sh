#!/bin/bash
# Makes a Debian guest as people have them: two disks, the first with MBR, GRUB, a /boot and a root file system on LVM, the second mounted at /data by its device
# name; a static address in netplan by MAC, cloud-init, an SSH host key.
#
#   tools/debian-guest.sh FOLDER      (writes FOLDER/root.qcow2 and FOLDER/data.qcow2)
#
# Needs mmdebstrap, guestfish and qemu-img ('node tools/ensure.mjs debian-guest'). What it makes is kept in ${XDG_CACHE_HOME:-~/.cache}/virt8ra/debian-guest until this
# script changes. Ends with 77 where Debian's packages cannot be had.
set -euo pipefail
export LC_ALL=C PATH=$PATH:/usr/sbin:/sbin
say() { echo "debian-guest: $*" >&2; }
[ $# = 1 ] || { sed -n '2,/^set /{ /^#/!d; s/^# \{0,1\}//; p }' "$0"; exit 2; }
out=$1
cache=${XDG_CACHE_HOME:-$HOME/.cache}/virt8ra/debian-guest
mkdir -p "$cache" "$out"
exec 9>"$cache/.lock"
flock 9
recipe=$(sha256sum <"$0" | cut -c1-16)
if [ "$(cat "$cache/recipe" 2>/dev/null)" != "$recipe" ]; then
  rm -f "$cache/recipe"
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  suite=$(. /etc/os-release && echo "$VERSION_CODENAME")
  packages=systemd-sysv,udev,initramfs-tools,linux-image-cloud-amd64,lvm2,grub-pc-bin,grub2-common,netplan.io,cloud-init,openssh-server,iproute2
  mmdebstrap --mode=root --variant=minbase --include=$packages --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
    --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt=force-unsafe-io --aptopt='Apt::Install-Recommends "false"' --quiet "$suite" "$work/root.tar" >&2 ||
    { say 'skipped: Debian packages cannot be had'; exit 77; }
  mkdir "$work/etc"
  cat >"$work/report" <<'REPORT'
#!/bin/sh
# Says on the serial console who this machine is.
for _ in 1 2 3 4 5 6 7 8 9 10; do ip -br -4 addr | grep -q 10.99. && break; sleep 1; done
{
  echo
  echo "who: machine-id $(cat /etc/machine-id)"
  echo "who: host-key $(ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub | cut -d' ' -f2)"
  echo "who: address $(ip -br -4 addr | grep -v '^lo' | tr -s ' ' | tr '\n' ';')"
  echo "who: data $(cat /data/mark 2>/dev/null)"
  echo "who: cloud-init $(cat /var/lib/cloud/data/instance-id 2>/dev/null) $(cat /run/cloud-init/result.json 2>/dev/null | tr -d '\n ')"
  echo "who: done"
} >/dev/ttyS0
REPORT
  cat >"$work/who.service" <<'UNIT'
[Unit]
After=cloud-final.service multi-user.target
[Service]
Type=oneshot
ExecStart=/usr/local/sbin/who-am-i
[Install]
WantedBy=cloud-init.target
UNIT
  cat >"$work/netplan" <<'NETPLAN'
network:
  version: 2
  ethernets:
    lan:
      match: {macaddress: "52:54:00:99:00:01"}
      addresses: [10.99.0.5/24]
NETPLAN
  cat >"$work/fstab" <<'FSTAB'
# root and /boot as the installer wrote them
/dev/mapper/guest-root / ext4 errors=remount-ro 0 1
/dev/vda1 /boot ext4 defaults 0 2
/dev/vdb1 /data ext4 defaults 0 2
FSTAB
  cat >"$work/cloud" <<'CLOUD'
datasource_list: [ NoCloud, None ]
network: {config: disabled}
CLOUD
  printf 'GRUB_TIMEOUT=0\nGRUB_CMDLINE_LINUX="console=ttyS0 mitigations=off"\nGRUB_TERMINAL=console\n' >"$work/grub"
  qemu-img create -q -f qcow2 "$work/root.qcow2" 3G
  qemu-img create -q -f qcow2 "$work/data.qcow2" 256M
  LIBGUESTFS_BACKEND=direct LIBGUESTFS_BACKEND_SETTINGS=${GUEST_BACKEND-force_tcg} LIBGUESTFS_CACHEDIR=$work LIBGUESTFS_MEMSIZE=1024 \
    guestfish -a "$work/root.qcow2" -a "$work/data.qcow2" >&2 <<FISH
run
part-init /dev/sda mbr
part-add /dev/sda p 2048 526335
part-add /dev/sda p 526336 -2048
part-set-bootable /dev/sda 1 true
mkfs ext4 /dev/sda1
pvcreate /dev/sda2
vgcreate guest /dev/sda2
lvcreate-free root guest 90
mkfs ext4 /dev/guest/root
part-disk /dev/sdb mbr
mkfs ext4 /dev/sdb1
mount /dev/guest/root /
mkdir /boot
mount /dev/sda1 /boot
tar-in $work/root.tar /
mkdir /data
mount /dev/sdb1 /data
write /data/mark "written before the move"
upload $work/fstab /etc/fstab
upload $work/netplan /etc/netplan/10-lan.yaml
upload $work/cloud /etc/cloud/cloud.cfg.d/90-own.cfg
upload $work/grub /etc/default/grub
upload $work/report /usr/local/sbin/who-am-i
chmod 0755 /usr/local/sbin/who-am-i
upload $work/who.service /etc/systemd/system/who-am-i.service
write /etc/hostname "wanderer"
command "systemctl enable who-am-i.service"
command "grub-install --target=i386-pc --no-floppy /dev/sda"
sh "update-grub 2>&1; sed -i 's#root=[^ ]*#root=/dev/mapper/guest-root#' /boot/grub/grub.cfg"
umount-all
FISH
  for name in root data; do qemu-img convert -q -O qcow2 "$work/$name.qcow2" "$cache/$name.qcow2"; done
  echo "$recipe" >"$cache/recipe"
  say "made in $SECONDS s"
fi
for name in root data; do cp --reflink=auto "$cache/$name.qcow2" "$out/$name.qcow2"; done
