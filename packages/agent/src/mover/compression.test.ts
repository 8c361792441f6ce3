import { randomBytes } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { Compression, inflateChunk } from './compression.js';
import { LinkGauge } from './link-gauge.js';

const words = () => Buffer.from('what is written here is written there as well, '.repeat(20_000));
const mibPerSecond = (value: number) => ({ bytesPerMs: (value * 1024 * 1024) / 1000 });

describe('how strongly chunks are compressed', () => {
  it('follows the link: not at all where that is faster than the processors, and the more the slower it is', () => {
    const qualities = [4000, 120, 40, 3].map((speed) => new Compression(mibPerSecond(speed), 1).quality);
    expect(qualities[0]).toBe(0);
    expect(qualities).toEqual(qualities.toSorted((one, other) => one - other));
    expect(qualities.at(-1)).toBeGreaterThanOrEqual(5);
    expect(new Compression({ bytesPerMs: undefined }, 1).quality).toBe(1);
  });

  it('follows the processors: more of them make it worth while on a faster link', () => {
    expect(new Compression(mibPerSecond(400), 1).quality).toBe(0);
    expect(new Compression(mibPerSecond(400), 16).quality).toBeGreaterThan(0);
  });

  it('leaves what cannot be compressed as it is', async () => {
    const content = randomBytes(1024 * 1024);
    const before = Buffer.from(content);
    expect(await new Compression(mibPerSecond(3)).shrink(content)).toBeUndefined();
    expect(content.equals(before)).toBe(true);
  });

  it('gives back what it was given, and refuses what is damaged, cut or longer than it should be', async () => {
    const content = words();
    const buffer = Buffer.from(content);
    const bytes = (await new Compression(mibPerSecond(3)).shrink(buffer)) ?? 0;
    expect(bytes).toBeGreaterThan(0);
    expect(bytes).toBeLessThan(content.length / 10);
    const packed = Buffer.from(buffer.subarray(0, bytes));
    expect((await inflateChunk(packed, content.length)).equals(content)).toBe(true);
    const refused = { kind: 'invalid-request' };
    await expect(inflateChunk(packed.subarray(0, bytes - 4), content.length)).rejects.toMatchObject(refused);
    await expect(inflateChunk(packed, content.length - 1)).rejects.toMatchObject(refused);
    await expect(inflateChunk(packed, content.length + 1)).rejects.toMatchObject(refused);
    await expect(inflateChunk(randomBytes(500), content.length)).rejects.toMatchObject(refused);
  });
});

describe('the gauge of a link', () => {
  it('counts the time in which something is on its way, once, and forgets what is long ago', () => {
    let now = 0;
    const gauge = new LinkGauge(() => now);
    expect(gauge.bytesPerMs).toBeUndefined();
    gauge.begin();
    gauge.begin();
    now = 500;
    gauge.end(1_000_000);
    now = 1_000;
    gauge.end(1_000_000);
    now = 9_000;
    expect(gauge.bytesPerMs).toBe(2_000);
    // A link that has become very slow is not one that nothing is known of.
    for (let round = 0; round < 30; round += 1) {
      gauge.begin();
      now += 1_000;
      gauge.end(100_000);
    }
    expect(gauge.bytesPerMs).toBeLessThan(110);
  });
});
