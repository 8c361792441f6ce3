/** What a pause consists of besides carrying what is left, milliseconds: the guest is stopped, the disks are frozen, digests are agreed on. */
const fixedMs = 100;
/** Questions and answers between the two hosts while the guest stands still. */
const roundTrips = 4;

/**
 * How long a guest would stand still if its move were cut over with so many bytes left, in milliseconds: a warm move's, or a live one's with its
 * memory among the bytes. Infinite where nothing is carried.
 */
export function predictPauseMs(left: { readonly dirtyBytes: number; readonly bytesPerSecond: number; readonly rttMs?: number }): number {
  const { dirtyBytes, bytesPerSecond, rttMs = 0 } = left;
  if (dirtyBytes > 0 && bytesPerSecond <= 0) return Number.POSITIVE_INFINITY;
  const carryMs = dirtyBytes <= 0 ? 0 : (dirtyBytes / bytesPerSecond) * 1000;
  return fixedMs + roundTrips * rttMs + carryMs;
}
