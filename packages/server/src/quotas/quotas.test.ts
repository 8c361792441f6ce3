import { backup, blockStorage, instance, instanceSku, type Kind, network, publicIp, quota, snapshot, workspace } from '@virt8ra/contract';
import { createRecordedLog, startTestPostgres, type TestPostgres } from '@virt8ra/engine/testing';
import type { Pool } from 'pg';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createPutResource } from '../http/put-resource.js';
import type { KindBehaviour, Subject } from '../kinds/behaviour.js';
import { createQuotaBehaviour } from '../kinds/quota/index.js';
import { createStore } from '../resources/create-store.js';
import { resourceMigrations } from '../resources/migrations.js';
import type { Store } from '../resources/store.js';
import { countQuota } from './count-quota.js';
import { mendQuotaUse } from './mend-quota-use.js';
import { quotaMigrations } from './migrations.js';

let postgres: TestPostgres;
let pool: Pool;
let store: Store;
let behaviours: ReadonlyMap<string, KindBehaviour>;
const operator: Subject = { name: 'root', operator: true, tenants: 'all', remote: '' };
const ann: Subject = { name: 'ann', operator: false, tenants: ['acme'], remote: '' };

beforeAll(async () => {
  postgres = await startTestPostgres();
  ({ pool } = await postgres.createDatabase([...resourceMigrations, ...quotaMigrations]));
  pool.options.max = 40;
  store = createStore({ pool, queue: { nudge: async () => undefined }, onPut: countQuota });
  const record = (kind: Kind): KindBehaviour => ({ kind }) as unknown as KindBehaviour;
  behaviours = new Map(
    [workspace, instanceSku, instance, blockStorage, snapshot, backup, network, publicIp].map((kind) => [kind.kind, record(kind)]),
  ).set(quota.kind, createQuotaBehaviour(pool) as KindBehaviour);
}, 60_000);
afterAll(async () => await postgres?.stop());
beforeEach(async () => {
  await pool.query('truncate resource, workspace_load, feed, audit, quota_use cascade');
  for (const tenant of ['acme', 'other']) {
    for (const name of ['prod', 'dev']) await put(workspace, { tenant, name }, {});
    await store.transaction(async (tx) => {
      for (const [name, vCPU] of [
        ['small', 1],
        ['large', 4],
      ] as const)
        await tx.put({
          kind: instanceSku,
          address: { tenant, name },
          spec: { vCPU, ram: vCPU * 2 },
          state: 'active',
          conditions: [{ state: 'active' }],
        });
    });
  }
});

async function put(kind: Kind, address: { tenant: string; workspace?: string; name: string }, spec: unknown, subject = ann) {
  const behaviour = behaviours.get(kind.kind);
  if (behaviour === undefined) throw new Error(kind.kind);
  return await createPutResource(store, behaviour, { region: 'eu-test', access: { seen: async () => () => true } })({
    address,
    body: { spec },
    version: undefined,
    subject,
  });
}
const putInstance = async (name: string, sku = 'small', place: { tenant: string; workspace: string } = prod) =>
  await put(instance, { ...place, name }, { zone: 'any', skuRef: `skus/${sku}`, bootVolume: { deviceRef: 'block-storages/d' } });
const putQuota = async (name: string, limits: object, inWorkspace?: string, subject = operator) =>
  await put(quota, { tenant: 'acme', name }, { ...(inWorkspace === undefined ? {} : { workspace: inWorkspace }), limits }, subject);
const prod = { tenant: 'acme', workspace: 'prod' };
const remove = async (name: string) =>
  await store.transaction(async (tx) => {
    const found = await tx.lockAt(instance, { ...prod, name });
    if (found !== undefined) await tx.remove(found.uid);
  });
const usedBy = async (name: string): Promise<unknown> => {
  const found = await store.get(quota, { tenant: 'acme', name });
  const [facts] = (await behaviours.get(quota.kind)?.present?.(store, found === undefined ? [] : [found])) ?? [];
  return (facts as { used?: unknown } | undefined)?.used;
};

