import { instance } from '@virt8ra/contract';
import { startTestPostgres, type TestPostgres } from '@virt8ra/engine/testing';
import type { Pool } from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parseSelector } from './label-selector.js';
import { resourceMigrations } from './migrations.js';
import { pageQuery, rarityQuery, walkableTerms } from './page-query.js';
import { parentRange } from './parent-range.js';
import { createStoreReader } from './store-reader.js';

let postgres: TestPostgres;
let pool: Pool;
const within = { tenant: 't', workspace: 'w' };
const range = parentRange(instance, within);
const rows = 20_000;

beforeAll(async () => {
  postgres = await startTestPostgres();
  ({ pool } = await postgres.createDatabase(resourceMigrations));
  await pool.query('alter table resource set (autovacuum_enabled = off)');
  await pool.query('alter table resource_label set (autovacuum_enabled = off)');
  await pool.query(
    `insert into resource (uid, kind, parent, name, ref, tenant, workspace, labels, annotations, extensions, spec, status, state, conditions, created_at, last_modified_at)
     select 'res_' || i, 'instance', 'tenants/t/workspaces/w', 'i' || lpad(i::text, 7, '0'), 'ref', 't', 'w',
       jsonb_build_object('env', case when i % 2 = 0 then 'prod' else 'test' end, 'shard', (i % 100)::text, 'n', i::text),
       '{}', '{}', '{"zone": "any"}', '{}', 'active', '[]', now(), now() from generate_series(1, ${rows}) as i`,
  );
  await pool.query('insert into resource_label select kind, parent, key, value, name from resource, jsonb_each_text(labels)');
}, 60_000);
afterAll(async () => await postgres?.stop());

interface Plan {
  readonly Plan: { readonly 'Shared Hit Blocks': number; readonly 'Shared Read Blocks': number };
}

/** 8 KiB blocks that the statement looks at. */
async function blocksOf(text: string, values: unknown[]): Promise<number> {
  const { rows: found } = await pool.query<{ 'QUERY PLAN': readonly Plan[] }>(`explain (analyze, buffers, format json) ${text}`, values);
  const plan = found[0]?.['QUERY PLAN'][0]?.Plan;
  return (plan?.['Shared Hit Blocks'] ?? 0) + (plan?.['Shared Read Blocks'] ?? 0);
}

// A whole collection is more than 700 blocks, and 20,000 look-ups are more than 60,000.
const cases = [
  ['', undefined, 60],
  ['', 'i0015000', 60],
  ['env=prod', undefined, 120],
  ['env=prod', 'i0015000', 120],
  ['shard=7', undefined, 120],
  ['n=12345', undefined, 30],
  ['env=prod,shard=8', undefined, 120],
  ['env=none', undefined, 30],
  ['shard=7,n!=107', undefined, 120],
] as const;

describe.each(['never analyzed', 'analyzed'])('a page of 10 out of 20,000, %s', (statistics) => {
  beforeAll(async () => {
    if (statistics === 'analyzed') await pool.query('vacuum analyze');
  });

  it.each(cases)('with %j after %j looks at no more than its own rows', async (selector, after, most) => {
    const query = { selector: parseSelector(selector), limit: 10, after: after === undefined ? undefined : `x ${after} res` };
    const terms = walkableTerms(range, query);
    const rarest = terms.find((term) => term.key === 'shard') ?? terms[0];
    const { text, values } = pageQuery(instance, range, query, rarest);
    expect(await blocksOf(text, values)).toBeLessThanOrEqual(most);
    if (terms.length > 1) {
      const rarity = rarityQuery(instance, range, terms);
      expect(await blocksOf(rarity.text, rarity.values)).toBeLessThanOrEqual(300);
    }
  });

  it('is walked by its rarest term, wherever that stands', async () => {
    for (const selector of ['env=prod,shard=8', 'shard=8,env=prod']) {
      const page = await createStoreReader(pool).list(instance, within, { selector: parseSelector(selector), limit: 3, after: undefined });
      expect(page.items.map((item) => item.address.name)).toEqual(['i0000008', 'i0000108', 'i0000208']);
    }
  });
});
