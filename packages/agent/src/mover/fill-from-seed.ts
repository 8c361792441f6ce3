import { BufferPool } from './buffer-pool.js';
import { chunkBytes, chunkLength, digestOf } from './chunks.js';
import { allocatedChunks } from './digest.js';
import type { DigestTable } from './digest-table.js';
import type { NbdClient } from './nbd/client.js';

const readsInFlight = 4;

export interface SeedFill {
  readonly target: NbdClient;
  readonly seed: NbdClient;
  /** Of what the target holds; learns what is copied. */
  readonly table: DigestTable;
  /** Writes to the target, where there is room. */
  readonly write: (offset: number, content: Buffer) => Promise<void>;
  /** A chunk of so many bytes is at the target. */
  readonly onCopied: (bytes: number) => void;
}

/**
 * Copies to an arriving disk what a similar one holds, where the disk holds zeros. The digests are those of the bytes that were written, so that a seed
 * that changes meanwhile, or is damaged, costs no more than what must be sent after all. Raises what reading, or writing, raises.
 */
export async function fillFromSeed({ target, seed, table, write, onCopied }: SeedFill): Promise<void> {
  const allocated = await allocatedChunks(seed);
  const count = Math.min(table.count, allocated.length);
  const pool = new BufferPool(readsInFlight, chunkBytes);
  let next = 0;
  let failed = false;
  const worker = async () => {
    const buffer = await pool.take();
    for (let index = next; index < count && !failed; index = next) {
      next += 1;
      if (allocated[index] === 0 || !table.isZero(index)) continue;
      const content = buffer.subarray(0, chunkLength(table.sizeBytes, index));
      const readable = Math.min(content.length, seed.sizeBytes - index * chunkBytes);
      await seed.read(index * chunkBytes, content.subarray(0, readable));
      content.fill(0, readable);
      const digest = digestOf(content);
      if (table.zero(index).equals(digest)) continue;
      await write(index * chunkBytes, content);
      table.set(index, digest);
      onCopied(content.length);
    }
  };
  const workers = Array.from({ length: readsInFlight }, async () => {
    try {
      await worker();
    } catch (error) {
      failed = true;
      throw error;
    }
  });
  const results = await Promise.allSettled(workers);
  const lost = results.find((result) => result.status === 'rejected');
  // What was copied counts as held, whatever became of the rest.
  await target.flush();
  if (lost !== undefined) throw lost.reason;
}
