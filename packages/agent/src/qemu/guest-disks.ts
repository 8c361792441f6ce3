import { Problem, type VolumeLimits } from '@virt8ra/contract';
import { rescueDevice } from './command-line.js';
import { diskDevice, diskDeviceAt, diskNode, diskNodeNames, diskNodesAt, type GuestDisk } from './disk-devices.js';
import type { Guest } from './guest.js';

/** A disk that a guest has at a place. */
export interface PresentDisk {
  /** Block node it is on now. */
  readonly node: string;
  /** The device's own name in QEMU. */
  readonly device: string;
  readonly limits: VolumeLimits;
}

/** The disks that a running guest really has, by place. One that it was asked to let go of stays until it has. */
export async function presentDisks(guest: Guest): Promise<ReadonlyMap<number, PresentDisk>> {
  const answer = (await guest.monitor.run('query-block')) as { qdev?: string; inserted?: Inserted }[];
  const disks = new Map<number, PresentDisk>();
  for (const { qdev, inserted } of answer) {
    const place = /\/vd(\d+)\//.exec(qdev ?? '')?.[1];
    const node = inserted?.['node-name'];
    if (place !== undefined && node !== undefined && qdev !== undefined)
      disks.set(Number(place), { node, device: qdev, limits: limitsFrom(inserted) });
  }
  return disks;
}

/** The file that a guest in rescue booted from. */
export async function rescueFile(guest: Guest): Promise<string | undefined> {
  const answer = (await guest.monitor.run('query-block')) as { qdev?: string; inserted?: { readonly file?: string } }[];
  return answer.find(({ qdev }) => qdev?.includes(`/${rescueDevice}/`) === true)?.inserted?.file;
}

/** The lowest file of each disk that a guest has, is about to get or to lose, by place. */
export async function diskFiles(guest: Guest): Promise<ReadonlyMap<number, string>> {
  const nodes = (await guest.monitor.run('query-named-block-nodes', { flat: true })) as { 'node-name'?: string; file?: string }[];
  const files = new Map<number, string>();
  for (const { 'node-name': name, file } of nodes) {
    const [, place, base] = /^disk(\d+)-(base-)?file$/.exec(name ?? '') ?? [];
    if (place !== undefined && file !== undefined && (base !== undefined || !files.has(Number(place)))) files.set(Number(place), file);
  }
  return files;
}

interface Inserted {
  readonly 'node-name'?: string;
  readonly iops?: number;
  readonly bps?: number;
}

function limitsFrom({ iops = 0, bps = 0 }: Inserted = {}): VolumeLimits {
  return { ...(iops === 0 ? {} : { iops }), ...(bps === 0 ? {} : { bytesPerSecond: bps }) };
}

/** After a rest a guest may do so many times as much, for so many seconds: it boots at the speed of its disk. */
const burst = { times: 8, seconds: 30 } as const;

/** Limits what the guest may ask of a disk from now on. */
export async function limitDisk(
  guest: Guest,
  { device }: Pick<PresentDisk, 'device'>,
  { iops = 0, bytesPerSecond = 0 }: VolumeLimits,
): Promise<void> {
  await guest.monitor.run('block_set_io_throttle', {
    id: device,
    ...{ bps: bytesPerSecond, bps_rd: 0, bps_wr: 0, iops, iops_rd: 0, iops_wr: 0 },
    ...(bytesPerSecond === 0 ? {} : { bps_max: bytesPerSecond * burst.times, bps_max_length: burst.seconds }),
    ...(iops === 0 ? {} : { iops_max: iops * burst.times, iops_max_length: burst.seconds }),
  });
}

/** How many places for disks besides the boot disk this guest was started with. */
export async function diskPlaces(guest: Guest): Promise<number> {
  const devices = (await guest.monitor.run('qom-list', { path: '/machine/peripheral' })) as { name: string }[];
  return devices.filter(({ name }) => /^port\d+$/.test(name)).length;
}

/** Gives a running guest a disk, or goes on where this was cut. */
export async function plugDisk(guest: Guest, disk: GuestDisk, place: number): Promise<void> {
  const nodes = await nodeNames(guest);
  for (const node of diskNodesAt(disk, place)) {
    if (!nodes.has((node as { readonly 'node-name': string })['node-name'])) await guest.monitor.run('blockdev-add', node);
  }
  await guest.monitor.run('device_add', diskDeviceAt(disk, place));
}

/** Asks the guest to let go of a disk. The disk is gone only when `presentDisks` lacks it; a guest without an operating system never answers. */
export async function askForDisk(guest: Guest, place: number): Promise<void> {
  try {
    await guest.monitor.run('device_del', { id: diskDevice(place) });
  } catch (error) {
    // It was asked before and has not answered, or has just let go.
    if (!(error instanceof Problem) || error.kind !== 'internal') throw error;
  }
}

/** Closes the files of a disk that the guest has let go of. May be repeated. */
export async function closeDisk(guest: Guest, place: number): Promise<void> {
  const nodes = await nodeNames(guest);
  for (const name of diskNodeNames(place)) {
    if (nodes.has(name)) await guest.monitor.run('blockdev-del', { 'node-name': name });
  }
}

/** Closes what was above the base of a disk that goes on without it. May be repeated. */
export async function closeOverlay(guest: Guest, place: number): Promise<void> {
  const nodes = await nodeNames(guest);
  for (const name of [diskNode(place), `${diskNode(place)}-file`]) {
    if (nodes.has(name)) await guest.monitor.run('blockdev-del', { 'node-name': name });
  }
}

async function nodeNames(guest: Guest): Promise<ReadonlySet<string>> {
  const nodes = (await guest.monitor.run('query-named-block-nodes', { flat: true })) as { 'node-name'?: string }[];
  return new Set(nodes.flatMap((node) => node['node-name'] ?? []));
}
