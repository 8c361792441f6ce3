import type { ForecastInput, PathLook } from '@virt8ra/contract';
import type { ForecastQuestion } from './forecast-question.js';

/** What the two hosts are believed to carry, why, and what takes from that. */
export interface CarriedRate {
  /** Undefined: nothing is known. */
  readonly bytesPerSecond?: number;
  readonly inputs: readonly ForecastInput[];
  readonly doubts: readonly { readonly duration: number; readonly pause: number; readonly bytes: number; readonly reason: string }[];
}

/** A processor that encrypts and hashes carries no more than about this, bytes a second, where no move has shown it yet. */
const usualMover = 150e6;
const hour = 3600_000;
/** Looks that say of how much they differ. */
const recentLooks = 5;

interface Look extends PathLook {
  readonly bytesPerSecond: number;
}

/**
 * A move says more than a probe: it is carried by the same programs, on the same disks. So the newest moves decide, unless the path was probed after
 * them; then the probe does, up to what the source's host was seen to carry to anywhere.
 */
export function carriedRate({ at, path, moverPerSecond, from, to }: ForecastQuestion): CarriedRate {
  const of = `${from.host} → ${to.host}`;
  const looks = path.filter((look): look is Look => look.bytesPerSecond !== undefined && look.bytesPerSecond > 0);
  const transfer = looks.find(({ source }) => source === 'transfer');
  const probe = looks.find(({ source }) => source === 'probe');
  const newest = looks[0];
  if (newest === undefined) {
    const reason = path[0]?.reason ?? 'nothing was carried or measured within a week';
    return {
      inputs: [{ what: 'link', of, reason }],
      doubts: [{ duration: 1, pause: 1, bytes: 0, reason: `what ${of} carry is not known: ${reason}` }],
    };
  }
  const doubts: CarriedRate['doubts'][number][] = [];
  const age = at.getTime() - Date.parse(newest.at);
  if (age > hour) {
    const old = age > 24 * hour;
    const reason = `the link was measured ${old ? 'more than a day' : 'more than an hour'} ago`;
    doubts.push({ duration: old ? 0.3 : 0.1, pause: old ? 0.3 : 0.1, bytes: 0, reason });
  }
  const varies = variation(looks.slice(0, recentLooks).map(({ bytesPerSecond }) => bytesPerSecond));
  if (varies > 0.1)
    doubts.push({ duration: varies, pause: varies, bytes: 0, reason: `what the link carries varied by ${Math.round(varies * 100)} %` });
  const input = ({ source, bytesPerSecond, at: observedAt }: Look, more: Partial<ForecastInput> = {}): ForecastInput => ({
    what: 'link',
    of,
    value: bytesPerSecond,
    unit: 'bytes/s',
    source,
    observedAt,
    ...more,
  });
  if (transfer !== undefined && transfer === newest) {
    const rates = looks.filter(({ source }) => source === 'transfer').slice(0, 3);
    return { bytesPerSecond: median(rates.map(({ bytesPerSecond }) => bytesPerSecond)), inputs: rates.map((each) => input(each)), doubts };
  }
  const seen = probe ?? newest;
  const mover = moverPerSecond?.value ?? usualMover;
  const isLimited = seen.bytesPerSecond > mover;
  if (isLimited && moverPerSecond === undefined)
    doubts.push({
      duration: 0.25,
      pause: 0.1,
      bytes: 0,
      reason: `no move has shown yet what ${from.host} can carry; 150 MB/s were assumed`,
    });
  const limit: ForecastInput = {
    what: 'mover',
    of: from.host,
    value: mover,
    unit: 'bytes/s',
    ...(moverPerSecond === undefined
      ? { reason: 'no move has shown it yet; assumed' }
      : { source: moverPerSecond.source, observedAt: moverPerSecond.observedAt }),
  };
  return { bytesPerSecond: Math.min(seen.bytesPerSecond, mover), inputs: [input(seen), limit], doubts };
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((one, other) => one - other);
  const middle = Math.floor(sorted.length / 2);
  return sorted.length % 2 === 1 ? (sorted[middle] ?? 0) : ((sorted[middle - 1] ?? 0) + (sorted[middle] ?? 0)) / 2;
}

/** Standard deviation as a share of the mean, at most a half. */
function variation(values: readonly number[]): number {
  if (values.length < 2) return 0;
  const mean = values.reduce((sum, each) => sum + each, 0) / values.length;
  const square = values.reduce((sum, each) => sum + (each - mean) ** 2, 0) / values.length;
  return Math.min(0.5, Math.sqrt(square) / mean);
}
