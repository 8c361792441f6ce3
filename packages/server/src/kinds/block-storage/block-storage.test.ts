import { blockStorage, image, instance, site } from '@virt8ra/contract';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { StoredResource } from '../../resources/stored-resource.js';
import { type KindWorld, record, startKindWorld, within } from '../../testing/kind-world.js';
import { blockStorageBytes, originOfVolume, realizeBlockStorage } from './index.js';

let world: KindWorld;
const sha256 = 'ab'.repeat(32);
beforeAll(async () => {
  world = await startKindWorld();
  const spec = { blockStorageRef: 'block-storages/x', cpuArchitecture: 'amd64' };
  await record(world.store, image, 'small', spec, {
    status: { sha256, fileBytes: 40_000_000, format: 'qcow2', virtualSizeBytes: 3_000_000_000 },
  });
  await record(world.store, image, 'arriving', spec, { state: 'creating' });
  await world.store.transaction(async (tx) => {
    for (const name of ['edge', 'core']) await tx.put({ kind: site, address: { name }, spec: {}, state: 'active', conditions: [] });
  });
}, 60_000);
afterAll(async () => await world?.stop());
beforeEach(() => {
  world.site.reachable = true;
});

const at = { site: 'edge', host: 'h1', role: 'primary' } as const;
async function disk(name: string, spec: object = {}, requested?: string): Promise<StoredResource> {
  const extensions = requested === undefined ? undefined : { 'virt8ra.site': requested };
  return await world.put(blockStorage, { ...within, name }, { sizeGB: 5, skuRef: 'skus/RD500', ...spec }, extensions);
}

describe('the size of a block storage', () => {
  it.each([
    [1, 1_000_341_504],
    [10, 10_000_269_312],
  ])('%i GB is %i bytes, whole MiB', (sizeGB, bytes) => {
    expect(blockStorageBytes(sizeGB)).toBe(bytes);
    expect(bytes % 1_048_576).toBe(0);
  });
});

