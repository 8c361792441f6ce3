import { startTestPostgres, type TestPostgres } from '@virt8ra/engine/testing';
import fc from 'fast-check';
import type { Pool } from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { matchesSelector, parseSelector, termCondition } from './label-selector.js';
import type { LabelTerm } from './store.js';

let postgres: TestPostgres;
let pool: Pool;
beforeAll(async () => {
  postgres = await startTestPostgres();
  ({ pool } = await postgres.createDatabase());
});
afterAll(async () => await postgres?.stop());

const parameters = { seed: fc.readConfigureGlobal().seed ?? 42, numRuns: 300 };
const letter = fc.constantFrom('a', 'b', '*', '%', '_', '\\', '.', 'ü', '😀', ' ', ':');
const key = fc.string({ unit: fc.constantFrom('a', 'b', '*', '%', '_', '\\', '.', ':', 'ü'), minLength: 1, maxLength: 4 });
const labelKey = fc.string({ unit: fc.constantFrom('a', 'b', '%', '_', '\\', '.', ':', 'ü'), minLength: 1, maxLength: 4 });
const number = fc.tuple(fc.integer({ min: -999, max: 999 }), fc.constantFrom('', '.5', '.0')).map(([whole, rest]) => `${whole}${rest}`);
const value = fc.oneof(fc.string({ unit: letter, maxLength: 5 }), number, fc.constantFrom('1e3', '+1', ' 1', '--1', '٣', '1.', '.5'));
const labels = fc.dictionary(labelKey, value, { maxKeys: 4 });
const term: fc.Arbitrary<LabelTerm> = fc.oneof(
  fc.record({ key, operator: fc.constantFrom('=' as const, '!=' as const), value }),
  fc.record({ key, operator: fc.constantFrom('>' as const, '>=' as const, '<' as const, '<=' as const), value: number }),
);

async function matchesInDatabase(
  selector: readonly LabelTerm[],
  all: readonly Readonly<Record<string, string>>[],
): Promise<readonly boolean[]> {
  const values: unknown[] = [];
  const bind = (one: unknown): string => `$${values.push(one)}`;
  const rows = `unnest(${bind(all.map((each) => JSON.stringify(each)))}::jsonb[]) with ordinality as row (labels, position)`;
  const conditions = selector.map((each) => termCondition(each, 'row.labels', bind));
  const { rows: found } = await pool.query<{ holds: boolean }>(
    `select ${['true', ...conditions].join(' and ')} as holds from ${rows} order by position`,
    values,
  );
  return found.map((row) => row.holds);
}

describe('a label selector', () => {
  it('is read back as it was written', () => {
    const plain = fc.string({ unit: fc.constantFrom('a', 'B', '1', '-', '.', '*', '/', ':', '_'), minLength: 1, maxLength: 20 });
    const terms = fc.array(
      fc.oneof(
        fc.record({ key: plain, operator: fc.constantFrom('=' as const, '!=' as const), value: fc.oneof(plain, fc.constant('')) }),
        fc.record({ key: plain, operator: fc.constantFrom('>' as const, '>=' as const, '<' as const, '<=' as const), value: number }),
      ),
      { minLength: 1, maxLength: 5 },
    );
    fc.assert(
      fc.property(terms, (selector) => {
        const text = selector.map((each) => `${each.key}${each.operator}${each.value}`).join(', ');
        expect(parseSelector(text)).toEqual(selector);
      }),
      parameters,
    );
  });

  it('never fails but with a problem that names the parameter', () => {
    const anything = fc.oneof(
      fc.string({ unit: 'binary' }),
      fc.string({ unit: fc.constantFrom('a', '=', '!', '<', '>', ',', '*', ' ', '\0', '\ud800') }),
    );
    fc.assert(
      fc.property(anything, (text) => {
        try {
          parseSelector(text);
        } catch (error) {
          expect(error).toMatchObject({ kind: 'invalid-request', sources: [{ parameter: 'labels' }] });
        }
      }),
      { ...parameters, numRuns: 2000 },
    );
  });

  it('selects the same in the database and in memory', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(term, { maxLength: 3 }), fc.array(labels, { minLength: 1, maxLength: 10 }), async (selector, all) => {
        expect(await matchesInDatabase(selector, all)).toEqual(all.map((each) => matchesSelector(selector, each)));
      }),
      parameters,
    );
  });

  it('stays quick with hostile wildcards', () => {
    const selector = parseSelector(`${'*a'.repeat(60)}*b=${'*a'.repeat(1000)}*b`);
    const begun = performance.now();
    for (let round = 0; round < 100; round += 1) expect(matchesSelector(selector, { ['a'.repeat(63)]: 'a'.repeat(63) })).toBe(false);
    expect(performance.now() - begun).toBeLessThan(1000);
  });

  it.each([
    ['env=prod', { env: 'prod' }, true],
    ['env=prod', { Env: 'prod' }, false],
    ['env!=prod', {}, true],
    ['env>1', { env: 'x' }, false],
    ['env=', { env: '' }, true],
    ['constructor=*', {}, false],
    ['*=*', {}, false],
    ['*!=x', { a: 'x', b: 'y' }, false],
    ['a>=1.5,a<2', { a: '1.75' }, true],
  ])('%s on %j is %s', (text, given, holds) => {
    expect(matchesSelector(parseSelector(text), given)).toBe(holds);
  });

  it.each(['=a', 'a', 'a==b', 'a>b', 'a>1*', ',', 'a=b,', 'a b=c', `a=${'b'.repeat(5000)}`, Array(33).fill('a=b').join(',')])(
    'refuses %j',
    (text) => {
      expect(() => parseSelector(text)).toThrowError(expect.objectContaining({ kind: 'invalid-request' }));
    },
  );
});
