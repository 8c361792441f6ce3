import type { GuestDiskFacts } from '@virt8ra/contract';
import type { ApplianceSession } from './appliance-session.js';
import type { GuestStorage } from './read-guest.js';

const architectures: Readonly<Record<string, string>> = { x86_64: 'amd64', aarch64: 'arm64' };
const inspectMs = 600_000;
const efiSystem = 'C12A7328-F81F-11D2-BA4B-00A0C93EC93B';
const mbrEfi = 0xef;
const biosBoot = '21686148-6449-6E6F-744E-656564454649';

/** Finds the system on the disks and mounts what it mounts. May be done again. */
export async function readStorage(session: ApplianceSession): Promise<GuestStorage> {
  const ask = async (...words: string[]): Promise<string | undefined> =>
    await session.run(words, inspectMs).then(
      (text) => text.trim(),
      (error: unknown) => {
        if (error instanceof Error && 'kind' in error && error.kind === 'internal') return undefined;
        throw error;
      },
    );
  const lines = async (...words: string[]): Promise<string[]> => ((await ask(...words)) ?? '').split('\n').filter((line) => line !== '');
  await ask('umount-all');
  const fileSystems = (await lines('list-filesystems')).map((line) => {
    const at = line.indexOf(': ');
    return { device: line.slice(0, at), type: line.slice(at + 2) };
  });
  const encrypted = fileSystems.filter(({ type }) => /LUKS|BitLocker/i.test(type)).map(({ device }) => device.slice(0, 256));
  const raid = await lines('list-md-devices');
  const groups = await lines('vgs');
  const { firmware, table } = await readTables(await lines('list-devices'), ask);
  const unread: string[] = encrypted.map((device) => `${device} is encrypted and was not opened`);
  const uuids = new Map<string, string>();
  for (const { device, type } of fileSystems) {
    if (type === 'unknown' || !device.startsWith('/dev/sd')) continue;
    const uuid = await ask('vfs-uuid', device);
    if (uuid !== undefined && /^[0-9A-Fa-f-]{9,36}$/.test(uuid)) uuids.set(device, uuid);
  }
  const roots = await lines('inspect-os');
  const [root] = roots;
  const common = { firmware, ...(table === undefined ? {} : { partitionTable: table }), groups, raid, encrypted, uuids };
  if (root === undefined) return { ...common, os: { family: 'unknown' }, unread };
  if (roots.length > 1) unread.push(`there are ${roots.length} systems on the disks; the first was looked at`);
  const type = await ask('inspect-get-type', root);
  const distribution = await ask('inspect-get-distro', root);
  const name = await ask('inspect-get-product-name', root);
  const architecture = await ask('inspect-get-arch', root);
  const version = `${(await ask('inspect-get-major-version', root)) ?? ''}.${(await ask('inspect-get-minor-version', root)) ?? ''}`;
  const family = type === 'linux' || type === 'windows' ? type : 'other';
  const os: GuestDiskFacts['os'] = {
    family,
    ...(distribution === undefined || distribution === 'unknown' ? {} : { distribution: distribution.slice(0, 256) }),
    ...(name === undefined || name === 'unknown' ? {} : { name: name.slice(0, 256) }),
    version,
    ...(architecture === undefined || architecture === 'unknown'
      ? {}
      : { architecture: (architectures[architecture] ?? architecture).slice(0, 256) }),
  };
  if (family === 'linux') unread.push(...(await mountAll(await lines('inspect-get-mountpoints', root), ask)));
  const uuid = await ask('vfs-uuid', root);
  const rootType = fileSystems.find(({ device }) => device === root)?.type;
  return {
    ...common,
    os,
    root: {
      device: root.slice(0, 256),
      ...(rootType === undefined ? {} : { type: rootType.slice(0, 256) }),
      ...(uuid === undefined || uuid === '' ? {} : { uuid: uuid.slice(0, 256) }),
    },
    unread,
  };
}

/** Shallow ones first. Answers what could not be mounted. */
async function mountAll(mounts: readonly string[], ask: (...words: string[]) => Promise<string | undefined>): Promise<string[]> {
  const unread: string[] = [];
  const places = mounts.flatMap((line) => {
    const at = line.lastIndexOf(': /dev/');
    return at < 0 ? [] : [{ path: line.slice(0, at), device: line.slice(at + 2) }];
  });
  for (const { path, device } of places.sort((left, right) => left.path.length - right.path.length)) {
    if (!path.startsWith('/')) continue;
    if ((await ask('mount-options', 'nosuid,nodev', device, path)) === undefined)
      unread.push(`${device}, which is ${path.slice(0, 256)}, could not be mounted`);
  }
  return unread;
}

async function readTables(
  devices: readonly string[],
  ask: (...words: string[]) => Promise<string | undefined>,
): Promise<{ readonly firmware: ('bios' | 'uefi')[]; readonly table: string | undefined }> {
  const [first] = devices;
  if (first === undefined) return { firmware: [], table: undefined };
  const table = await ask('part-get-parttype', first);
  const types: string[] = [];
  const kind = table === 'gpt' ? 'part-get-gpt-type' : 'part-get-mbr-id';
  for (const line of ((await ask('part-list', first)) ?? '').matchAll(/part_num: (\d+)/g))
    types.push(((await ask(kind, first, line[1] ?? '')) ?? '').toUpperCase());
  const uefi = types.some((type) => type === efiSystem || Number(type) === mbrEfi);
  // A first sector without any instruction starts nothing; whether one does is not to be seen from outside.
  const start = await ask('pread-device', first, '1', '0');
  const bios = table === 'gpt' ? types.includes(biosBoot) : start !== undefined && start !== '' && start !== '\u0000';
  return { firmware: [...(bios ? (['bios'] as const) : []), ...(uefi ? (['uefi'] as const) : [])], table };
}

/** Of a guest that is no Linux: what its disks say by themselves. */
export function emptyFacts({ os, firmware, partitionTable, root, groups, raid, encrypted, unread }: GuestStorage): GuestDiskFacts {
  return {
    os,
    boot: { firmware: [...firmware] },
    ...(partitionTable === undefined ? {} : { partitionTable }),
    ...(root === undefined ? {} : { root }),
    lvm: groups.map((group) => ({ group })),
    raid: [...raid],
    encrypted: encrypted.map((device) => ({ device, tpm: false })),
    mounts: [],
    nics: [],
    pinned: [],
    predictableNames: false,
    machineId: false,
    hostKeys: [],
    serialConsole: false,
    selinux: false,
    agents: [],
    unread: [...unread],
  };
}
