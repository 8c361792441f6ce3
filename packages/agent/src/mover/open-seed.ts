import { toProblem } from '@virt8ra/contract/plain';
import { type Filling, RoomGauge } from '../disk/room.js';
import type { Seeding, SeedSource } from '../transfer/mover-port.js';
import type { DigestTable } from './digest-table.js';
import { fillFromSeed } from './fill-from-seed.js';
import { openLocalExport, settleEarlierExport } from './local-export.js';
import type { NbdClient } from './nbd/client.js';
import { allocationContext } from './nbd/extents.js';

export interface OpenSeedOptions {
  readonly source: SeedSource;
  readonly socket: string;
  readonly target: NbdClient;
  readonly table: DigestTable;
  /** What the target fills up. */
  readonly room: Filling;
  readonly signal?: AbortSignal;
}

/** Has an arriving disk begin as what its seed holds. Nothing that is wrong with a seed is fatal: the answer says it. Raises only what `signal` does. */
export async function openSeed({ source, socket, target, table, room, signal }: OpenSeedOptions): Promise<Seeding> {
  if ('problem' in source) return { bytes: 0, problem: source.problem };
  let bytes = 0;
  try {
    await settleEarlierExport(socket);
    const opened = await openLocalExport({ access: 'glance', ...source }, socket, [allocationContext]);
    try {
      const gauge = new RoomGauge(room);
      await fillFromSeed({
        target,
        seed: opened.client,
        table,
        write: async (offset, content) => {
          signal?.throwIfAborted();
          await gauge.hold(content.length, 0, async () => await target.write(offset, content));
        },
        onCopied: (copied) => {
          bytes += copied;
        },
      });
    } finally {
      await opened.close();
    }
    return { bytes };
  } catch (error) {
    signal?.throwIfAborted();
    const { kind, message } = toProblem(error);
    return { bytes, problem: { code: kind, message: message.slice(0, 4096) } };
  }
}
