import { type InstanceSpec, instance } from '@virt8ra/contract';
import { engineMigrations } from '@virt8ra/engine';
import { startTestPostgres, type TestDatabase, type TestPostgres } from '@virt8ra/engine/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createStore } from '../../resources/create-store.js';
import { resourceMigrations } from '../../resources/migrations.js';
import { type Answer, type ControlPlane, startControlPlane } from '../../testing/control-plane.js';
import { antiAffinityMigrations, assertApart } from './anti-affinity.js';

const inWorkspace = (workspace: string, provider: string, rest: string): string =>
  `/providers/${provider}/tenants/default/workspaces/${workspace}/${rest}`;
const instances = (workspace = 'shop') => inWorkspace(workspace, 'seca.compute/v1', 'instances');
const disks = (workspace = 'shop') => inWorkspace(workspace, 'seca.storage/v1', 'block-storages');
const migrations = inWorkspace('shop', 'virt8ra.migration/v1beta1', 'migrations');
const hosts = '/providers/virt8ra.topology/v1beta1/hosts';

interface Seen {
  readonly spec: { readonly antiAffinityGroup?: string };
  readonly status: {
    readonly placement?: { readonly host: string };
    readonly activity?: { readonly value: string };
    readonly phase?: string;
    readonly problem?: string;
    readonly conditions: readonly { readonly reason?: string; readonly message?: string }[];
  };
}
const seen = ({ body }: Answer): Seen => body as Seen;
const hostOf = (answer: Answer): string | undefined => seen(answer).status.placement?.host;

describe('the lock of an anti-affinity group', () => {
  let postgres: TestPostgres;
  let database: TestDatabase;
  beforeAll(async () => {
    postgres = await startTestPostgres();
    database = await postgres.createDatabase([...engineMigrations, ...resourceMigrations, ...antiAffinityMigrations]);
  }, 60_000);
  afterAll(async () => await postgres?.stop());

  it('lets one of many that come to a host at the same moment have it, each time', async () => {
    const store = createStore({ pool: database.pool, queue: { nudge: async () => {} } });
    const make = async (name: string): Promise<string> =>
      await store.transaction(async (tx) => {
        const spec = { zone: 'any', skuRef: 'skus/s', bootVolume: { deviceRef: 'block-storages/b' }, antiAffinityGroup: 'web' };
        const address = { tenant: 'acme', workspace: 'prod', name };
        return (await tx.put({ kind: instance, address, spec, state: 'creating', conditions: [{ state: 'creating' }] })).uid;
      });
    const uids = await Promise.all(['a', 'b', 'c', 'd'].map(make));
    for (const host of ['h1', 'h2', 'h3', 'h4', 'h5', 'h6']) {
      const outcomes = await Promise.allSettled(
        uids.map(
          async (uid) =>
            await store.transaction(async (tx) => {
              const current = await tx.lock<InstanceSpec>(uid as never);
              if (current === undefined) throw new Error('it is gone');
              await assertApart(tx, current, host);
              await tx.ledger.intend({ resourceUid: current.uid, role: 'primary', facet: 'instances', site: 's', host });
            }),
        ),
      );
      expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
      for (const outcome of outcomes) {
        if (outcome.status === 'rejected')
          expect(outcome.reason).toMatchObject({ kind: 'unavailable', message: expect.stringContaining(`host ${host} has instance`) });
      }
    }
  });
});

