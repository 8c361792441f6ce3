import { describe, expect, it } from 'vitest';
import { askedAlone, askedTogether } from './asked-together.js';

describe('questions asked together', () => {
  it('become one read at the end of their turn, and each gets its own answer', async () => {
    const reads: (readonly number[])[] = [];
    const double = askedTogether<number, number>(async (asks) => {
      reads.push(asks);
      return asks.map((ask) => ask * 2);
    });
    const first = [double(1), double(2), double(1)];
    expect(reads).toEqual([]);
    expect(await Promise.all(first)).toEqual([2, 4, 2]);
    expect(await double(3)).toBe(6);
    expect(reads).toEqual([[1, 2, 1], [3]]);
  });

  it('read anew each time: what is asked while a read is under way does not get its answer', async () => {
    let state = 'before';
    const held: (() => void)[] = [];
    const look = askedTogether<string, string>(async (asks) => {
      const seen = asks.map(() => state);
      await new Promise<void>((resolve) => held.push(resolve));
      return seen;
    });
    const early = look('a');
    await expect.poll(() => held.length).toBe(1);
    state = 'after';
    const late = look('a');
    await expect.poll(() => held.length).toBe(2);
    for (const release of held) release();
    expect([await early, await late]).toEqual(['before', 'after']);
  });

  it('fail together when their read fails, and the next read is not touched by it', async () => {
    let fails = true;
    const look = askedTogether<number, number>(async (asks) => {
      if (fails) throw new Error('away');
      return asks;
    });
    const both = await Promise.allSettled([look(1), look(2)]);
    expect(both.map(({ status }) => status)).toEqual(['rejected', 'rejected']);
    fails = false;
    expect(await look(4)).toBe(4);
  });

  it('are split when they are very many', async () => {
    const sizes: number[] = [];
    const look = askedTogether<number, number>(async (asks) => {
      sizes.push(asks.length);
      return asks;
    });
    const numbers = Array.from({ length: 2500 }, (_, index) => index);
    expect(await Promise.all(numbers.map(async (number) => await look(number)))).toEqual(numbers);
    expect(sizes).toEqual([1000, 1000, 500]);
  });

  it('are read at once, one by one, where their order matters', async () => {
    const reads: (readonly number[])[] = [];
    const look = askedAlone<number, number>(async (asks) => {
      reads.push(asks);
      return asks;
    });
    expect(await Promise.all([look(1), look(2)])).toEqual([1, 2]);
    expect(reads).toEqual([[1], [2]]);
  });
});
