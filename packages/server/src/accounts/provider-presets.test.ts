import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { provider } from '@virt8ra/contract';
import { createRecordedLog, startTestPostgres, type TestPostgres } from '@virt8ra/engine/testing';
import type { Pool } from 'pg';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createStore } from '../resources/create-store.js';
import { resourceMigrations } from '../resources/migrations.js';
import type { Store } from '../resources/store.js';
import { offerProviderPresets, type ProviderPresets, presetMigrations, readProviderPresets } from './provider-presets.js';

let postgres: TestPostgres;
let folder: string;
let pool: Pool;
let store: Store;

beforeAll(async () => {
  postgres = await startTestPostgres();
  folder = await mkdtemp(join(tmpdir(), 'virt8ra-presets-'));
});
afterAll(async () => {
  await postgres?.stop();
  await rm(folder, { recursive: true });
});
beforeEach(async () => {
  ({ pool } = await postgres.createDatabase([...resourceMigrations, ...presetMigrations]));
  store = createStore({ pool, queue: { nudge: async () => undefined } });
});

const north = { name: 'north', spec: { displayName: 'North', legalSeat: 'PL' } };
const south = { name: 'south', spec: { displayName: 'South', legalSeat: 'ES' } };
const offer = async (...presets: ProviderPresets): Promise<void> =>
  await offerProviderPresets(store, presets, new Date(), createRecordedLog());
const all = async () =>
  (await store.list(provider, {}, { selector: [], limit: 100, after: undefined })).items.map(({ address, spec }) => ({
    name: address.name,
    spec,
  }));

describe('the providers that are shipped', () => {
  it('are eight, in the shape of the contract', async () => {
    const presets = await readProviderPresets();
    expect(presets).toHaveLength(8);
    await offer(...presets);
    expect(await all()).toEqual(presets.toSorted((a, b) => (a.name < b.name ? -1 : 1)));
  });

  it.each([
    ['[', /cannot be read/],
    ['{}', /the whole must be a list/],
    ['[{"name":"a","spec":{"displayName":"A","legalSeat":"Poland"}}]', /\/0\/spec\/legalSeat/],
    ['[{"name":"A b","spec":{"displayName":"A","legalSeat":"PL"}}]', /\/0\/name/],
    ['[{"name":"a","spec":{"displayName":"A","legalSeat":"PL","seat":"x"}}]', /\/0\/spec/],
    [JSON.stringify([north, north]), /name north twice/],
  ])('are refused when the file says %s', async (text, message) => {
    const path = join(folder, 'providers.json');
    await writeFile(path, text);
    await expect(readProviderPresets(path)).rejects.toMatchObject({
      kind: 'validation',
      message: expect.stringMatching(message),
    });
    await expect(readProviderPresets(path)).rejects.toThrow(path);
  });

  it('are made once, and then are their operator’s: to change, to delete, and to have made before', async () => {
    const put = async (name: string, displayName: string): Promise<void> => {
      const spec = { displayName, legalSeat: 'DE' };
      await store.transaction(async (tx) => await tx.put({ kind: provider, address: { name }, spec, state: 'active', conditions: [] }));
    };
    await put('south', 'Our own');
    await Promise.all([offer(north, south), offer(north, south)]);
    expect((await all()).map(({ spec }) => spec)).toEqual([north.spec, { displayName: 'Our own', legalSeat: 'DE' }]);
    expect((await pool.query('select subject, resource, code from audit where reason is not null')).rows).toEqual([
      { subject: 'virt8ra-server', resource: expect.stringMatching(/providers\/north$/), code: 201 },
    ]);

    await put('north', 'Renamed');
    await store.transaction(async (tx) => {
      const held = await tx.lockAt(provider, { name: 'south' });
      if (held !== undefined) await tx.remove(held.uid);
    });
    await offer(north, south);
    expect(await all()).toEqual([{ name: 'north', spec: { displayName: 'Renamed', legalSeat: 'DE' } }]);
  });

  it('come when a later release brings them', async () => {
    await offer(north);
    await offer(north, south);
    expect((await all()).map(({ name }) => name)).toEqual(['north', 'south']);
  });
});
