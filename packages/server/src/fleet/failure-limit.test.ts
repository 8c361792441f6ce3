import { describe, expect, it } from 'vitest';
import { createFailureLimit } from './failure-limit.js';

describe('the limit on failures', () => {
  it('holds up an address after its failures of a minute, and no other', () => {
    let now = 0;
    const limit = createFailureLimit({ perAddress: 3, now: () => now });
    for (let count = 0; count < 3; count += 1) {
      expect(limit.waitSeconds('a')).toBe(0);
      limit.fail('a');
    }
    expect(limit.waitSeconds('a')).toBe(60);
    expect(limit.waitSeconds('b')).toBe(0);
    now = 59_500;
    expect(limit.waitSeconds('a')).toBe(1);
    now = 60_000;
    expect(limit.waitSeconds('a')).toBe(0);
    limit.fail('a');
    expect(limit.waitSeconds('a')).toBe(0);
  });

  it('holds up everyone after many failures of many addresses', () => {
    const limit = createFailureLimit({ perAddress: 3, inAll: 5, now: () => 0 });
    for (let count = 0; count < 5; count += 1) limit.fail(`address ${count}`);
    expect(limit.waitSeconds('a new one')).toBe(60);
  });

  it('remembers a bounded number of addresses and forgets the oldest', () => {
    const limit = createFailureLimit({ perAddress: 1, inAll: 1e9, now: () => 0 });
    for (let count = 0; count < 10_001; count += 1) limit.fail(`address ${count}`);
    expect(limit.waitSeconds('address 0')).toBe(0);
    expect(limit.waitSeconds('address 10000')).toBe(60);
  });
});
