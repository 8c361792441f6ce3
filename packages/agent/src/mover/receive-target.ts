import { dirname, join } from 'node:path';
import { Problem } from '@virt8ra/contract/plain';
import { makeDirectory, readJson, writeJsonAtomic } from '../disk/atomic-file.js';
import { poolFilling, poolNamed } from '../disk/pool-room.js';
import type { BootClock } from '../system/boot-clock.js';
import type { Seeding, SeedSource } from '../transfer/mover-port.js';
import { digestExport } from './digest.js';
import type { DigestTable } from './digest-table.js';
import { type LocalExport, openLocalExport, settleEarlierExport } from './local-export.js';
import { allocationContext } from './nbd/extents.js';
import { openSeed } from './open-seed.js';
import { replacePredecessor } from './predecessor.js';
import { ReceiveJournal } from './receive-journal.js';
import { ReceiveTarget } from './receive-session.js';

export interface TargetOptions {
  readonly transferId: string;
  /** Durable folder: journal, and what the last mover left to the next. */
  readonly directory: string;
  /** Folder for sockets. */
  readonly runtimeDirectory: string;
  readonly disks: readonly { readonly file: string; readonly sizeBytes: number; readonly frozen?: boolean; readonly seed?: SeedSource }[];
  /** Thin pool that the disks grow in; absent: the filesystem they are on. */
  readonly pool?: string;
  readonly bootId: BootClock['bootId'];
  readonly signal?: AbortSignal;
}

export interface OpenTarget {
  readonly target: ReceiveTarget;
  /** What came of the seed of each disk; undefined where there is none. */
  readonly seedings: readonly (Seeding | undefined)[];
  /** Port that the last mover of this transfer listened on. */
  readonly lastPort: number | undefined;
  /** Settles when a qemu-nbd ends although nobody closed it. */
  readonly lost: Promise<Problem>;
  rememberPort(port: number): Promise<void>;
  /** Closes the images; the journal still tells what came. May be repeated. */
  closeDisks(): Promise<void>;
  close(): Promise<void>;
}

interface Left {
  readonly bootId: string;
  readonly port?: number;
}

/**
 * Opens the disks of a transfer for writing, and the journal of what they hold. A journal that is new begins with a look at the disks, which their
 * seeds fill first, so that what both ends have already is not sent. Disks of a transfer that is over are not opened: a guest may run on them. Raises Problem conflict when a
 * disk has another size than agreed, or is frozen although the journal does not say that all came.
 */
export async function openReceiveTarget(options: TargetOptions): Promise<OpenTarget> {
  const { transferId, directory, runtimeDirectory, disks, pool, bootId, signal } = options;
  const stop = signal === undefined ? {} : { signal };
  const room = pool === undefined ? dirname(disks[0]?.file ?? directory) : poolFilling(poolNamed(pool));
  await makeDirectory(directory);
  await replacePredecessor(directory, bootId);
  await makeDirectory(runtimeDirectory, 0o711);
  const leftFile = join(directory, 'receiver.json');
  const left = (await readJson(leftFile)) as Left | undefined;
  const sockets = disks.map((_, disk) => join(runtimeDirectory, `w${disk}`));
  const ends = await Promise.all(sockets.map(settleEarlierExport));
  // An export of this boot that left no trace is not known to have been closed.
  const lostCache = left !== undefined && (left.bootId !== bootId || ends.some((end) => end !== 'closed'));
  await writeJsonAtomic(leftFile, { ...left, bootId } satisfies Left);
  const journalFile = join(directory, 'receive.journal');
  const written = (await ReceiveJournal.isComplete(journalFile)) ? [] : disks;
  const frozen = written.find((disk) => disk.frozen === true);
  if (frozen !== undefined)
    throw new Problem('conflict', `${frozen.file} is whole, and the journal of transfer ${transferId} does not know it`);
  const exports: LocalExport[] = [];
  const closeDisks = async () => {
    await Promise.all(exports.splice(0).map(async (entry) => await entry.close()));
  };
  try {
    for (const [disk, { file, sizeBytes }] of written.entries()) {
      const opened = await openLocalExport({ access: 'write', file }, sockets[disk] ?? '', [allocationContext]);
      exports.push(opened);
      if (opened.client.sizeBytes !== sizeBytes)
        throw new Problem('conflict', `${file} has ${opened.client.sizeBytes} bytes, not the ${sizeBytes} of the transfer`);
    }
    const clients = exports.map(({ client }) => client);
    const seedingsFile = join(directory, 'seedings.json');
    const scan = async (): Promise<readonly DigestTable[]> => {
      const tables: DigestTable[] = [];
      const seedings: (Seeding | null)[] = [];
      for (const [disk, target] of clients.entries()) {
        const table = await digestExport(target, { scratchDirectory: directory, ...stop });
        tables.push(table);
        const source = disks[disk]?.seed;
        const socket = join(runtimeDirectory, `s${disk}`);
        seedings.push(source === undefined ? null : await openSeed({ source, socket, target, table, room, ...stop }));
      }
      await writeJsonAtomic(seedingsFile, seedings);
      return tables;
    };
    const sizes = disks.map(({ sizeBytes }) => sizeBytes);
    const journal = await ReceiveJournal.open(journalFile, transferId, sizes, lostCache, scan);
    const seedings = ((await readJson(seedingsFile)) ?? []) as readonly (Seeding | null)[];
    return {
      seedings: disks.map((_, disk) => seedings[disk] ?? undefined),
      target: new ReceiveTarget(clients, journal, room),
      lastPort: left?.port,
      lost: Promise.race(exports.map(async ({ ended }) => await ended)),
      rememberPort: async (port) => await writeJsonAtomic(leftFile, { bootId, port } satisfies Left),
      closeDisks,
      close: async () => {
        await closeDisks();
        await journal.close();
      },
    };
  } catch (error) {
    await Promise.allSettled(exports.map(async (entry) => await entry.close()));
    throw error;
  }
}
