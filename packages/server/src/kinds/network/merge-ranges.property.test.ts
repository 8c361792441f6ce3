import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { formatAddress, type IpRange } from './cidr.js';
import { mergedTexts, mergeRanges, rangeFromText } from './merge-ranges.js';

const base = { 4: 0x0a000000n, 6: 0xfd00n << 112n } as const;
const bits = { 4: 32, 6: 128 } as const;

/** Of the first 64 addresses of one range of each family. */
const range = fc
  .record({ family: fc.constantFrom(4 as const, 6 as const), size: fc.integer({ min: 0, max: 6 }), at: fc.integer({ min: 0, max: 63 }) })
  .map(({ family, size, at }): IpRange => {
    const count = 1n << BigInt(size);
    const first = base[family] + (BigInt(at) & ~(count - 1n));
    return { family, prefix: bits[family] - size, first, last: first + count - 1n };
  });

const addressesOf = (ranges: readonly IpRange[]): readonly string[] =>
  ranges.flatMap(({ family, first, last }) =>
    Array.from({ length: Number(last - first) + 1 }, (_, index) => formatAddress({ family, value: first + BigInt(index) })),
  );

describe('merged ranges', () => {
  it('hold exactly the same addresses, each once, in as few ranges as there can be', () => {
    fc.assert(
      fc.property(fc.array(range, { maxLength: 12 }), (ranges) => {
        const merged = mergeRanges(ranges);
        const held = addressesOf(merged);
        expect(new Set(held)).toEqual(new Set(addressesOf(ranges)));
        expect(held).toHaveLength(new Set(held).size);
        for (const each of merged) expect(rangeFromText(mergedTexts([each])[0] ?? '', '')).toEqual(each);
        for (const [index, high] of merged.entries()) {
          const low = merged[index - 1];
          if (low === undefined || low.family !== high.family) continue;
          const halves =
            low.prefix === high.prefix && high.first === low.last + 1n && low.first % ((low.last - low.first + 1n) * 2n) === 0n;
          expect(halves).toBe(false);
        }
      }),
      { seed: fc.readConfigureGlobal().seed ?? 11, numRuns: 300 },
    );
  });
});
