import { BufferPool } from './buffer-pool.js';
import { chunkBytes, chunkLength, digestOf } from './chunks.js';
import { DigestTable } from './digest-table.js';
import type { NbdClient } from './nbd/client.js';
import { allocationContext, eachExtent, zeroFlag } from './nbd/extents.js';
import { scratchPages } from './scratch-pages.js';

const readsInFlight = 4;

export interface DigestOptions {
  /** Bytes read per second at most; undefined: as fast as it goes. */
  readonly bytesPerSecond?: number;
  readonly signal?: AbortSignal;
  /** Folder for the digests that memory has no room for; the table must be closed then. */
  readonly scratchDirectory?: string;
  /** Called with the bytes that have been read so far. */
  readonly onRead?: (bytes: number) => void;
}

/** For each chunk 1 when it holds anything but known zeros, else 0. */
export async function allocatedChunks(client: NbdClient): Promise<Uint8Array> {
  const count = Math.ceil(client.sizeBytes / chunkBytes);
  if (!client.contexts.includes(allocationContext)) return new Uint8Array(count).fill(1);
  const allocated = new Uint8Array(count);
  await eachExtent(client, (context, start, end, flags) => {
    if (context !== allocationContext || (flags & zeroFlag) !== 0) return;
    allocated.fill(1, Math.floor(start / chunkBytes), Math.ceil(end / chunkBytes));
  });
  return allocated;
}

/** Digests of all chunks of an export that nobody writes to. What is known to be zeros is not read. */
export async function digestExport(client: NbdClient, options: DigestOptions = {}): Promise<DigestTable> {
  const { bytesPerSecond, signal, onRead, scratchDirectory } = options;
  const table = new DigestTable(client.sizeBytes, scratchDirectory === undefined ? undefined : scratchPages(scratchDirectory));
  const allocated = await allocatedChunks(client);
  table.setZeros(0, table.count);
  const pool = new BufferPool(readsInFlight, chunkBytes);
  const begin = performance.now();
  let next = 0;
  let bytes = 0;
  const worker = async () => {
    const buffer = await pool.take();
    for (let index = next; index < table.count; index = next) {
      next += 1;
      signal?.throwIfAborted();
      if (allocated[index] === 0) continue;
      const content = buffer.subarray(0, chunkLength(table.sizeBytes, index));
      await client.read(index * chunkBytes, content);
      table.set(index, digestOf(content));
      bytes += content.length;
      onRead?.(bytes);
      const ahead = bytesPerSecond === undefined ? 0 : (bytes / bytesPerSecond) * 1000 - (performance.now() - begin);
      if (ahead > 1) await new Promise((resolve) => setTimeout(resolve, ahead));
    }
  };
  await Promise.all(Array.from({ length: readsInFlight }, worker));
  return table;
}
