import { blockStorage, instance } from '@virt8ra/contract';
import { engineMigrations, type Outcome } from '@virt8ra/engine';
import { startTestPostgres, type TestDatabase, type TestPostgres } from '@virt8ra/engine/testing';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { capacityMigrations } from '../capacity/claims.js';
import { resourceMigrations } from '../resources/migrations.js';
import { createInstanceBehaviour, type InstanceContext, instanceMigrations } from './instance/index.js';
import { createMigrationWorld, type MigrationWorld } from './migration/testing/migration-world.js';

let postgres: TestPostgres;
let database: TestDatabase;
let world: MigrationWorld;
let context: InstanceContext;

beforeAll(async () => {
  postgres = await startTestPostgres();
  database = await postgres.createDatabase([...engineMigrations, ...resourceMigrations, ...capacityMigrations, ...instanceMigrations]);
});
afterAll(async () => await postgres?.stop());
beforeEach(async () => {
  world = await createMigrationWorld(database.pool, { mode: 'cold', power: 'on' });
  context = {
    ...world.context,
    runner: { ...world.context.runner, list: async () => [] },
    access: { ensure: async () => [], remove: async () => undefined, addressesOf: async () => new Map() },
  };
});

const address = { tenant: 'acme', workspace: 'prod', name: 'guest' };

async function reconcile(): Promise<Outcome | undefined> {
  const resource = await world.store.getByUid(world.uids.instance);
  return resource === undefined ? undefined : await createInstanceBehaviour(context).reconcile?.(resource as never);
}
async function conditions(): Promise<readonly { readonly state: string; readonly reason?: string; readonly message?: string }[]> {
  return (await world.store.get(instance, address))?.conditions ?? [];
}
/** The state of the data disk's realization in the ledger: what is being removed cannot be used. */
async function setDisk(state: 'present' | 'removing'): Promise<void> {
  const disk = await world.store.get(blockStorage, { ...address, name: 'data' });
  await database.pool.query('update realization set state = $2 where resource_uid = $1', [disk?.uid, state]);
}
const blockedBy = { state: 'error', reason: 'Blocked', message: 'block storage data is being removed from alpha-1' };

describe('an instance that something is in the way of', () => {
  it('says what it is, once, however often it is looked at and though its guest runs', async () => {
    await setDisk('removing');
    for (let time = 0; time < 3; time += 1) expect(await reconcile()).toMatchObject({ waitSeconds: 2, reason: blockedBy.message });
    const told = await conditions();
    expect(told[0]).toMatchObject(blockedBy);
    expect(told.filter(({ reason }) => reason === 'Blocked')).toHaveLength(1);
    expect((await world.store.get(instance, address))?.state).toBe('error');
  });

  it('is active again as soon as nothing is in the way', async () => {
    await setDisk('removing');
    await reconcile();
    await setDisk('present');
    await reconcile();
    expect((await conditions())[0]).toMatchObject({ state: 'active', reason: 'Running' });
  });

  it('is not said to be blocked while it is on its way again', async () => {
    await setDisk('removing');
    await reconcile();
    await setDisk('present');
    await database.pool.query(`update instance_power set power = 'off'`);
    await reconcile();
    expect((await conditions())[0]).toMatchObject({ state: 'updating', reason: 'Unblocked' });
    for (let tick = 0; tick < 6; tick += 1) world.sites.tick();
    await reconcile();
    expect((await conditions())[0]).toMatchObject({ state: 'active', reason: 'Stopped' });
  });
});
