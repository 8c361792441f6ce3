import { blockStorage, type Id, instance, type Kind, Problem, storageSku, workspace } from '@virt8ra/contract';
import { startTestPostgres, type TestPostgres } from '@virt8ra/engine/testing';
import type { Pool } from 'pg';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createStore } from './create-store.js';
import { pruneResources } from './housekeeping.js';
import { parseSelector } from './label-selector.js';
import { resourceMigrations } from './migrations.js';
import type { ResourceWrite, Store, StoreTransaction } from './store.js';

let postgres: TestPostgres;
let pool: Pool;
let store: Store;
const nudged: string[] = [];

const place = { tenant: 'acme', workspace: 'prod' };
const everything = { selector: [], limit: 100, after: undefined };

beforeAll(async () => {
  postgres = await startTestPostgres();
  ({ pool } = await postgres.createDatabase(resourceMigrations));
  store = createStore({
    pool,
    queue: {
      nudge: async (keys, options) => void nudged.push(`${String(keys)} ${options?.lane ?? ''}`),
    },
  });
});
afterAll(async () => await postgres?.stop());
beforeEach(async () => {
  nudged.length = 0;
  await pool.query(
    'truncate resource, workspace_load, tombstone, resource_label, resource_reference, realization, progress, audit, feed cascade',
  );
});

function disk(name: string, fields: Partial<ResourceWrite> = {}): ResourceWrite {
  return {
    kind: blockStorage,
    address: { ...place, name },
    spec: { sizeGB: 10, skuRef: 'skus/RD500' },
    state: 'active',
    conditions: [{ state: 'active' }, { state: 'creating' }, { state: 'pending' }],
    ...fields,
  };
}

async function put(write: ResourceWrite) {
  return await store.transaction(async (tx) => await tx.put(write));
}

async function types(): Promise<readonly string[]> {
  const { rows } = await pool.query<{ type: string }>('select type from feed order by xid, seq');
  return rows.map((row) => row.type);
}

async function namesOf(kind: Kind, labels: string, limit = 100): Promise<readonly string[]> {
  const page = await store.list(kind, place, { ...everything, selector: parseSelector(labels), limit });
  return page.items.map((item) => item.address.name);
}

