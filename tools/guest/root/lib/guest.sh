# Functions shared by the guest's scripts. Sourced, never run.

say() { echo "guest: $*" >/dev/console; }

# Times of the stages of the boot, for whoever wants to make it faster: /run/guest/marks.
mark() { echo "$(cut -d' ' -f1 /proc/uptime) $1" >>/run/guest/marks; }

option() { # NAME DEFAULT: a word NAME=… of the kernel's command line
  for word in $(cat /proc/cmdline); do
    case $word in "$1"=*) echo "${word#*=}"; return ;; esac
  done
  echo "$2"
}

load() { for module; do modprobe -q "$module"; done; }

load_present() { # drivers for what the buses of this machine announce, save slow disk controllers, which only a seed can need
  cat /sys/bus/pci/devices/*/modalias /sys/bus/virtio/devices/*/modalias /sys/bus/acpi/devices/*/modalias 2>/dev/null | sort -u |
    grep -v -e 'bc01sc0[16]' | while read -r alias; do modprobe -q "$alias"; done
  load evdev
}

first_line() { # FILE DEFAULT
  line=
  [ -r "$1" ] && read -r line <"$1"
  echo "${line:-$2}"
}

write_synced() { # FILE TEXT: after a crash the file holds the old text or the new one, never less
  echo "$2" >"$1.new" && sync && mv "$1.new" "$1" && sync
}

find_label() { # LABEL TRIES: the block device of that label, looked for every 0.1 s
  tries=$2
  while ! findfs "LABEL=$1" 2>/dev/null; do
    tries=$((tries - 1))
    [ "$tries" -gt 0 ] || return 1
    usleep 100000
  done
}

find_seed() { for label in cidata CIDATA; do findfs "LABEL=$label" 2>/dev/null && return; done; return 1; }

read_seed() { # copies a NoCloud seed to /run/seed and flattens its YAML
  if ! device=$(find_seed); then
    # Not on a virtio disk: CD-ROM drives and SCSI disks, whose controllers are slow to probe. (This kernel has no AHCI.)
    load virtio_scsi ata_piix sr_mod sd_mod
    tries=20
    until device=$(find_seed); do
      tries=$((tries - 1))
      [ "$tries" -gt 0 ] && ls /sys/class/scsi_host/* >/dev/null 2>&1 || { say "no seed"; return; }
      usleep 100000
    done
  fi
  load isofs nls_utf8 vfat nls_cp437 nls_ascii nls_iso8859-1
  mount -t iso9660 -o ro "$device" /run/mnt 2>/dev/null || mount -t vfat -o ro "$device" /run/mnt || { say "seed cannot be read"; return; }
  for file in meta-data user-data network-config; do [ -f "/run/mnt/$file" ] && cp "/run/mnt/$file" /run/seed/; done
  umount /run/mnt
  for file in meta-data network-config; do flatten "$file"; done
  case $(head -n 1 /run/seed/user-data 2>/dev/null) in '#cloud-config'*) flatten user-data ;; esac
}

flatten() { [ -s "/run/seed/$1" ] && awk -f /lib/flatten.awk "/run/seed/$1" >"/run/seed/$1.flat"; }

seed() { # FILE PATH: the value at that path, nothing and failure when it is not there
  [ -r "/run/seed/$1.flat" ] || return 1
  value=$(awk -F '\t' -v path="$2" '$1 == path { print $2; exit }' "/run/seed/$1.flat")
  [ -n "$value" ] && printf '%b\n' "$value"
}

run_user_data() {
  [ -s /run/seed/user-data ] || return
  case $(head -n 1 /run/seed/user-data) in
    '#!'*)
      # Whatever interpreter it names, there is only this one.
      sh /run/seed/user-data >/run/guest/user-data.log 2>&1
      ;;
    '#cloud-config'*)
      awk -f /lib/runcmd.awk /run/seed/user-data.flat >/run/guest/runcmd
      sh /run/guest/runcmd >/run/guest/user-data.log 2>&1
      ;;
    *) return ;;
  esac
  say "user data ended with $?"
}

addresses() { ip -o addr show scope global | awk '{ print $4 }'; }

wait_addresses() { # until each address asked for by DHCP has come, at most 5 s
  tries=50
  while [ "$tries" -gt 0 ] && [ -n "$(ls /run/guest/dhcp 2>/dev/null)" ]; do
    tries=$((tries - 1))
    usleep 100000
  done
}

announce() { # NIC CIDR: neighbours that knew this address elsewhere learn where it is now
  case $2 in *:*) return ;; esac
  arping -q -A -c 2 -I "$1" "${2%/*}" &
}

resolver() { for server; do grep -qx "nameserver $server" /etc/resolv.conf 2>/dev/null || echo "nameserver $server" >>/etc/resolv.conf; done; }
