import { blockStorage, type Id, image } from '@virt8ra/contract';
import type { Handle } from '@virt8ra/driver';
import { engineMigrations } from '@virt8ra/engine';
import { startTestPostgres, type TestDatabase, type TestPostgres } from '@virt8ra/engine/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { capacityMigrations } from '../../capacity/claims.js';
import { resourceMigrations } from '../../resources/migrations.js';
import { imagePointer } from '../block-storage/index.js';
import { instanceMigrations } from '../instance/index.js';
import type { MovePlan } from './plan.js';
import { seedsOf } from './seeds.js';
import { createMigrationWorld } from './testing/migration-world.js';

let postgres: TestPostgres;
let database: TestDatabase;

beforeAll(async () => {
  postgres = await startTestPostgres();
  database = await postgres.createDatabase([...engineMigrations, ...resourceMigrations, ...capacityMigrations, ...instanceMigrations]);
});
afterAll(async () => await postgres?.stop());

const sha256 = 'a'.repeat(64);
const given = '/images/debian';
const active = { state: 'active', conditions: [{ state: 'active' }] } as const;
const gib = 1024 ** 3;

describe('what a target host may hold of a disk already', () => {
  it('is what the plan names, an earlier copy, the image or a sibling made from it, in that order', async () => {
    const world = await createMigrationWorld(database.pool, { mode: 'cold', power: 'on' });
    const { store, uids } = world;
    const [boot, data] = uids.volumes;
    if (boot === undefined || data === undefined) throw new Error('no disks');
    const allocated = new Map<string, number>();
    const connectionOf: typeof world.context.sites.connectionOf = async (site) => {
      const connection = await world.sites.connectionOf(site);
      const { blockStorages } = connection;
      if (blockStorages === undefined) throw new Error('a site without block storages');
      const observe: typeof blockStorages.observe = async (handle) => ({
        type: 'present',
        status: { state: 'ready', sizeBytes: gib, host: `${site}-1`, allocatedBytes: allocated.get(handle.value) ?? gib },
        at: '2026-01-01T00:00:00Z',
        source: 'test',
      });
      return { ...connection, blockStorages: { ...blockStorages, observe } };
    };
    const context = { ...world.context, sites: { ...world.context.sites, connectionOf } };
    const handleOf = (value: string): Handle => ({ type: 'volume', value }) as unknown as Handle;
    const source = { id: 'rea_1' as Id<'realization'>, handle: handleOf('source') };
    const planned = (uid: Id<'resource'>, name: string) => ({
      ...{ uid, name, sizeBytes: gib, origin: { type: 'blank' } as const, source, revision: 2 },
      target: { id: 'rea_2' as Id<'realization'>, key: 'k' },
    });
    const plan = {
      mode: 'cold',
      from: { site: 'alpha', host: 'alpha-1' },
      to: { site: 'beta', host: 'beta-1' },
      volumes: [planned(boot, 'boot'), planned(data, 'data')],
    } as unknown as MovePlan;
    const seeds = async (change: Partial<MovePlan> = {}) => await seedsOf(context, { ...plan, ...change });
    expect(await seeds()).toEqual([undefined, undefined]);

    const sibling = async (imageUid: Id<'resource'>, name: string, workspace = 'prod', origin: object = { type: 'incoming' }) =>
      await store.transaction(async (tx) => {
        const spec = { sizeGB: 1, skuRef: 'skus/D', sourceImageRef: given };
        const references = [{ pointer: imagePointer, given, uid: imageUid }];
        const { uid } = await tx.put({ kind: blockStorage, address: { tenant: 'acme', workspace, name }, spec, references, ...active });
        const at = { role: 'primary', facet: 'blockStorages', site: 'beta', host: 'beta-1', facts: { origin } } as const;
        const { id } = await tx.ledger.intend({ ...at, resourceUid: uid });
        await tx.ledger.confirm(id, handleOf(name));
      });
    const imageUid = await store.transaction(async (tx) => {
      const status = { sha256, format: 'qcow2', fileBytes: 1 };
      const made = await tx.put({ kind: image, address: { tenant: 'acme', name: 'debian' }, spec: {}, status, ...active });
      const held = await tx.lock(boot);
      if (held === undefined) throw new Error('no disk');
      await tx.setReferences(boot, [{ pointer: imagePointer, given, uid: made.uid }]);
      return made.uid;
    });
    const fromImage = { image: { sha256, format: 'qcow2' } };
    expect(await seeds()).toEqual([fromImage, undefined]);
    await sibling(imageUid, 'stranger', 'other');
    await sibling(imageUid, 'huge');
    allocated.set('huge', 100 * gib);
    expect(await seeds()).toEqual([fromImage, undefined]);
    await sibling(imageUid, 'moved');
    expect(await seeds()).toEqual([{ volume: handleOf('moved') }, undefined]);
    await sibling(imageUid, 'made', 'prod', { type: 'image', sha256 });
    expect(await seeds()).toEqual([fromImage, undefined]);
    await store.transaction(async (tx) => {
      const at = { role: 'retained', facet: 'blockStorages', site: 'beta', host: 'beta-1' } as const;
      for (const [index, uid] of uids.volumes.entries()) {
        const { id } = await tx.ledger.intend({ ...at, resourceUid: uid });
        await tx.ledger.confirm(id, handleOf(`earlier-${index}`));
      }
    });
    expect(await seeds()).toEqual([{ volume: handleOf('earlier-0') }, { volume: handleOf('earlier-1') }]);
    const [first, second] = plan.volumes;
    if (first === undefined || second === undefined) throw new Error('no disks');
    const named = { volume: handleOf('named') };
    expect(await seeds({ volumes: [{ ...first, seed: named }, second] })).toEqual([named, { volume: handleOf('earlier-1') }]);
    expect(await seeds({ mode: 'live' })).toEqual([undefined, undefined]);
  });
});