describe('a stored resource', () => {
  it('is read back as it was written', async () => {
    const labels = { env: 'prod', 'ns:tier': '2' };
    const made = await put(disk('d1', { labels, annotations: { note: 'ü' }, status: { sizeGB: 10, attachedTo: undefined } }));
    const read = await store.get(blockStorage, { ...place, name: 'd1' });
    expect(read).toEqual(made);
    expect(made).toMatchObject({ labels, resourceVersion: 1, status: { sizeGB: 10 }, deletedAt: undefined });
    expect(made.conditions.map((condition) => condition.state)).toEqual(['active', 'creating', 'pending']);
    expect(await store.getByUid(made.uid)).toEqual(made);
    expect(await store.get(instance, { ...place, name: 'd1' })).toBeUndefined();
  });

  it('counts its version for changes of its owner only', async () => {
    const { uid } = await put(disk('d1'));
    await store.transaction(async (tx) => await tx.setStatus(uid, { sizeGB: 10 }, { state: 'updating', reason: 'Growing' }));
    expect((await store.getByUid(uid))?.resourceVersion).toBe(1);
    const grown = await put(
      disk('d1', { spec: { sizeGB: 20, skuRef: 'skus/RD500' }, conditions: [{ state: 'active' }, { state: 'updating' }] }),
    );
    expect(grown).toMatchObject({ resourceVersion: 2, status: { sizeGB: 10 } });
    expect(grown.conditions.map((condition) => condition.state)).toEqual([
      'active',
      'updating',
      'updating',
      'active',
      'creating',
      'pending',
    ]);
  });

  it('writes nothing when nothing changed', async () => {
    const made = await put(disk('d1', { status: { sizeGB: 10 } }));
    const again = await put(disk('d1', { spec: { skuRef: 'skus/RD500', sizeGB: 10 }, conditions: [{ state: 'active' }] }));
    await store.transaction(async (tx) => {
      await tx.setStatus(made.uid, { sizeGB: 10 }, { state: 'active' });
      await tx.setStatus(made.uid, {});
    });
    expect(again).toEqual(made);
    expect(await types()).toEqual(['put']);
  });

  it('keeps the 32 newest conditions', async () => {
    const { uid } = await put(disk('d1'));
    for (let index = 0; index < 40; index += 1) {
      await store.transaction(async (tx) => await tx.setStatus(uid, {}, { state: 'error', message: `try ${index}` }));
    }
    const conditions = (await store.getByUid(uid))?.conditions ?? [];
    expect(conditions).toHaveLength(32);
    expect(conditions[0]?.message).toBe('try 39');
  });

  it('takes a member of the status out when it is set to undefined, and tells a new placement as such', async () => {
    const { uid } = await put(disk('d1', { status: { attachedTo: { resource: 'x' } } }));
    await store.transaction(async (tx) => {
      await tx.setStatus(uid, { attachedTo: undefined });
      await tx.setStatus(uid, { placement: { site: 'gdansk', cause: 'consumer', reason: 'r', revision: 1 } });
    });
    expect(Object.keys((await store.getByUid(uid))?.status as object)).toEqual(['placement']);
    expect(await types()).toEqual(['put', 'status', 'placement']);
  });

  it('never looks alive again once it is going', async () => {
    const { uid } = await put(disk('d1'));
    await store.transaction(async (tx) => await tx.markDeleted(uid));
    await store.transaction(async (tx) => {
      await tx.markDeleted(uid);
      await tx.setStatus(uid, {}, { state: 'active', reason: 'Late' });
    });
    const going = await store.getByUid(uid);
    expect(going?.state).toBe('deleting');
    expect(going?.conditions[0]).toMatchObject({ state: 'deleting', reason: 'Late' });
    await expect(put(disk('d1'))).rejects.toMatchObject({ kind: 'conflict' });
  });

  it('is gone for good after removal, and its name may be taken by another', async () => {
    const first = await put(disk('d1', { labels: { env: 'prod' } }));
    await store.transaction(async (tx) => await tx.remove(first.uid));
    expect(await store.getByUid(first.uid)).toBeUndefined();
    expect(await namesOf(blockStorage, 'env=prod')).toEqual([]);
    const second = await put(disk('d1'));
    expect(second.uid).not.toBe(first.uid);
    const list = async (deleted: 'with' | 'only') => (await store.list(blockStorage, place, { ...everything, deleted })).items;
    expect((await list('only')).map((item) => [item.uid, item.deletedAt === undefined])).toEqual([[first.uid, false]]);
    expect((await list('with')).map((item) => item.uid)).toEqual([first.uid, second.uid]);
    await pruneResources(pool, new Date(Date.now() + 60_000), { tombstoneSeconds: 30 });
    expect(await list('only')).toEqual([]);
  });

  it('is not removed while the ledger knows of it', async () => {
    const { uid } = await put(disk('d1'));
    await store.transaction(
      async (tx) => void (await tx.ledger.intend({ resourceUid: uid, role: 'primary', facet: 'blockStorages', site: 's' })),
    );
    await expect(store.transaction(async (tx) => await tx.remove(uid))).rejects.toMatchObject({ kind: 'internal' });
    expect(await store.getByUid(uid)).toBeDefined();
  });
});

