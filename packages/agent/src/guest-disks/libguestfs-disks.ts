import { randomBytes } from 'node:crypto';
import { chmod, chown, mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { type GuestChange, type GuestDiskFacts, type PrepareGuest, Problem, preparation } from '@virt8ra/contract';
import { makeDirectory } from '../disk/atomic-file.js';
import { type GuestUser, guestUid, kvmGroup } from '../qemu/guest-user.js';
import { lackOfAppliance, makeAppliance } from './appliance-folder.js';
import { ApplianceSession } from './appliance-session.js';
import { ApplianceTree } from './appliance-tree.js';
import type { GuestDisk, GuestDisks } from './guest-disks.js';
import { readGuest } from './read-guest.js';
import { emptyFacts, readStorage } from './read-storage.js';
import { type ServedDisk, serveDisk } from './serve-disk.js';

export interface LibguestfsOptions {
  /** Durable folder; what is made in it can be made again. */
  readonly directory: string;
  /** Folder for sockets; short, because socket paths end at 107 bytes. */
  readonly runtimeDirectory: string;
  readonly accelerator: 'kvm' | 'tcg';
  readonly root: boolean;
}

interface Opened {
  readonly session: ApplianceSession;
  readonly tree: ApplianceTree;
}

/** Guests' disks by libguestfs: its appliance is a guest of its own, run by a stranger to this host, and reaches the disks through sockets alone. One at a time. */
export function libguestfsDisks(options: LibguestfsOptions): GuestDisks {
  let turn: Promise<unknown> = Promise.resolve();
  const inTurn = async <Result>(signal: AbortSignal, task: () => Promise<Result>): Promise<Result> => {
    const mine = turn.then(async () => {
      signal.throwIfAborted();
      return await task();
    });
    turn = mine.catch(() => {});
    return await mine;
  };
  return {
    lack: lackOfAppliance,
    inspect: async (disks, signal, as) =>
      await inTurn(signal, async () => await withGuest({ ...options, as }, disks, false, signal, async (guest) => await factsOf(guest))),
    prepare: async (disks, wanted, signal) =>
      await inTurn(
        signal,
        async () => await withGuest(options, disks, wanted.changes === 'make', signal, async (guest) => await change(guest, wanted)),
      ),
  };
}

async function factsOf({ session, tree }: Opened): Promise<GuestDiskFacts> {
  const storage = await readStorage(session);
  return storage.os.family === 'linux' ? await readGuest(tree, storage) : emptyFacts(storage);
}

async function change({ session, tree }: Opened, { target, changes: mode }: PrepareGuest): Promise<readonly GuestChange[]> {
  const storage = await readStorage(session);
  if (storage.os.family !== 'linux')
    throw new Problem(
      'unsupported',
      `the copy cannot be prepared: ${storage.os.family === 'windows' ? 'it is a Windows' : 'no Linux was found on its disks'}. Prepare the guest before the move, and move it without changes.`,
    );
  const facts = await readGuest(tree, storage);
  const changes = preparation(facts, target);
  if (mode === 'refuse' && changes.length > 0) {
    const needed = changes.map(({ code, file, why }) => `${code} in ${file} (${why})`).join('; ');
    throw new Problem('conflict', `its guest would have to be changed, which was not allowed: ${needed}`);
  }
  for (const { file, edit } of changes) await tree.apply(file, edit);
  const left = changes.length === 0 ? [] : preparation(await readGuest(tree, storage), target).filter(({ code }) => code !== 'relabel');
  if (left.length > 0)
    throw new Problem(
      'internal',
      `the copy is not as it has to be after it was changed: ${left.map(({ code, file }) => `${code} in ${file}`).join(', ')}`,
    );
  return changes.map(({ code, file, why }) => ({ code, file, why }));
}

async function withGuest<Result>(
  { directory, runtimeDirectory, accelerator, root, as }: LibguestfsOptions & { readonly as?: GuestUser | undefined },
  disks: readonly GuestDisk[],
  writable: boolean,
  signal: AbortSignal,
  task: (guest: Opened) => Promise<Result>,
): Promise<Result> {
  const appliance = await makeAppliance(directory, signal);
  const uid = as?.uid ?? guestUid('guest-disks');
  const kvmGid = await kvmGroup();
  const user: GuestUser | undefined = root ? { uid, gid: as?.gid ?? uid, ...(kvmGid === undefined ? {} : { kvmGid }) } : undefined;
  const folder = join(runtimeDirectory, `g-${randomBytes(4).toString('hex')}`);
  await makeDirectory(runtimeDirectory, 0o711);
  await mkdir(folder, { mode: 0o700 });
  if (user !== undefined) await chown(folder, user.uid, user.gid);
  else await chmod(folder, 0o700);
  const served: ServedDisk[] = [];
  try {
    const exports: { socket: string; exportName: string }[] = [];
    for (const [index, disk] of disks.entries()) {
      if ('socket' in disk) exports.push(disk);
      else {
        const socket = join(folder, `d${index}`);
        served.push(await serveDisk(disk.files, socket, { user, writable }));
        exports.push({ socket, exportName: '' });
      }
    }
    const session = await ApplianceSession.open({ disks: exports, writable, folder, appliance, accelerator, user, signal });
    let result: Result;
    try {
      result = await task({ session, tree: new ApplianceTree(session, folder) });
      await session.close();
    } catch (error) {
      await session.kill();
      throw error;
    }
    while (served.length > 0) await served.pop()?.close();
    return result;
  } finally {
    for (const disk of served) await disk.close().catch(() => {});
    await rm(folder, { recursive: true, force: true });
  }
}