describe('quotas', () => {
  it('refuse what would exceed them, say limit, used and asked and how to mend it, and change nothing then', async () => {
    await putQuota('all', { instances: 3, vCPU: 6, storageGB: 100 });
    await putInstance('a', 'large');
    await putInstance('b');
    await expect(putInstance('c', 'large')).rejects.toMatchObject({
      kind: 'exhausted',
      status: 409,
      message:
        'tenant acme may have 6 vCPU (quota all); it has 5, and this asks for 4 more: delete some, ask for less, or have the operator raise it',
      facts: { quota: 'all', unit: 'vCPU', limit: 6, used: 5, asked: 4 },
    });
    expect(await store.get(instance, { ...prod, name: 'c' })).toBeUndefined();
    expect(await usedBy('all')).toEqual({ instances: 2, vCPU: 5, storageGB: 0 });
    await putInstance('c');
    await expect(putInstance('d', 'small', { tenant: 'acme', workspace: 'dev' })).rejects.toMatchObject({
      facts: { unit: 'instances', used: 3 },
    });
    await putInstance('d', 'large', { tenant: 'other', workspace: 'prod' });

    const disk = { tenant: 'acme', workspace: 'prod', name: 'd1' };
    await put(blockStorage, disk, { sizeGB: 60, skuRef: 'skus/x' });
    await expect(put(blockStorage, disk, { sizeGB: 101, skuRef: 'skus/x' })).rejects.toMatchObject({
      facts: { unit: 'storageGB', used: 60, asked: 41 },
    });
    await put(blockStorage, disk, { sizeGB: 100, skuRef: 'skus/x' });
    expect(await usedBy('all')).toEqual({ instances: 3, vCPU: 6, storageGB: 100 });
  });

  it('count a resize both ways, give back only when it is really gone, and never refuse what does not grow', async () => {
    await putInstance('a', 'large');
    await putQuota('tight', { vCPU: 4, instances: 1 }, 'prod');
    await putInstance('a', 'small');
    expect(await usedBy('tight')).toEqual({ vCPU: 1, instances: 1 });
    await putInstance('a', 'large');
    await store.transaction(async (tx) => await tx.markDeleted((await tx.lockAt(instance, { ...prod, name: 'a' }))?.uid ?? 'res_'));
    await expect(putInstance('b')).rejects.toMatchObject({ kind: 'exhausted' });
    await remove('a');
    expect(await usedBy('tight')).toEqual({ vCPU: 0, instances: 0 });
    await putInstance('b', 'large');

    await putQuota('tight', { vCPU: 1 }, 'prod');
    await putInstance('b', 'small');
    await expect(putInstance('b', 'large')).rejects.toMatchObject({ facts: { limit: 1, used: 1, asked: 3 } });
    await putInstance('elsewhere', 'large', { tenant: 'acme', workspace: 'dev' });
  });

  it('are never exceeded by any number at once, and do not hold up other tenants', async () => {
    await putQuota('all', { instances: 7 });
    await putQuota('here', { vCPU: 5 }, 'prod');
    const tries = Array.from({ length: 24 }, (_, index) =>
      putInstance(`i${index}`, 'small', { tenant: 'acme', workspace: index % 2 === 0 ? 'prod' : 'dev' }).then(
        () => (index % 2 === 0 ? 'prod' : 'dev'),
        (problem: { kind: string }) => problem.kind,
      ),
    );
    const others = Array.from(
      { length: 12 },
      async (_, index) => await putInstance(`i${index}`, 'small', { tenant: 'other', workspace: 'prod' }),
    );
    const ended = await Promise.all(tries);
    await Promise.all(others);
    expect(ended.filter((each) => each === 'exhausted')).toHaveLength(17);
    expect(ended.filter((each) => each === 'prod').length).toBeLessThanOrEqual(5);
    expect(await usedBy('all')).toEqual({ instances: 7 });

    // One that holds a quota keeps nobody else waiting.
    const blocker = await pool.connect();
    try {
      await blocker.query(`begin; select 1 from resource where kind = 'quota' and name = 'all' for no key update`);
      await putInstance('free', 'small', { tenant: 'other', workspace: 'prod' });
    } finally {
      await blocker.query('rollback');
      blocker.release();
    }
  });

  it('count what snapshots and backups may take at most, by the sizes that their block storages had', async () => {
    const log = createRecordedLog();
    const within = (name: string) => ({ ...prod, name });
    await putQuota('all', { snapshotGB: 25, backupGB: 45, backups: 9 });
    await put(blockStorage, within('d'), { sizeGB: 10, skuRef: 'skus/x' });
    await put(blockStorage, within('e'), { sizeGB: 20, skuRef: 'skus/x' });
    const spec = {
      zone: 'any',
      skuRef: 'skus/small',
      bootVolume: { deviceRef: 'block-storages/d' },
      dataVolumes: [{ deviceRef: { resource: 'block-storages/e' } }],
    };
    await put(instance, within('i'), spec);
    await put(backup, within('whole'), { instanceRef: 'instances/i' });
    await put(snapshot, within('one'), { blockStorageRef: 'block-storages/e' });
    expect(await usedBy('all')).toEqual({ snapshotGB: 20, backupGB: 30, backups: 1 });
    await expect(put(backup, within('second'), { blockStorageRef: 'block-storages/e' })).rejects.toMatchObject({
      facts: { unit: 'backupGB', limit: 45, used: 30, asked: 20 },
      message: expect.stringContaining('may have 45 GB of backups'),
    });
    await expect(put(snapshot, within('two'), { instanceRef: 'instances/i' })).rejects.toMatchObject({
      facts: { unit: 'snapshotGB', asked: 30 },
    });
    await put(backup, within('third'), { blockStorageRef: 'block-storages/d' });
    // What was kept does not grow with its block storage, and was counted by number only before.
    await put(blockStorage, within('d'), { sizeGB: 40, skuRef: 'skus/x' });
    expect(await usedBy('all')).toMatchObject({ backupGB: 40 });
    await store.transaction(async (tx) => {
      const found = await tx.lockAt(backup, within('third'));
      if (found !== undefined)
        await tx.setStatus(
          found.uid,
          { volumes: [{ blockStorageRef: 'block-storages/d', sizeBytes: 10_000_000_000 }] },
          { state: 'active' },
        );
    });
    await pool.query(`delete from quota_hold where unit = 'backupGB'`);
    expect(await usedBy('all')).toMatchObject({ backupGB: 0, backups: 2 });
    await mendQuotaUse(pool, store, log);
    expect(await usedBy('all')).toEqual({ snapshotGB: 20, backupGB: 70, backups: 2 });
  });

  it('are the operator’s to set', async () => {
    await expect(putQuota('own', { instances: 1 }, undefined, ann)).rejects.toMatchObject({ kind: 'forbidden' });
    await expect(putQuota('none', {})).rejects.toMatchObject({ kind: 'validation' });
    await expect(putQuota('odd', { cows: 1 })).rejects.toMatchObject({ kind: 'validation' });
  });

  it('are right again after their sums drifted, and after an upgrade with resources that were never counted', async () => {
    const log = createRecordedLog();
    await putQuota('all', { instances: 9, vCPU: 99 });
    await putInstance('a', 'large');
    await putInstance('b');
    await mendQuotaUse(pool, store, log);
    expect(log.lines.filter(({ level }) => level === 'warn')).toEqual([]);
    await pool.query(`update quota_use set used = used + 5 where unit = 'vCPU' and workspace = ''`);
    await pool.query(`delete from quota_use where unit = 'instances' and workspace = 'prod'`);
    await pool.query(
      'alter table quota_hold disable trigger all; delete from quota_hold where uid = (select uid from resource where name = $$b$$); alter table quota_hold enable trigger all',
    );
    await pool.query(`update quota_use set used = used - 1 where unit = 'instances' and workspace = ''`);
    expect(await mendQuotaUse(pool, store, log)).toBeGreaterThan(0);
    expect(await usedBy('all')).toEqual({ instances: 2, vCPU: 5 });
    expect(await mendQuotaUse(pool, store, log)).toBe(0);
    const { rows } = await pool.query(
      `select unit, sum(used)::int as used from quota_use where workspace = 'prod' and tenant = 'acme' group by unit order by unit`,
    );
    expect(rows).toEqual([
      { unit: 'instances', used: 2 },
      { unit: 'ram', used: 10 },
      { unit: 'vCPU', used: 5 },
    ]);
  });

  it('keep no sums of what is gone, and lose nothing that is counted while these are taken out', async () => {
    const log = createRecordedLog();
    let writing = true;
    const forgetting = (async () => {
      while (writing) await mendQuotaUse(pool, store, log);
    })();
    await Promise.all(
      Array.from({ length: 8 }, async (_, writer) => {
        for (let round = 0; round < 6; round += 1) {
          await putInstance(`w${writer}`);
          await remove(`w${writer}`);
        }
      }),
    );
    await putInstance('left');
    writing = false;
    await forgetting;
    await mendQuotaUse(pool, store, log);
    expect(log.lines.filter(({ level }) => level === 'warn')).toEqual([]);
    const sums = async () =>
      (await pool.query(`select workspace, unit, sum(used)::int as used from quota_use where unit = 'instances' group by 1, 2 order by 1`))
        .rows;
    expect(await sums()).toEqual([
      { workspace: '', unit: 'instances', used: 1 },
      { workspace: 'prod', unit: 'instances', used: 1 },
    ]);
    await remove('left');
    await mendQuotaUse(pool, store, log);
    expect(await sums()).toEqual([]);
  });

  it('cost the same however much there is', async () => {
    await putQuota('all', { instances: 100_000 });
    const explain = async (): Promise<number> => {
      const { rows } = await pool.query(
        `explain (analyze, format json) select workspace, unit, sum(used) from quota_use where tenant = 'acme' and workspace = any('{prod,""}') and unit = any('{instances}') group by workspace, unit`,
      );
      return rows[0]['QUERY PLAN'][0].Plan['Actual Rows'];
    };
    await pool.query(`insert into resource (uid, kind, parent, name, ref, tenant, workspace, labels, annotations, extensions, spec, status, state, conditions, created_at, last_modified_at)
      select 'res_' || step, 'instance', 'tenants/acme/workspaces/prod', 'n' || step, '', 'acme', 'prod', '{}', '{}', '{}', '{}', '{}', 'active', '[]', now(), now() from generate_series(1, 5000) as step`);
    await pool.query(`insert into quota_hold select 'res_' || step, 'instances', 'acme', 'prod', 1 from generate_series(1, 5000) as step`);
    await putInstance('one-more');
    expect(await usedBy('all')).toEqual({ instances: 5001 });
    expect((await pool.query(`select count(*)::int as count from quota_use where tenant = 'acme'`)).rows[0].count).toBeLessThanOrEqual(
      2 * 3 * 16,
    );
    expect(await explain()).toBeLessThanOrEqual(2);
  });
});
