import { describe, expect, it } from 'vitest';
import { RoomGauge } from './room.js';

const mib = 1024 ** 2;

describe('a gauge of room', () => {
  it('keeps what the host needs when many writes begin before any is done', async () => {
    const totalBytes = 64 * mib;
    const keptBytes = totalBytes / 16;
    let freeBytes = 16 * mib;
    const gauge = new RoomGauge('/somewhere', () => Promise.resolve({ freeBytes, totalBytes }));
    const begun: (() => void)[] = [];
    const write = async () => {
      await new Promise<void>((resolve) => begun.push(resolve));
      freeBytes -= mib;
    };
    const writes = Array.from({ length: 32 }, async () => await gauge.hold(mib, 0, write));
    const settled = Promise.allSettled(writes);
    let done = 0;
    void settled.then(() => {
      done = 1;
    });
    while (done === 0) {
      for (const go of begun.splice(0)) go();
      await new Promise((resolve) => setImmediate(resolve));
    }
    const results = await settled;
    expect(results.filter(({ status }) => status === 'fulfilled').length).toBeGreaterThanOrEqual(10);
    expect(results.find((result) => result.status === 'rejected')?.reason).toMatchObject({ kind: 'exhausted', facts: { totalBytes } });
    expect(freeBytes).toBeGreaterThanOrEqual(keptBytes);
  });

  it('gives the room of a failed write back', async () => {
    const gauge = new RoomGauge('/somewhere', () => Promise.resolve({ freeBytes: 6 * mib, totalBytes: 64 * mib }));
    for (let round = 0; round < 8; round += 1)
      await expect(gauge.hold(2 * mib, 0, () => Promise.reject(new Error('broken')))).rejects.toThrow('broken');
  });
});
