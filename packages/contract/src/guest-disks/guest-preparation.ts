import type { GuestChangeCode, GuestEdit, PlannedGuestChange } from './guest-change.js';
import type { GuestDiskFacts } from './guest-disk-facts.js';
import type { GuestTarget } from './guest-target.js';
import { placeNics } from './place-nics.js';

/** Drivers without which a guest does not find its root device on a bus. */
export const driversOf = {
  'virtio-blk': ['virtio_pci', 'virtio_blk'],
  'virtio-scsi': ['virtio_pci', 'virtio_scsi'],
  other: [],
} as const satisfies Record<GuestTarget['diskBus'], readonly string[]>;

const cloudInitFile = '/etc/cloud/cloud.cfg.d/99-virt8ra-identity.cfg';
export const keptMarker = '/var/lib/cloud/instance/manual-clean';
export const consoleUnit = '/etc/systemd/system/getty.target.wants/serial-getty@ttyS0.service';
export const efiFallbackFile = '/boot/efi/EFI/BOOT/BOOTX64.EFI';

/**
 * What has to be changed in the copy of a guest, so that it starts on `target` and is who it was. Made twice it is made once: of a guest that is
 * prepared nothing is left. Nothing at all for a guest that could not be looked into, or is not a Linux.
 */
export function preparation(facts: GuestDiskFacts, target: GuestTarget): readonly PlannedGuestChange[] {
  if (facts.os.family !== 'linux') return [];
  const changes = [
    ...mountsByUuid(facts),
    ...drivers(facts, target),
    ...nics(facts, target),
    ...identity(facts, target),
    ...agents(facts),
    ...console(facts),
    ...fallback(facts, target),
  ];
  if (changes.length === 0 || !facts.selinux) return changes;
  const why = 'SELinux is enforced: the next start labels the files anew, and starts once more';
  return [...changes, change('relabel', '/.autorelabel', why, { type: 'write', content: '' })];
}

function change(code: GuestChangeCode, file: string, why: string, edit: GuestEdit): PlannedGuestChange {
  return { code, file, why, edit };
}

/** Names that depend on the bus, or on the order in which disks are found. */
export function isDeviceName(device: string): boolean {
  return /^\/dev\/(sd[a-z]+|vd[a-z]+|xvd[a-z]+|hd[a-z]+|nvme\d+n\d+|disk\/by-(path|id)\/\S+)p?\d*$/.test(device);
}

function mountsByUuid({ mounts }: GuestDiskFacts): PlannedGuestChange[] {
  const files = [...new Set(mounts.map(({ file }) => file))];
  return files.flatMap((file) => {
    const words = new Map<string, string>();
    for (const { device, uuid, file: own } of mounts)
      if (own === file && uuid !== undefined && isDeviceName(device)) words.set(device, `UUID=${uuid}`);
    if (words.size === 0) return [];
    const names = [...words.keys()].join(', ');
    return [
      change('mounts-by-uuid', file, `${names} may be called otherwise on another machine; the UUID stays`, {
        type: 'replace',
        words: [...words].map(([from, to]) => ({ from, to })),
      }),
    ];
  });
}

/** Drivers that the start of the newest kernel lacks; empty where they are there, or it could not be told. */
export function missingDrivers({ kernel }: GuestDiskFacts, { diskBus }: GuestTarget): readonly string[] {
  const has = kernel?.virtio;
  return has === undefined ? [] : driversOf[diskBus].filter((driver) => !has.includes(driver));
}

function drivers(facts: GuestDiskFacts, target: GuestTarget): PlannedGuestChange[] {
  const missing = missingDrivers(facts, target);
  const { kernel } = facts;
  if (missing.length === 0 || kernel?.builder === undefined || kernel.initramfs === undefined) return [];
  return [
    change('virtio-drivers', kernel.initramfs, `the target's disks are ${target.diskBus}, and ${missing.join(', ')} is not in it`, {
      type: 'initramfs',
      kernel: kernel.version,
      builder: kernel.builder,
      drivers: [...driversOf[target.diskBus], 'virtio_net'],
    }),
  ];
}

function nics(facts: GuestDiskFacts, target: GuestTarget): PlannedGuestChange[] {
  const changes: PlannedGuestChange[] = [];
  const words = new Map<string, Map<string, string>>();
  const replace = (file: string, from: string, to: string): void => {
    words.set(file, (words.get(file) ?? new Map<string, string>()).set(from, to));
  };
  for (const { file, mac } of [...facts.nics, ...facts.pinned]) {
    const nic = target.nics.find(({ was }) => was !== undefined && was === mac?.toLowerCase());
    if (nic !== undefined && mac !== undefined) replace(file, mac, nic.mac);
  }
  for (const [file, pairs] of words) {
    changes.push(
      change('nic-mac', file, `the NIC has another MAC at the target: ${[...pairs].map(([from, to]) => `${from} is ${to}`).join(', ')}`, {
        type: 'replace',
        words: [...pairs].map(([from, to]) => ({ from, to })),
      }),
    );
  }
  for (const { name, mac } of placeNics(facts, target).placed) {
    changes.push(
      change('nic-name', linkFile(name), `files of the guest call this NIC ${name}, and another machine may give it another name`, {
        type: 'write',
        content: `# The NIC keeps its name, whatever its place in the machine.\n[Match]\nMACAddress=${mac}\n\n[Link]\nName=${name}\n`,
      }),
    );
  }
  return changes;
}

export function linkFile(name: string): string {
  return `/etc/systemd/network/10-virt8ra-${name}.link`;
}

/** Whether the target would make cloud-init take the guest for a new one: keys, users and network would be made anew. */
export function losesIdentity({ cloudInit }: GuestDiskFacts, { identity: told }: GuestTarget): boolean {
  if (cloudInit === undefined || cloudInit.disabled || cloudInit.kept || cloudInit.instanceId === undefined) return false;
  return told?.instanceId !== cloudInit.instanceId;
}

function identity(facts: GuestDiskFacts, target: GuestTarget): PlannedGuestChange[] {
  if (!losesIdentity(facts, target)) return [];
  const why = `it stays the instance ${facts.cloudInit?.instanceId}: host keys, users and network are not made anew`;
  return [
    change('cloud-init-identity', cloudInitFile, why, {
      type: 'write',
      content: '# Moved from another machine: it stays who it is.\nmanual_cache_clean: true\nnetwork: {config: disabled}\n',
    }),
    change('cloud-init-identity', keptMarker, why, { type: 'write', content: '' }),
  ];
}

function agents({ agents: found }: GuestDiskFacts): PlannedGuestChange[] {
  return found
    .filter(({ state }) => state === 'enabled')
    .map(({ name, unit }) =>
      change('foreign-agent', `/etc/systemd/system/${unit}`, `${name} serves another provider; disabled, not removed`, {
        type: 'link',
        to: '/dev/null',
      }),
    );
}

function console({ serialConsole }: GuestDiskFacts): PlannedGuestChange[] {
  if (serialConsole) return [];
  return [
    change('serial-console', consoleUnit, 'a login on the serial console, which is what the target shows', {
      type: 'link',
      to: '/lib/systemd/system/serial-getty@.service',
    }),
  ];
}

function fallback({ boot }: GuestDiskFacts, { firmware }: GuestTarget): PlannedGuestChange[] {
  if (firmware === 'bios' || !boot.firmware.includes('uefi') || boot.efiFallback !== false || boot.efiLoader === undefined) return [];
  return [
    change('efi-fallback', efiFallbackFile, "the target's firmware remembers no boot entry of the source", {
      type: 'copy',
      from: boot.efiLoader,
    }),
  ];
}