describe('a block storage', () => {
  it('is active and waits for its first consumer', async () => {
    const made = await disk('late', { sourceImageRef: 'images/small' });
    expect(made).toMatchObject({ state: 'active', status: { sizeGB: 5 } });
    expect(made.conditions[0]).toMatchObject({ type: 'Placed', reason: 'WaitingForFirstConsumer' });
    expect(await world.reconcile(made)).toEqual({ done: true });
  });

  it.each([
    [{ sourceImageRef: 'images/small', sizeGB: 2 }, 'validation', /ask for 3 GB or more/],
    [{ sourceImageRef: 'images/arriving' }, 'conflict', /not ready/],
    [{ sourceImageRef: 'images/none' }, 'validation', /does not exist/],
    [{ skuRef: 'skus/RD20K' }, 'validation', /starts at 50 GB/],
    [{ skuRef: 'skus/none' }, 'validation', /does not exist/],
  ])('is refused as %j', async (spec, kind, message) => {
    await expect(disk('refused', spec)).rejects.toMatchObject({ kind, message: expect.stringMatching(message) });
  });

  it('grows also where it is, never shrinks, and is placed once by many that ask at the same moment', async () => {
    const made = await disk('placed', { sourceImageRef: 'images/small' });
    await disk('placed', { sourceImageRef: 'images/small', sizeGB: 6 });
    await expect(disk('placed', { sourceImageRef: 'images/small', sizeGB: 5 })).rejects.toMatchObject({ kind: 'validation' });
    const realized = await Promise.all(Array.from({ length: 5 }, async () => await realizeBlockStorage(world.context, made, at)));
    expect(new Set(realized.map(({ handle }) => handle.value)).size).toBe(1);
    const { value } = realized[0]?.handle ?? { value: '' };
    expect(world.site.blockStorages.get(value)).toEqual({
      sizeBytes: blockStorageBytes(6),
      host: 'h1',
      source: { type: 'image', sha256, bytes: 40_000_000, format: 'qcow2' },
      settle: false,
      limits: { iops: 500 },
    });
    const placed = await world.read(blockStorage, { ...within, name: 'placed' });
    expect(placed.status).toMatchObject({ placement: { site: 'edge', host: 'h1', cause: 'consumer', revision: 1 } });
    const growing = await disk('placed', { sourceImageRef: 'images/small', sizeGB: 7 });
    expect(growing.conditions[0]).toMatchObject({ state: 'updating', reason: 'Growing', message: 'from 6 to 7 GB' });
    await world.reconcile(growing);
    expect(world.site.blockStorages.get(value)).toMatchObject({ sizeBytes: blockStorageBytes(7), host: 'h1', settle: false });
    expect(await world.read(blockStorage, { ...within, name: 'placed' })).toMatchObject({ state: 'active', status: { sizeGB: 7 } });
    await expect(disk('placed', { sourceImageRef: 'images/small', sizeGB: 6 })).rejects.toMatchObject({ kind: 'validation' });
    await expect(realizeBlockStorage(world.context, made, { ...at, host: 'h2' })).rejects.toThrow(/a migration moves it/);
  });

  it('gives what its SKU says, or less where its owner asks for less, also later', async () => {
    const spec = { sizeGB: 5, skuRef: 'skus/RD500' };
    const address = { ...within, name: 'limited' };
    for (const extensions of [{ 'virt8ra.iops': '501' }, { 'virt8ra.iops': 'many' }, { 'virt8ra.bytesPerSecond': '1000' }])
      await expect(world.put(blockStorage, address, spec, extensions)).rejects.toMatchObject({ kind: 'validation' });
    const made = await world.put(blockStorage, address, spec, { 'virt8ra.iops': '100' });
    const { handle } = await realizeBlockStorage(world.context, made, at);
    expect(world.site.blockStorages.get(handle.value)).toMatchObject({ limits: { iops: 100 } });
    await world.put(blockStorage, address, spec, { 'virt8ra.bytesPerSecond': '5000000' });
    await world.reconcile(made);
    expect(world.site.blockStorages.get(handle.value)).toMatchObject({ limits: { iops: 500, bytesPerSecond: 5_000_000 } });
  });

  it('is bound to the site it asks for, and takes its host with its first instance there', async () => {
    const made = await disk('bound', {}, 'edge');
    expect(made).toMatchObject({ state: 'active', status: { placement: { site: 'edge', cause: 'requested', revision: 1 } } });
    expect(made.conditions[0]).toMatchObject({ type: 'Placed', reason: 'Requested', message: expect.stringContaining('at edge') });
    expect(await world.reconcile(made)).toEqual({ done: true });
    await expect(realizeBlockStorage(world.context, made, { ...at, site: 'core', host: 'c1' })).rejects.toThrow(/bound to edge/);
    await realizeBlockStorage(world.context, made, at);
    const { status } = await world.read(blockStorage, { ...within, name: 'bound' });
    expect(status).toMatchObject({ placement: { site: 'edge', host: 'h1', cause: 'requested', revision: 2 } });
  });

  it('may be bound, bound elsewhere and let go again while nothing waits for it', async () => {
    await disk('fickle');
    expect((await disk('fickle', {}, 'edge')).status).toMatchObject({ placement: { site: 'edge', revision: 1 } });
    expect((await disk('fickle', {}, 'core')).status).toMatchObject({ placement: { site: 'core', revision: 2 } });
    const free = await disk('fickle');
    expect(free.status).toEqual({ sizeGB: 5 });
    expect(free.conditions[0]).toMatchObject({ reason: 'WaitingForFirstConsumer' });
    const refusal = { kind: 'validation', sources: [{ pointer: '/extensions/virt8ra.site' }] };
    for (const nowhere of ['atlantis', 'any']) await expect(disk('fickle', {}, nowhere)).rejects.toMatchObject(refusal);
  });

  it('keeps its site once an instance waits for it or it is at a host, and repeating an old one moves nothing', async () => {
    const pointer = { sources: [{ pointer: '/extensions/virt8ra.site' }] };
    const made = await disk('firm', {}, 'edge');
    const waiting = await world.store.transaction(async (tx) => {
      const references = [{ pointer: '/spec/bootVolume/deviceRef', given: 'block-storages/firm', uid: made.uid }];
      return await tx.put({ kind: instance, address: { ...within, name: 'vm' }, spec: {}, state: 'pending', conditions: [], references });
    });
    await expect(disk('firm', {}, 'core')).rejects.toMatchObject({
      kind: 'conflict',
      message: expect.stringMatching(/instance vm waits/),
      ...pointer,
    });
    await world.store.transaction(async (tx) => await tx.remove(waiting.uid));
    await realizeBlockStorage(world.context, made, at);
    await expect(disk('firm', {}, 'core')).rejects.toMatchObject({
      kind: 'conflict',
      message: expect.stringMatching(/virt8ra migrate/),
      ...pointer,
    });
    await world.store.transaction(async (tx) => {
      await tx.setStatus(made.uid, { placement: { site: 'core', host: 'c1', cause: 'migration', reason: 'moved', revision: 3 } });
    });
    const labelled = await world.put(blockStorage, { ...within, name: 'firm' }, made.spec, { 'virt8ra.site': 'edge', other: 'x' });
    expect(labelled.status).toMatchObject({ placement: { site: 'core', revision: 3 } });
  });

  it('is not made twice after a lost reply', async () => {
    const made = await disk('lost');
    const before = world.site.blockStorages.size;
    world.site.loseReply = true;
    await expect(realizeBlockStorage(world.context, made, at)).rejects.toMatchObject({ kind: 'unknown-outcome' });
    const { observation, realization } = await realizeBlockStorage(world.context, made, at);
    expect(observation.type).toBe('present');
    expect(world.site.blockStorages.size).toBe(before + 1);
    expect(await originOfVolume(world.context, made, realization)).toEqual({ type: 'blank' });
  });

  it('stays while an instance uses it', async () => {
    const made = await disk('held');
    const occupant = await world.occupy('held-vm', 'h1', [made.uid]);
    await expect(world.remove(blockStorage, { ...within, name: 'held' })).rejects.toThrow(/attached to instance held-vm/);
    await world.vacate(occupant);
    await world.remove(blockStorage, { ...within, name: 'held' });
    expect(await world.reconcile(made)).toEqual({ gone: true });
  });

  it('says what is wrong with it where it is, and when that is over', async () => {
    const made = await disk('seen');
    await realizeBlockStorage(world.context, made, at);
    await world.reconcile(made);
    const newest = async () => (await world.read(blockStorage, { ...within, name: 'seen' })).conditions[0];
    expect(await newest()).toMatchObject({ state: 'active', reason: 'Ready' });
    world.site.reachable = false;
    await world.reconcile(made);
    expect(await newest()).toMatchObject({ state: 'active', reason: 'Unknown', message: 'the site does not answer' });
    world.site.reachable = true;
    await world.reconcile(made);
    expect(await newest()).toMatchObject({ state: 'active', reason: 'Ready' });
  });

  it('is deleting, naming the site, until it is positively gone there', async () => {
    const made = await disk('going');
    const { handle } = await realizeBlockStorage(world.context, made, at);
    await world.remove(blockStorage, { ...within, name: 'going' });
    world.site.reachable = false;
    expect(await world.reconcile(made)).toMatchObject({ waitSeconds: 15 });
    const waiting = await world.read(blockStorage, { ...within, name: 'going' });
    expect(waiting.conditions[0]).toMatchObject({ state: 'deleting', message: expect.stringContaining('edge') });
    expect(world.site.blockStorages.has(handle.value)).toBe(true);
    world.site.reachable = true;
    expect(await world.reconcile(made)).toEqual({ gone: true });
    expect(world.site.blockStorages.has(handle.value)).toBe(false);
    expect(await world.store.get(blockStorage, { ...within, name: 'going' })).toBeUndefined();
  });
});