describe('a list', () => {
  beforeEach(async () => {
    await store.transaction(async (tx) => {
      for (let index = 0; index < 25; index += 1) {
        const labels = { env: index % 2 === 0 ? 'prod' : 'test', rank: String(index), ...(index === 7 ? { 'ns:special': 'a*b' } : {}) };
        await tx.put(disk(`d${String(index).padStart(2, '0')}`, { labels }));
      }
      await tx.put({ ...disk('d00'), address: { tenant: 'acme', workspace: 'prod-2', name: 'd00' } });
      await tx.put({ ...disk('d00'), address: { tenant: 'acme-2', workspace: 'prod', name: 'd00' } });
    });
  });

  it('pages through everything in the order of names, and the last page says so', async () => {
    for (const selector of ['', 'env=prod', 'rank>=0', 'env=prod,rank!=3']) {
      const whole = await namesOf(blockStorage, selector);
      const paged: string[] = [];
      let after: string | undefined;
      do {
        const page = await store.list(blockStorage, place, { selector: parseSelector(selector), limit: 5, after });
        expect(page.items.length).toBeGreaterThan(0);
        paged.push(...page.items.map((item) => item.address.name));
        after = page.next;
      } while (after !== undefined);
      expect(paged).toEqual(whole);
    }
    expect(await namesOf(blockStorage, '')).toHaveLength(25);
  });

  it.each([
    ['env=prod,rank=4', ['d04']],
    ['env=test,rank=4', []],
    ['rank>22', ['d23', 'd24']],
    ['rank<=1', ['d00', 'd01']],
    ['*an*=*4', ['d04', 'd14', 'd24']],
    ['ns:special=a*b', ['d07']],
    ['ns:special!=x,rank<2', ['d00', 'd01']],
    ['*:special=*', ['d07']],
  ])('selects %s', async (selector, names) => {
    expect(await namesOf(blockStorage, selector)).toEqual(names);
  });

  it('says the same of each when many are asked for in one turn', async () => {
    const made = await Promise.all(['a', 'b', 'c'].map(async (name) => await put(disk(`together-${name}`))));
    const [a, b] = made;
    if (a === undefined || b === undefined) throw new Error('nothing was made');
    const using = (pointers: readonly string[]) => pointers.map((pointer) => ({ pointer, given: 'block-storages/together-a', uid: a.uid }));
    await store.transaction(async (tx) => await tx.setReferences(b.uid, using(['/spec/one', '/spec/two'])));
    const names = ['together-c', 'together-none', 'together-a', 'together-c'];
    const [found, users, own] = await Promise.all([
      Promise.all(names.map(async (name) => (await store.get(blockStorage, { ...place, name }))?.address.name)),
      Promise.all([store.usersOf(a.uid), store.usersOf(b.uid), store.usersOf(a.uid, workspace), store.usersOf(a.uid, blockStorage)]),
      Promise.all([store.referencesOf(a.uid), store.referencesOf(b.uid), store.getByUid(b.uid), store.getManyByUid([b.uid, a.uid])]),
    ]);
    expect(found).toEqual(['together-c', undefined, 'together-a', 'together-c']);
    // Who refers to it twice is one user.
    expect(users.map((each) => each.map(({ uid }) => uid))).toEqual([[b.uid], [], [], [b.uid]]);
    expect(own[0]).toEqual([]);
    expect(own[1].map(({ pointer }) => pointer)).toEqual(['/spec/one', '/spec/two']);
    expect(own[2]?.uid).toBe(b.uid);
    expect(own[3].map(({ uid }) => uid)).toEqual([b.uid, a.uid]);
  });

  it('follows a change of labels', async () => {
    await put(disk('d00', { labels: { env: 'stage' } }));
    expect(await namesOf(blockStorage, 'env=stage')).toEqual(['d00']);
    expect(await namesOf(blockStorage, 'env=prod')).not.toContain('d00');
  });

  it('counts and lists below an incomplete place', async () => {
    expect(await store.count(blockStorage, place)).toBe(25);
    expect(await store.count(blockStorage, { tenant: 'acme' })).toBe(26);
    expect(await store.count(blockStorage, {})).toBe(27);
    const first = await store.list(blockStorage, {}, { ...everything, limit: 26 });
    const rest = await store.list(blockStorage, {}, { ...everything, after: first.next });
    expect([...first.items, ...rest.items]).toHaveLength(27);
  });
});

describe('references', () => {
  it('are found from both ends, and refused when their target is missing or going', async () => {
    const target = await put(disk('d1'));
    const resolve = async (tx: StoreTransaction, name: string) =>
      await tx.resolve(blockStorage, `block-storages/${name}`, place, '/spec/bootVolume/deviceRef');
    const user = await store.transaction(async (tx) => {
      const { reference } = await resolve(tx, 'd1');
      return await tx.put({ ...disk('i1'), kind: instance, references: [reference] });
    });
    expect((await store.usersOf(target.uid)).map((item) => item.uid)).toEqual([user.uid]);
    expect(await store.usersOf(target.uid, workspace)).toEqual([]);
    expect(await store.referencesOf(user.uid)).toEqual([{ pointer: '/spec/bootVolume/deviceRef', uid: target.uid }]);
    const problem = { kind: 'validation', sources: [{ pointer: '/spec/bootVolume/deviceRef' }] };
    await expect(store.transaction(async (tx) => await resolve(tx, 'd2'))).rejects.toMatchObject(problem);
    await store.transaction(async (tx) => await tx.markDeleted(target.uid));
    await expect(store.transaction(async (tx) => await resolve(tx, 'd1'))).rejects.toMatchObject(problem);
    await store.transaction(async (tx) => await tx.setReferences(user.uid, []));
    expect(await store.usersOf(target.uid)).toEqual([]);
  });
});

