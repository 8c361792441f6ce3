import { formatRange, type IpRange, parseAddress, parseRange } from './cidr.js';

/**
 * The smallest list of CIDR ranges that holds exactly the addresses of `ranges`, in order; IPv4 before IPv6. Guests beside each other become
 * one range, so that a filter for hundreds of them stays short.
 */
export function mergeRanges(ranges: readonly IpRange[]): readonly IpRange[] {
  const sorted = ranges.toSorted(
    (one, other) => one.family - other.family || compare(one.first, other.first) || compare(other.last, one.last),
  );
  const merged: IpRange[] = [];
  for (const range of sorted) {
    const before = merged.at(-1);
    if (before !== undefined && before.family === range.family && range.last <= before.last) continue;
    merged.push(range);
    joinTail(merged);
  }
  return merged;
}

/** Joins the last two as long as they are the two halves of one. */
function joinTail(merged: IpRange[]): void {
  for (;;) {
    const [low, high] = merged.slice(-2);
    if (low === undefined || high === undefined || low.family !== high.family || low.prefix !== high.prefix) return;
    const size = low.last - low.first + 1n;
    if (high.first !== low.last + 1n || low.first % (size * 2n) !== 0n) return;
    merged.splice(-2, 2, { family: low.family, prefix: low.prefix - 1, first: low.first, last: high.last });
  }
}

function compare(one: bigint, other: bigint): number {
  if (one === other) return 0;
  return one < other ? -1 : 1;
}

/** One address, or a range in CIDR notation. Undefined for what is neither, such as a reference; raises `validation` for a range that is none. */
export function rangeFromText(text: string, pointer: string): IpRange | undefined {
  const [addressText = ''] = text.split('/');
  const address = parseAddress(addressText);
  if (address === undefined) return undefined;
  const { family, value } = address;
  if (text.includes('/')) return parseRange(text, family, pointer);
  return { family, prefix: family === 4 ? 32 : 128, first: value, last: value };
}

/** As text, in order. */
export function mergedTexts(ranges: readonly IpRange[]): readonly string[] {
  return mergeRanges(ranges).map(formatRange);
}
