import type { NbdClient } from './client.js';

export const allocationContext = 'base:allocation';
/** Flag of `base:allocation`: reads as zeros. */
export const zeroFlag = 2;
/** Flag of a dirty bitmap: changed. */
export const dirtyFlag = 1;

/** Name of the metadata context of QEMU's dirty bitmap. */
export function bitmapContext(bitmap: string): string {
  return `qemu:dirty-bitmap:${bitmap}`;
}

/** A request tells of less than 4 GiB; whole chunks. */
const stepBytes = 4 * 1024 ** 3 - 1024 ** 2;

/**
 * Walks over a whole export and tells each extent of each granted context, in order within a context. An export without any context tells
 * nothing: the caller must take all of it for data.
 */
export async function eachExtent(
  client: NbdClient,
  visit: (context: string, startBytes: number, endBytes: number, flags: number) => void,
): Promise<void> {
  if (client.contexts.length === 0) return;
  for (let offset = 0; offset < client.sizeBytes; ) {
    const asked = Math.min(stepBytes, client.sizeBytes - offset);
    const found = await client.blockStatus(offset, asked);
    // Contexts may be described to different lengths; what goes beyond the shortest is told again by the next answer.
    let covered = client.sizeBytes - offset;
    for (const extents of found.values()) {
      covered = Math.min(
        covered,
        extents.reduce((sum, { lengthBytes }) => sum + lengthBytes, 0),
      );
    }
    for (const [context, extents] of found) {
      let start = offset;
      for (const { lengthBytes, flags } of extents) {
        const end = Math.min(start + lengthBytes, offset + covered);
        if (end > start) visit(context, start, end, flags);
        start = end;
      }
    }
    offset += covered;
  }
}
