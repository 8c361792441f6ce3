import { Problem } from '@virt8ra/contract';
import { inTransaction } from '@virt8ra/engine';
import { startTestPostgres, type TestPostgres } from '@virt8ra/engine/testing';
import fc from 'fast-check';
import type { Pool } from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { rangesOf } from '../network/index.js';
import { assignAddresses, freeNic, nicMigrations } from './ipam.js';

let postgres: TestPostgres;
let pool: Pool;
beforeAll(async () => {
  postgres = await startTestPostgres();
  ({ pool } = await postgres.createDatabase(nicMigrations));
}, 60_000);
afterAll(async () => await postgres?.stop());

const usable = Array.from({ length: 13 }, (_, index) => `10.0.0.${index + 2}`);
const nics = ['a', 'b', 'c', 'd', 'e'] as const;

const act = fc.oneof(
  fc.record({
    type: fc.constant('assign' as const),
    nic: fc.constantFrom(...nics),
    wanted: fc.array(fc.oneof(fc.constant('0.0.0.0'), fc.constantFrom(...usable)), { minLength: 1, maxLength: 5 }),
  }),
  fc.record({ type: fc.constant('free' as const), nic: fc.constantFrom(...nics) }),
);

describe('the addresses of a subnet', () => {
  it('are each held once or free in ranges that never touch, and a refusal changes nothing', async () => {
    let round = 0;
    await fc.assert(
      fc.asyncProperty(fc.array(act, { minLength: 1, maxLength: 12 }), async (acts) => {
        round += 1;
        const uid = `res_${round}` as const;
        const space = {
          uid,
          name: 's',
          ranges: rangesOf({ ipv4: '10.0.0.0/28' }, '/spec/cidr').map((range) => ({ range, address: '10.0.0.1' })),
        };
        const model = new Map<string, string>();
        for (const step of acts) {
          const nic = `${step.nic}-${round}`;
          const before = [...model].filter(([, owner]) => owner === nic).map(([address]) => address);
          if (step.type === 'free') {
            await inTransaction(pool, async (client) => await freeNic(client, uid, nic));
            for (const address of before) model.delete(address);
          } else {
            const given = await inTransaction(pool, async (client) => await assignAddresses(client, space, nic, step.wanted)).catch(
              (problem: unknown) => {
                if (!(problem instanceof Problem)) throw problem;
                const named = step.wanted.filter((wanted) => wanted !== '0.0.0.0');
                const free = usable.length - [...model.values()].filter((owner) => owner !== nic).length;
                const reasons = {
                  validation: new Set(named).size < named.length,
                  conflict: named.some((address) => (model.get(address) ?? nic) !== nic),
                  exhausted: step.wanted.length > free,
                };
                expect(reasons).toHaveProperty(problem.kind, true);
                return undefined;
              },
            );
            if (given !== undefined) {
              for (const address of before) model.delete(address);
              expect(given).toHaveLength(step.wanted.length);
              for (const [index, address] of given.entries()) {
                expect(model.has(address)).toBe(false);
                if (step.wanted[index] !== '0.0.0.0') expect(address).toBe(step.wanted[index]);
                model.set(address, nic);
              }
              const anyCount = step.wanted.filter((wanted) => wanted === '0.0.0.0').length;
              const keepable = before.filter((address) => !step.wanted.includes(address));
              const kept = keepable.filter((address) => given.includes(address));
              expect(kept).toHaveLength(Math.min(anyCount, keepable.length));
            }
          }
          await expectWhole(uid, model);
        }
      }),
      { seed: fc.readConfigureGlobal().seed ?? 8, numRuns: 60 },
    );
  }, 60_000);
});

async function expectWhole(uid: string, model: ReadonlyMap<string, string>): Promise<void> {
  const { rows: held } = await pool.query<{ address: string; nic: string }>(
    'select host(address) as address, nic from nic_address where subnet_uid = $1',
    [uid],
  );
  expect(new Map(held.map(({ address, nic }) => [address, nic]))).toEqual(model);
  const { rows: ranges } = await pool.query<{ first: string; last: string }>(
    'select host(first) as first, host(last) as last from nic_free_range where subnet_uid = $1 order by nic_free_range.first',
    [uid],
  );
  if (held.length === 0 && ranges.length === 0) return;
  const octet = (address: string): number => Number(address.split('.')[3]);
  const free = ranges.flatMap(({ first, last }) =>
    Array.from({ length: octet(last) - octet(first) + 1 }, (_, index) => `10.0.0.${octet(first) + index}`),
  );
  expect([...free, ...model.keys()].toSorted()).toEqual(usable.toSorted());
  for (const [index, { first }] of ranges.entries()) {
    const before = ranges[index - 1];
    if (before !== undefined) expect(octet(first)).toBeGreaterThan(octet(before.last) + 1);
  }
}
