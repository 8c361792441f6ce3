import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { fullDisk } from './images.js';

const octets = async (pieces: AsyncIterable<Uint8Array>) => {
  const all: Uint8Array[] = [];
  for await (const piece of pieces) all.push(piece);
  return Buffer.concat(all);
};

describe('full disk', () => {
  it('tells its own digest and gives the same octets from any offset', async () => {
    const disk = await fullDisk(3 * 1024 * 1024);
    const whole = await octets(disk.read(0, disk.sizeBytes));
    expect(createHash('sha256').update(whole).digest('hex')).toBe(disk.sha256);
    const [start, end] = [1_000_003, 2_500_001];
    expect((await octets(disk.read(start, end))).equals(whole.subarray(start, end))).toBe(true);
  });

  it('repeats no part of itself', async () => {
    const disk = await fullDisk(2 * 1024 * 1024);
    const whole = await octets(disk.read(0, disk.sizeBytes));
    expect(whole.subarray(0, 1024 * 1024).equals(whole.subarray(1024 * 1024))).toBe(false);
    expect(whole.indexOf(whole.subarray(0, 64), 64)).toBe(-1);
  });
});
