import { transferChunkBytes } from '@virt8ra/contract';
import { diskNode } from '../qemu/disk-devices.js';
import type { Guest } from '../qemu/guest.js';

/** QEMU's own record of what a guest changes on its disks, each place counted once. It is kept by chunks of a transfer: one goes over again however little of it changed. */
export interface GuestChanges {
  /** Begins the record anew. */
  begin(): Promise<void>;
  /** Bytes changed since it began, by the place of the disk. */
  count(): Promise<ReadonlyMap<number, number>>;
  /** Takes the record away; silent when there is none. */
  end(): Promise<void>;
}

const bitmap = 'v8-changes';

interface Block {
  readonly qdev?: string;
  readonly inserted?: {
    readonly 'node-name'?: string;
    readonly 'dirty-bitmaps'?: readonly { readonly name?: string; readonly count: number }[];
  };
}

interface RecordedDisk {
  readonly place: number;
  readonly node: string;
  /** Undefined: it has no such record. */
  readonly bytes: number | undefined;
}

/** A record is kept by name, so that one that a killed agent left is taken away by the next that begins. */
export function guestChanges({ monitor }: Pick<Guest, 'monitor'>): GuestChanges {
  const disks = async (): Promise<readonly RecordedDisk[]> =>
    ((await monitor.run('query-block')) as readonly Block[]).flatMap(({ qdev, inserted }) => {
      const place = /\/vd(\d+)\//.exec(qdev ?? '')?.[1];
      const node = inserted?.['node-name'];
      if (place === undefined || node === undefined) return [];
      const bytes = inserted?.['dirty-bitmaps']?.find(({ name }) => name === bitmap)?.count;
      return [{ place: Number(place), node, bytes }];
    });
  const remove = ({ node }: RecordedDisk) => ({ type: 'block-dirty-bitmap-remove', data: { node, name: bitmap } });
  const all = async (actions: readonly object[]): Promise<void> => {
    if (actions.length > 0) await monitor.run('transaction', { actions });
  };
  return {
    async begin() {
      const present = await disks();
      const add = ({ node }: RecordedDisk) => ({
        type: 'block-dirty-bitmap-add',
        data: { node, name: bitmap, granularity: transferChunkBytes },
      });
      await all(present.filter(({ bytes }) => bytes !== undefined).map(remove));
      // An overlay that is being merged has its own name for a while; only what the guest writes to is recorded.
      await all(present.filter(({ node, place }) => node === diskNode(place) || node === `${diskNode(place)}-base`).map(add));
    },
    async count() {
      return new Map((await disks()).flatMap(({ place, bytes }) => (bytes === undefined ? [] : [[place, bytes] as const])));
    },
    async end() {
      await all((await disks()).filter(({ bytes }) => bytes !== undefined).map(remove));
    },
  };
}

/** Has QEMU look for a second at how fast the guest's memory changes (QEMU 5.2 and newer). */
export async function beginMemoryLook({ monitor }: Pick<Guest, 'monitor'>): Promise<void> {
  await monitor.run('calc-dirty-rate', { 'calc-time': 1 });
}

/** Bytes a second, as last looked at; undefined while it is looking, or never did. */
export async function memoryChangesPerSecond({ monitor }: Pick<Guest, 'monitor'>): Promise<number | undefined> {
  const { status, 'dirty-rate': rate } = (await monitor.run('query-dirty-rate')) as { status: string; 'dirty-rate'?: number };
  return status === 'measured' && rate !== undefined && rate >= 0 ? rate * 1024 ** 2 : undefined;
}
