import type { ObservedBootProbe, PassFigures } from '@virt8ra/contract';
import type { ProbeSpec } from '@virt8ra/driver';

/** How a guest writes while it is copied: `fast` is faster than what is carried. */
export type GuestWrites = 'little' | 'fast';

const megabyte = 1_000_000;

/** What a sender tells of its passes; undefined of one that tells nothing. */
export function passesOf(writes: GuestWrites | undefined): readonly PassFigures[] | undefined {
  switch (writes) {
    case undefined:
      return undefined;
    case 'little':
      return [
        { pass: 0, workBytes: 1000 * megabyte, ms: 10_000, dirtyBytes: 20 * megabyte },
        { pass: 1, workBytes: 20 * megabyte, ms: 200, dirtyBytes: megabyte / 2 },
      ];
    case 'fast':
      return [
        { pass: 0, workBytes: 1000 * megabyte, ms: 20_000, dirtyBytes: 2000 * megabyte },
        { pass: 1, workBytes: 2000 * megabyte, ms: 40_000, dirtyBytes: 4000 * megabyte },
      ];
  }
}

/** A boot of a copy, one step further; it ends after two, alive or not, and nothing may be written to the copy meanwhile. */
export function probeAfter(
  seen: ObservedBootProbe | undefined,
  wanted: ProbeSpec | undefined,
  { dies, held }: { readonly dies: boolean; readonly held: boolean },
  violations: string[],
): ObservedBootProbe | undefined {
  if (wanted === undefined) return undefined;
  if (seen?.request !== wanted.request) return { request: wanted.request, state: 'booting', seconds: 0, readBytes: 0, serialBytes: 0 };
  if (seen.state !== 'booting') return seen;
  if (!held) violations.push('a copy was booted while it was written');
  return dies
    ? { ...seen, state: 'dead', reason: 'its kernel panicked', serialTail: 'Kernel panic - not syncing' }
    : { ...seen, state: 'alive', observed: 'disk-reads', seconds: 1, readBytes: 4 * megabyte };
}
