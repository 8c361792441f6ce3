import fc from 'fast-check';
import { expect, it } from 'vitest';
import { chooseCpus } from './choose-cpus.js';
import { cpusFromList, listFromCpus } from './cpu-list.js';
import type { HardwareThread } from './topology.js';

/** Two nodes of four cores with two threads each, numbered as Linux does: siblings are eight apart. */
const machine: readonly HardwareThread[] = Array.from({ length: 16 }, (_, cpu) => ({ cpu, core: cpu % 8, node: cpu % 8 < 4 ? 0 : 1 }));
const without = (...taken: number[]) => machine.filter(({ cpu }) => !taken.includes(cpu));

it('takes whole cores of one node, from the node that has less to spare', () => {
  expect(chooseCpus(machine, 2)).toEqual([0, 8]);
  expect(chooseCpus(without(4, 12), 4)).toEqual([5, 13, 6, 14]);
  expect(chooseCpus(without(4, 12), 8)).toEqual([0, 8, 1, 9, 2, 10, 3, 11]);
});

it('gives a single processor the other half of a core that is begun already', () => {
  expect(chooseCpus(without(0), 1)).toEqual([8]);
  expect(chooseCpus(without(0), 3)).toEqual([1, 9, 8]);
});

it('spreads over nodes only what no node can hold', () => {
  expect(chooseCpus(machine, 10)).toHaveLength(10);
  expect(chooseCpus(machine, 17)).toBeUndefined();
});

it('never gives a thread twice, nor one that is not free', () => {
  fc.assert(
    fc.property(fc.subarray([...machine]), fc.integer({ min: 1, max: 16 }), (free, count) => {
      const chosen = chooseCpus(free, count);
      expect(chosen === undefined).toBe(free.length < count);
      expect(new Set(chosen).size).toBe(chosen === undefined ? 0 : count);
      for (const cpu of chosen ?? []) expect(free.map((thread) => thread.cpu)).toContain(cpu);
    }),
    { seed: fc.readConfigureGlobal()?.seed ?? 8 },
  );
});

it('reads the kernel’s lists and refuses what is none', () => {
  expect(cpusFromList('0-3,8, 8')).toEqual([0, 1, 2, 3, 8]);
  expect(listFromCpus([8, 0, 1])).toBe('0,1,8');
  for (const text of ['', '3-1', 'a', '1;2', '-1']) expect(cpusFromList(text)).toBeUndefined();
});