describe('a reference to another tenant', () => {
  it('is refused as if nothing were there, but for the catalogue of a shared tenant', async () => {
    const at = (kind: Kind, address: ResourceWrite['address']): ResourceWrite => ({ ...disk('x'), kind, address });
    await put(at(blockStorage, { tenant: 'other', workspace: 'prod', name: 'secret' }));
    await put(at(storageSku, { tenant: 'other', name: 'own' }));
    await put(at(storageSku, { tenant: 'seca', name: 'rd500' }));
    const resolve = async (kind: Kind, reference: string) =>
      await store.transaction(async (tx) => (await tx.resolve(kind, reference, place, '/spec/x')).target.address);
    expect(await resolve(storageSku, 'tenants/seca/skus/rd500')).toEqual({ tenant: 'seca', name: 'rd500' });
    await expect(resolve(storageSku, 'tenants/other/skus/own')).rejects.toThrow(/does not exist/);
    await expect(resolve(blockStorage, 'tenants/other/workspaces/prod/block-storages/secret')).rejects.toThrow(/does not exist/);
  });
});

describe('the ledger', () => {
  it('never repeats a key, also when an intent was forgotten', async () => {
    const { uid } = await put(disk('d1'));
    const intend = async (tx: StoreTransaction, host?: string) =>
      await tx.ledger.intend({
        resourceUid: uid,
        role: 'primary',
        facet: host ? 'networks' : 'blockStorages',
        site: 's1',
        ...(host ? { host } : {}),
      });
    const first = await store.transaction(async (tx) => await intend(tx));
    await store.transaction(async (tx) => await tx.ledger.forget(first.id));
    const second = await store.transaction(async (tx) => await intend(tx, 'h1'));
    expect([first.key, second.key]).toEqual([`${uid}-g1`, `${uid}-g2-h1`]);
    await store.transaction(async (tx) => {
      await tx.ledger.confirm(second.id, { driver: 'agent', version: 1, value: '{}' });
      await tx.ledger.setFacts(second.id, { epoch: 1 });
      await tx.ledger.setFacts(second.id, { cpu: 'qemu64' });
      await tx.ledger.setRole(second.id, 'retained');
      await tx.ledger.setRemoving(second.id);
    });
    expect(await store.ledger.byKey(second.key)).toMatchObject({
      state: 'removing',
      role: 'retained',
      facts: { epoch: 1, cpu: 'qemu64' },
      handle: { driver: 'agent' },
    });
    expect(await store.ledger.atSite('s1')).toHaveLength(1);
    expect(await store.ledger.ofResources([uid])).toHaveLength(1);
    await expect(store.transaction(async (tx) => await tx.ledger.setRole(first.id, 'primary'))).rejects.toMatchObject({
      kind: 'not-found',
    });
  });
});

describe('progress', () => {
  const step = (bytes: number, phase = 'copy') => ({ phase, bytes, totalBytes: 100, bytesPerSecond: 1, etaSeconds: null });

  it('is told at once when the phase changes and else once a second, outside of version, history and audit', async () => {
    const { uid, revision } = await put(disk('d1'));
    let time = 1_000_000;
    const timed = createStore({ pool, queue: { nudge: async () => undefined }, now: () => new Date(time) });
    const tell = async (at: number, ...progress: Parameters<typeof step>) => {
      time = at;
      await timed.transaction(async (tx) => await tx.setProgress(uid, step(...progress)));
      return (await store.progressOf(uid))?.bytes;
    };
    expect(await tell(1_000_000, 1)).toBe(1);
    expect(await tell(1_000_400, 2)).toBe(1);
    expect(await tell(1_001_000, 3)).toBe(3);
    expect(await tell(1_001_100, 4, 'passes')).toBe(4);
    expect(await tell(1_001_200, 100, 'passes')).toBe(100);
    await timed.transaction(async (tx) => await tx.setProgress(uid, undefined));
    await timed.transaction(async (tx) => await tx.setProgress(uid, undefined));
    expect(await store.progressOf(uid)).toBeUndefined();
    expect(await types()).toEqual(['put', ...Array<string>(5).fill('progress')]);
    expect((await store.getByUid(uid))?.revision).toBe(revision);
  });
});

