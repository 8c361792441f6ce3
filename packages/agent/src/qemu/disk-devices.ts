import { createHash } from 'node:crypto';
import { type DiskDriver, diskFileNode } from '../disk/disk-driver.js';
import { pciAddress } from './pci-address.js';

/** One disk of a guest: the files of its volume, newest on top. */
export interface GuestDisk {
  readonly volumeKey: string;
  readonly base: string;
  /** What these are; absent: files. */
  readonly driver?: DiskDriver;
  /** Takes the writes while `base` stays frozen. */
  readonly overlay?: string;
  /** A file that takes the writes for as long as this process runs; `base` is read though somebody else has it open. */
  readonly thrownAway?: string;
  /** A live move fills `base` before anything runs; the overlay is put above it then. */
  readonly incoming?: boolean;
}

/** Name of the block node that is the disk at a place when it comes; `…-base` is the frozen file below an overlay. */
export function diskNode(place: number): string {
  return `disk${place}`;
}

/** Name of the device of the disk at a place. */
export function diskDevice(place: number): string {
  return `vd${place}`;
}

const portsMost = 64;
/** Free places that a guest has at least when it starts. */
const sparePorts = 4;

/** How many places for disks besides the boot disk a guest has that starts with so many disks: they cannot be added while it runs. */
export function diskPortCount(disks: number): number {
  return Math.min(Math.ceil((Math.max(disks - 1, 0) + sparePorts) / 8) * 8, portsMost);
}

/** Values of `-device` that make the places. */
export function diskPorts(disks: number): string[] {
  return Array.from(
    { length: diskPortCount(disks) },
    (_, index) => `pcie-root-port,id=${portOf(index + 1)},chassis=${index + 1},${pciAddress('port', index)}`,
  );
}

function portOf(place: number): string {
  return `port${place}`;
}

/** Block nodes of a disk, lowest first; the last one is what the device uses. */
export function diskNodesAt(disk: GuestDisk, place: number): readonly object[] {
  const node = diskNode(place);
  const file = (filename: string) => ({ ...diskFileNode(disk.driver ?? 'file', filename), discard: 'unmap' });
  const top = { 'node-name': node, driver: 'qcow2', discard: 'unmap', 'detect-zeroes': 'unmap' };
  if (disk.incoming === true) {
    // Named as it will be once the overlay is there.
    return [
      { 'node-name': `${node}-base-file`, ...file(disk.base), 'auto-read-only': true },
      { ...top, 'node-name': `${node}-base`, file: `${node}-base-file`, backing: null },
    ];
  }
  if (disk.thrownAway !== undefined) {
    return [
      { 'node-name': `${node}-base-file`, ...file(disk.base), 'read-only': true, locking: 'off' },
      { 'node-name': `${node}-base`, driver: 'qcow2', file: `${node}-base-file`, backing: null, 'read-only': true },
      { 'node-name': `${node}-file`, ...diskFileNode('file', disk.thrownAway), discard: 'unmap' },
      { ...top, file: `${node}-file`, backing: `${node}-base` },
    ];
  }
  if (disk.overlay === undefined) {
    return [
      { 'node-name': `${node}-file`, ...file(disk.base) },
      { ...top, file: `${node}-file`, backing: null },
    ];
  }
  return [
    { 'node-name': `${node}-base-file`, ...file(disk.base), 'auto-read-only': true },
    { 'node-name': `${node}-base`, driver: 'qcow2', file: `${node}-base-file`, backing: null, 'read-only': true, discard: 'unmap' },
    { 'node-name': `${node}-file`, ...file(disk.overlay) },
    { ...top, file: `${node}-file`, backing: `${node}-base` },
  ];
}

/** Names of all nodes that a disk at a place may have, those that use others first. */
export function diskNodeNames(place: number): readonly string[] {
  const node = diskNode(place);
  return [node, `${node}-file`, `${node}-base`, `${node}-base-file`];
}

/** The device of a disk as QEMU is asked for it: the boot disk on the bus, every other behind its port. */
export function diskDeviceAt({ volumeKey, incoming }: GuestDisk, place: number): Readonly<Record<string, string | number | boolean>> {
  const serial = createHash('sha256').update(volumeKey).digest('hex').slice(0, 20);
  return {
    driver: 'virtio-blk-pci',
    id: diskDevice(place),
    drive: incoming === true ? `${diskNode(place)}-base` : diskNode(place),
    // A full disk of the host stops the guest until there is room; whatever else breaks, the guest is told.
    werror: 'enospc',
    rerror: 'report',
    discard: true,
    serial,
    ...(place === 0 ? { bootindex: 0, addr: '0x6.0x0' } : { bus: portOf(place), addr: '0x0' }),
  };
}

/** The same as a value of `-device`. */
export function deviceOptions({ driver, ...properties }: Readonly<Record<string, string | number | boolean>>): string {
  const options = Object.entries(properties).map(([name, value]) => `${name}=${value === true ? 'on' : value === false ? 'off' : value}`);
  return [driver, ...options].join(',');
}