describe('instances of an anti-affinity group', { timeout: 60_000 }, () => {
  let plane: ControlPlane;
  beforeAll(async () => {
    plane = await startControlPlane();
    await plane.addSite('west');
    await plane.addHost('west-2', 'west');
    await plane.addSite('east');
    for (const workspace of ['shop', 'other'])
      await plane.call('PUT', `/providers/seca.workspace/v1/tenants/default/workspaces/${workspace}`, { spec: {} });
    for (const host of ['west-1', 'west-2', 'east-1'])
      await plane.until(`${hosts}/${host}`, ({ body }) => 'inventory' in (body as { status: object }).status);
  }, 120_000);
  afterAll(async () => {
    expect(plane?.hosts.violations).toEqual([]);
    await plane?.stop();
  }, 60_000);

  const put = async (name: string, group: string | undefined, zone = 'any', workspace = 'shop'): Promise<Answer> => {
    const spec = { zone, skuRef: 'skus/seca.xs', bootVolume: { deviceRef: `block-storages/${name}` } };
    return await plane.call('PUT', `${instances(workspace)}/${name}`, {
      spec: { ...spec, ...(group === undefined ? {} : { antiAffinityGroup: group }) },
      extensions: { 'virt8ra.power': 'on' },
    });
  };
  const make = async (name: string, group: string | undefined, zone = 'any', workspace = 'shop'): Promise<void> => {
    await plane.call('PUT', `${disks(workspace)}/${name}`, { spec: { sizeGB: 1, skuRef: 'skus/rd100' } });
    expect((await put(name, group, zone, workspace)).status).toBe(201);
  };
  const placed = async (name: string, workspace = 'shop'): Promise<string> =>
    await plane.until(
      `${instances(workspace)}/${name}`,
      (answer) => seen(answer).status.activity?.value === 'running' && hostOf(answer),
      30_000,
    );
  const refused = async (name: string, message: RegExp): Promise<void> => {
    await plane.until(`${instances()}/${name}`, (answer) => {
      const [newest] = seen(answer).status.conditions;
      return newest?.reason === 'NothingFits' && message.test(newest.message ?? '');
    });
  };
  const remove = async (...names: string[]): Promise<void> => {
    for (const name of names) {
      for (const path of [`${instances()}/${name}`, `${disks()}/${name}`]) {
        await plane.call('DELETE', path);
        await plane.until(path, ({ status }) => status === 404);
      }
    }
  };

  it('never share a host though they come at once; the one too many is told who is in its way, and placed when there is room', async () => {
    const names = ['web-1', 'web-2', 'web-3', 'web-4'];
    await Promise.all(names.map(async (name) => await make(name, 'web')));
    const waiting = await plane.until(instances(), ({ body }) => {
      const { items } = body as { items: (Seen & { metadata: { name: string } })[] };
      const without = items.filter(({ status }) => status.placement === undefined);
      return (
        items.length === 4 && without.length === 1 && without[0]?.status.conditions[0]?.reason === 'NothingFits' && without[0].metadata.name
      );
    });
    const others = names.filter((name) => name !== waiting);
    expect((await Promise.all(others.map(async (name) => await placed(name)))).toSorted()).toEqual(['east-1', 'west-1', 'west-2']);
    await refused(waiting, /west\/west-1: the host has instance web-\d of anti-affinity group web \(move web-\d to another host/);

    const [first = ''] = others;
    const host = await placed(first);
    await remove(first);
    expect(await placed(waiting)).toBe(host);
    await remove(...names.filter((name) => name !== first));
  });

  it('are not moved to each other, neither when the host is named nor when the site has no other', async () => {
    await make('one', 'pair', 'west');
    await make('two', 'pair', 'east');
    const from = await placed('one');
    await placed('two');
    await make('three', 'pair', 'west');
    const move = async (name: string, spec: object): Promise<Answer> =>
      await plane.call('PUT', `${migrations}/${name}`, { spec: { instanceRef: 'instances/two', mode: 'cold', ...spec } });

    await placed('three');
    expect(await move('named', { toSite: 'west', toHost: from })).toMatchObject({
      status: 409,
      body: { detail: `host ${from} has instance one of anti-affinity group pair, which two is in, too; name another host` },
    });
    expect((await move('any', { toSite: 'west' })).status).toBe(201);
    const problem = await plane.until(
      `${migrations}/any`,
      (answer) => seen(answer).status.phase === 'returned' && seen(answer).status.problem,
    );
    expect(problem).toContain('west/west-1: the host has instance');
    expect(await placed('two')).toBe('east-1');

    const plan = await plane.call('POST', `${hosts}/${from}/drain-plan`, { mode: 'warm' });
    expect(JSON.stringify(plan.body)).toContain('of anti-affinity group pair');
    await remove('three');
    const { body } = await plane.call('POST', `${hosts}/${from}/drain-plan`, { mode: 'warm' });
    expect(body).toMatchObject({ instances: [{ outlook: 'moves', to: { host: from === 'west-1' ? 'west-2' : 'west-1' } }] });
    await remove('one', 'two');
  });

  it('come into a group only where no other of it is, and leave it at any time; another workspace’s group is another', async () => {
    await make('guest', 'db', 'east');
    await placed('guest');
    await make('plain', undefined, 'east');
    await placed('plain');
    await make('elsewhere', 'db', 'east', 'other');
    expect(await placed('elsewhere', 'other')).toBe('east-1');

    const answer = await put('plain', 'db', 'east');
    expect(answer).toMatchObject({ status: 409, body: { sources: [{ pointer: '/spec/antiAffinityGroup' }] } });
    expect(JSON.stringify(answer.body)).toContain('host east-1 has instance guest of anti-affinity group db, where instance plain is, too');
    expect(seen(await plane.call('GET', `${instances()}/plain`)).spec.antiAffinityGroup).toBeUndefined();

    expect((await put('guest', '', 'east')).status).toBe(200);
    expect((await put('plain', 'db', 'east')).status).toBe(200);
    expect((await put('guest', 'db', 'east')).status).toBe(409);
    await remove('guest', 'plain');
  });
});