describe('a transaction', () => {
  it('leaves nothing behind when it fails: no row, no feed, no audit, no nudge', async () => {
    const failing = store.transaction(async (tx) => {
      const made = await tx.put(disk('d1', { labels: { a: 'b' } }));
      await tx.audit({ subject: 's', remote: 'r', verb: 'put', resource: 'x', code: 201 });
      await tx.ledger.intend({ resourceUid: made.uid, role: 'primary', facet: 'disks', site: 's' });
      throw new Problem('exhausted', 'no room');
    });
    await expect(failing).rejects.toMatchObject({ kind: 'exhausted' });
    for (const table of ['resource', 'resource_label', 'feed', 'audit', 'realization']) {
      expect((await pool.query(`select 1 from ${table}`)).rowCount).toBe(0);
    }
  });

  it('nudges in the lane of the tenant', async () => {
    const { uid } = await store.transaction(async (tx) => {
      const made = await tx.put(disk('d1'));
      await tx.nudge('block-storage', made.uid);
      return made;
    });
    expect(nudged).toEqual([`block-storage/${uid} acme`]);
  });

  it('makes one of two that create the same name at the same time, and the other sees it', async () => {
    const outcomes = await Promise.all(
      Array.from({ length: 8 }, async (_, index) => {
        return await store.transaction(async (tx) => {
          const before = await tx.lockAt(blockStorage, { ...place, name: 'd1' });
          await tx.put(disk('d1', { spec: { sizeGB: 10 + index, skuRef: 'skus/RD500' }, conditions: [{ state: 'active' }] }));
          return before === undefined ? 'created' : 'updated';
        });
      }),
    );
    expect(outcomes.filter((outcome) => outcome === 'created')).toHaveLength(1);
    expect((await store.get(blockStorage, { ...place, name: 'd1' }))?.resourceVersion).toBe(8);
  });

  it('begins again after a deadlock', async () => {
    const [one, other] = [await put(disk('d1')), await put(disk('d2'))];
    let arrived = 0;
    let bothIn = (): void => {};
    const both = new Promise<void>((resolve) => {
      bothIn = resolve;
    });
    const cross = async (first: Id<'resource'>, second: Id<'resource'>, mark: string) =>
      await store.transaction(async (tx) => {
        await tx.setStatus(first, { [mark]: true });
        arrived += 1;
        if (arrived === 2) bothIn();
        await both;
        await tx.setStatus(second, { [mark]: true });
      });
    await Promise.all([cross(one.uid, other.uid, 'a'), cross(other.uid, one.uid, 'b')]);
    expect((await store.getByUid(one.uid))?.status).toEqual({ a: true, b: true });
    expect((await store.getByUid(other.uid))?.status).toEqual({ a: true, b: true });
  });

  it('gives up with a conflict when it never gets through', async () => {
    const impatient = createStore({ pool, queue: { nudge: async () => undefined }, attempts: 2 });
    let tries = 0;
    const hopeless = impatient.transaction(async () => {
      tries += 1;
      throw Object.assign(new Error('could not serialize'), { code: '40001' });
    });
    await expect(hopeless).rejects.toMatchObject({ kind: 'conflict' });
    expect(tries).toBe(2);
  });
});

describe('resources of a tenant', () => {
  it('do not show in another', async () => {
    await put({ ...disk('RD500'), kind: storageSku, address: { tenant: 'acme', name: 'RD500' } });
    expect(await store.get(storageSku, { tenant: 'other', name: 'RD500' })).toBeUndefined();
    expect((await store.list(storageSku, { tenant: 'other' }, everything)).items).toEqual([]);
  });
});
