import { expect, it } from 'vitest';
import { requireSpace } from './space.js';

const gib = 1024 ** 3;
const space = { totalBytes: 100 * gib, freeBytes: 50 * gib, capacityBytes: 60 * gib, claimedBytes: 40 * gib };

it('lets a volume in whose full size fits beside what the others may grow to', () => {
  expect(() => requireSpace(space, 0, 20 * gib, gib, 2 * gib)).not.toThrow();
  expect(() => requireSpace(space, 10 * gib, 30 * gib, gib, 2 * gib)).not.toThrow();
});

it('refuses more claims than the disk can ever hold, and more bytes than are free now', () => {
  expect(() => requireSpace(space, 0, 21 * gib, gib, 2 * gib)).toThrow('no room for 21.00 GiB');
  expect(() => requireSpace(space, 0, gib, 49 * gib, 2 * gib)).toThrow('50.00 GiB free');
});
