import { createHash, randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { SimulatedAgent } from './fleet/testing/simulated-agent.js';
import { type Answer, type ControlPlane, startControlPlane } from './testing/control-plane.js';

const storage = '/providers/seca.storage/v1/tenants/default';
const imports = '/providers/virt8ra.image/v1beta1/tenants/default/image-imports';
const workspaces = '/providers/seca.workspace/v1/tenants/default/workspaces';
const inWorkspace = (provider: string, version: string, rest: string): string =>
  `/providers/${provider}/${version}/tenants/default/workspaces/shop/${rest}`;
const instances = inWorkspace('seca.compute', 'v1', 'instances');
const disks = inWorkspace('seca.storage', 'v1', 'block-storages');
const nets = inWorkspace('seca.network', 'v1', 'networks');
const nics = inWorkspace('seca.network', 'v1', 'nics');
const migrations = inWorkspace('virt8ra.migration', 'v1beta1', 'migrations');

interface Seen {
  readonly spec?: Record<string, unknown>;
  readonly status?: {
    readonly state?: string;
    readonly powerState?: string;
    readonly phase?: string;
    readonly problem?: string;
    readonly placement?: { readonly site: string };
    readonly activity?: { readonly value: string };
    readonly addresses?: readonly string[];
    readonly digests?: readonly { readonly equal: boolean }[];
    readonly conditions: readonly { readonly state: string; readonly reason?: string; readonly message?: string }[];
  };
}
const seen = ({ body }: Answer): Seen => body as Seen;
const active = (answer: Answer): boolean => seen(answer).status?.state === 'active';
const running = (answer: Answer): boolean => seen(answer).status?.activity?.value === 'running' && active(answer);
const ended = (answer: Answer): Seen | false =>
  ['done', 'returned', 'failed'].includes(seen(answer).status?.phase ?? '') ? seen(answer) : false;

let plane: ControlPlane;
const agents = new Map<string, SimulatedAgent>();

beforeAll(async () => {
  plane = await startControlPlane();
  for (const site of ['alpha', 'beta', 'gamma']) agents.set(site, await plane.addSite(site));
}, 120_000);
afterAll(async () => await plane.stop(), 60_000);

async function put(path: string, spec: unknown, extensions?: Record<string, string>): Promise<Answer> {
  const answer = await plane.call('PUT', path, { spec, ...(extensions === undefined ? {} : { extensions }) });
  expect(answer, `PUT ${path}`).toMatchObject({ status: expect.toSatisfy((status: number) => status === 201 || status === 200) });
  return answer;
}

describe('control plane', { timeout: 90_000 }, () => {
  it('takes an image in and places block storage only with its first consumer', async () => {
    const content = randomBytes(1024 * 1024);
    const sha256 = createHash('sha256').update(content).digest('hex');
    await put(`${imports}/base`, {
      source: { upload: { sizeBytes: content.length, sha256 } },
      cpuArchitecture: 'amd64',
      boot: 'BIOS',
      format: 'raw',
    });
    await plane.upload(`${imports}/base/content`, content);
    await plane.until(`${storage}/images/base`, active);

    await put(`${workspaces}/shop`, {});
    await put(`${nets}/lan`, { cidr: { ipv4: '10.30.0.0/24' }, skuRef: 'skus/n1k' });
    await put(`${nets}/lan/subnets/web`, { cidr: { ipv4: '10.30.0.0/26' } });
    await put(`${nics}/web`, { subnetRef: 'networks/lan/subnets/web', addresses: ['0.0.0.0'] });
    const disk = await put(`${disks}/root`, { sizeGB: 1, skuRef: 'skus/rd100', sourceImageRef: 'images/base' });

    expect(seen(disk).status?.conditions[0]).toMatchObject({ state: 'active', reason: 'WaitingForFirstConsumer' });
    expect(seen(await plane.call('GET', `${nics}/web`)).status?.addresses).toEqual(['10.30.0.2']);
  });

  it('says of an account what its driver can do and how it is, with the age of that', async () => {
    const before = Date.now() - 15_000;
    const { body } = await plane.call('GET', '/providers/virt8ra.topology/v1beta1/accounts/test');
    const { status } = body as { status: { facets: unknown[]; healthy: { observedAt: string } } };
    const yes = (names: readonly string[]) => names.map((name) => ({ name, supported: true }));
    expect(status.facets).toEqual([
      ...yes(['instances', 'blockStorages']),
      { name: 'images', supported: false, reason: expect.stringContaining('artifact store') },
      ...yes(['networks', 'securityGroups', 'disks', 'hosts', 'streams', 'backups', 'snapshots']),
    ]);
    expect(status.healthy).toMatchObject({ value: true, source: 'account/test' });
    expect(Date.parse(status.healthy.observedAt)).toBeGreaterThan(before);
  });

  it('gives a disk to one of two instances that ask for it at once', async () => {
    await put(`${disks}/wanted`, { sizeGB: 1, skuRef: 'skus/rd100' });
    const ask = async (name: string): Promise<Answer> =>
      await plane.call('PUT', `${instances}/${name}`, {
        spec: { zone: 'beta', skuRef: 'skus/seca.xs', bootVolume: { deviceRef: 'block-storages/wanted' } },
      });

    const answers = await Promise.all(['first', 'second', 'third', 'fourth'].map(ask));

    expect(answers.map(({ status }) => status).sort()).toEqual([201, 409, 409, 409]);
    for (const name of ['first', 'second', 'third', 'fourth']) {
      await plane.call('DELETE', `${instances}/${name}`);
      await plane.until(`${instances}/${name}`, ({ status }) => status === 404);
    }
    await plane.call('DELETE', `${disks}/wanted`);
    await plane.until(`${disks}/wanted`, ({ status }) => status === 404);
  });

  it('places an instance where its block storage asked to be, and refuses one that is asked for elsewhere', async () => {
    await put(`${disks}/bound`, { sizeGB: 1, skuRef: 'skus/rd100' }, { 'virt8ra.site': 'gamma' });
    await put(`${disks}/elsewhere`, { sizeGB: 1, skuRef: 'skus/rd100' }, { 'virt8ra.site': 'beta' });
    const spec = { zone: 'any', skuRef: 'skus/seca.xs', bootVolume: { deviceRef: 'block-storages/bound' } };
    const ask = async (change: object): Promise<Answer> => await plane.call('PUT', `${instances}/bound`, { spec: { ...spec, ...change } });

    const contradiction = await ask({ zone: 'alpha' });
    expect(contradiction).toMatchObject({
      status: 409,
      body: { detail: expect.stringMatching(/bound is at gamma/), sources: [{ pointer: '/spec/zone' }] },
    });
    const split = await ask({ dataVolumes: [{ deviceRef: 'block-storages/elsewhere' }] });
    expect(split).toMatchObject({
      status: 409,
      body: { detail: expect.stringMatching(/bound is at gamma and block storage elsewhere at beta/) },
    });
    const empty = '/providers/virt8ra.topology/v1beta1/sites/empty';
    await put(empty, { accountRef: 'accounts/test', country: 'PL', tier: 'edge' });
    await put(`${disks}/elsewhere`, { sizeGB: 1, skuRef: 'skus/rd100' }, { 'virt8ra.site': 'empty' });
    const held = await plane.call('DELETE', empty);
    expect(held).toMatchObject({ status: 409, body: { detail: expect.stringMatching(/elsewhere is bound to site empty/) } });

    await put(`${instances}/bound`, spec);
    await plane.until(`${instances}/bound`, active);
    expect(seen(await plane.call('GET', `${instances}/bound`)).status?.placement?.site).toBe('gamma');
    for (const path of [`${instances}/bound`, `${disks}/bound`, `${disks}/elsewhere`, empty]) {
      await plane.call('DELETE', path);
      await plane.until(path, ({ status: code }) => code === 404);
    }
  });

  it('makes an instance anew on the disk of an earlier one, though the host could not hold a second disk of that size', async () => {
    await put(`${disks}/large`, { sizeGB: 60, skuRef: 'skus/rd100' });
    const spec = { zone: 'beta', skuRef: 'skus/seca.xs', bootVolume: { deviceRef: 'block-storages/large' } };
    for (const name of ['one', 'two']) {
      await put(`${instances}/${name}`, spec);
      await plane.until(`${instances}/${name}`, active);
      await plane.call('DELETE', `${instances}/${name}`);
      await plane.until(`${instances}/${name}`, ({ status }) => status === 404);
    }
    await plane.call('DELETE', `${disks}/large`);
    await plane.until(`${disks}/large`, ({ status }) => status === 404);
  });

  it('places an instance, starts and stops it, and refuses power actions that make no sense', async () => {
    await put(`${instances}/web`, {
      zone: 'alpha',
      skuRef: 'skus/seca.xs',
      bootVolume: { deviceRef: 'block-storages/root' },
      primaryNicRef: 'nics/web',
    });
    await plane.until(`${instances}/web`, active);
    expect(seen(await plane.call('GET', `${instances}/web`)).status).toMatchObject({ powerState: 'off', placement: { site: 'alpha' } });

    expect((await plane.call('POST', `${instances}/web/stop`)).status).toBe(409);
    expect((await plane.call('POST', `${instances}/web/start`)).status).toBe(202);
    await plane.until(`${instances}/web`, running);
    expect((await plane.call('POST', `${instances}/web/start`)).status).toBe(409);

    expect(seen(await plane.call('GET', `${disks}/root`)).status?.placement?.site).toBe('alpha');
    expect((await plane.call('DELETE', `${disks}/root`)).status).toBe(409);
    expect((await plane.call('DELETE', `${nics}/web`)).status).toBe(409);
  });

  it('gives a running instance a data volume, lets it grow, and frees it when the guest has let go of it', async () => {
    const agent = agents.get('alpha');
    await put(`${disks}/data`, { sizeGB: 2, skuRef: 'skus/rd100' });
    await put(`${disks}/away`, { sizeGB: 2, skuRef: 'skus/rd100' }, { 'virt8ra.site': 'beta' });
    await put(`${disks}/vast`, { sizeGB: 90_000, skuRef: 'skus/rd100' });
    const spec = {
      zone: 'alpha',
      skuRef: 'skus/seca.xs',
      bootVolume: { deviceRef: 'block-storages/root' },
      primaryNicRef: 'nics/web',
    };
    const ask = async (...names: string[]): Promise<Answer> =>
      await plane.call('PUT', `${instances}/web`, {
        spec: { ...spec, dataVolumes: names.map((name) => ({ deviceRef: `block-storages/${name}` })) },
      });
    const volumes = async () =>
      (seen(await plane.call('GET', `${instances}/web`)).status as { volumes?: { deviceRef: { resource: string }; state: string }[] })
        .volumes;

    expect(await ask('away')).toMatchObject({
      status: 409,
      body: { detail: expect.stringMatching(/away is at beta .* virt8ra migrate web --to beta/) },
    });
    expect(await ask('vast')).toMatchObject({ status: 409, body: { detail: expect.stringMatching(/no room left/) } });
    expect((await ask('data')).status).toBe(200);
    await plane.until(
      `${instances}/web`,
      (answer) => active(answer) && (seen(answer).status as { volumes?: unknown[] } | undefined)?.volumes?.length === 2,
    );
    expect((await volumes())?.map(({ state }) => state)).toEqual(['attached', 'attached']);

    expect((await plane.call('PUT', `${disks}/data`, { spec: { sizeGB: 90_000, skuRef: 'skus/rd100' } })).status).toBe(409);
    expect((await plane.call('PUT', `${disks}/data`, { spec: { sizeGB: 3, skuRef: 'skus/rd100' } })).status).toBe(200);
    await plane.until(
      `${disks}/data`,
      (answer) => active(answer) && (seen(answer).status as { sizeGB?: number } | undefined)?.sizeGB === 3,
    );

    const key = agent?.all('instance')[0]?.disks?.[1]?.volumeKey ?? '';
    agent?.cling(key, true);
    expect((await ask()).status).toBe(200);
    await plane.until(`${instances}/web`, (answer) =>
      seen(answer).status?.conditions.some((condition) => JSON.stringify(condition).includes('does not let go of it')),
    );
    expect((await volumes())?.find(({ deviceRef }) => deviceRef.resource.endsWith('/data'))?.state).toBe('detaching');
    const move = await plane.call('PUT', `${migrations}/early`, { spec: { instanceRef: 'instances/web', toSite: 'beta', mode: 'warm' } });
    expect(move).toMatchObject({ status: 409, body: { detail: expect.stringMatching(/detaching block storage data/) } });
    agent?.cling(key, false);
    await plane.until(`${instances}/web`, active);
    expect((await volumes())?.length).toBe(1);
    for (const name of ['data', 'away', 'vast']) {
      await plane.call('DELETE', `${disks}/${name}`);
      await plane.until(`${disks}/${name}`, ({ status }) => status === 404);
    }
  });

  it('backs a running instance up, restores a disk from it elsewhere, and keeps as many as its schedule says', async () => {
    const backups = `/providers/virt8ra.backup/v1beta1/tenants/default/workspaces/shop`;
    const done = (answer: Answer): Seen | false => seen(answer).status?.phase === 'done' && seen(answer);
    agents.get('alpha')?.unplug();
    await put(`${backups}/backups/first`, { instanceRef: 'instances/web' });
    expect((await plane.call('PUT', `${backups}/backups/second`, { spec: { instanceRef: 'instances/web' } })).status).toBe(409);
    const move = { spec: { instanceRef: 'instances/web', toSite: 'beta', mode: 'warm' } };
    expect(await plane.call('PUT', `${migrations}/early`, move)).toMatchObject({ status: 409 });
    await agents.get('alpha')?.plug();
    const made = await plane.until(`${backups}/backups/first`, done);
    expect(made.status).toMatchObject({ consistency: 'crash', volumes: [{ sizeBytes: 1_000_341_504, sha256: expect.any(String) }] });
    await agents.get('alpha')?.until('the host has forgotten it', () => agents.get('alpha')?.all('backup').length === 0);

    await put(`${disks}/restored`, { sizeGB: 2, skuRef: 'skus/rd100' }, { 'virt8ra.backup': 'first', 'virt8ra.site': 'beta' });
    expect(
      (
        await plane.call('PUT', `${disks}/small`, {
          spec: { sizeGB: 1, skuRef: 'skus/rd100' },
          extensions: { 'virt8ra.backup': 'first/nothing' },
        })
      ).status,
    ).toBe(422);
    expect(await plane.call('DELETE', `${backups}/backups/first`)).toMatchObject({
      status: 409,
      body: { detail: expect.stringMatching(/restored is still to be made/) },
    });
    await put(`${instances}/copy`, { zone: 'any', skuRef: 'skus/seca.xs', bootVolume: { deviceRef: 'block-storages/restored' } });
    await plane.until(`${instances}/copy`, active);
    const [volume] = agents.get('beta')?.all('volume') ?? [];
    expect(volume).toMatchObject({ state: 'ready', sizeBytes: 2_000_683_008 });
    expect(seen(await plane.call('GET', `${disks}/restored`)).status).toMatchObject({ restoredFrom: { backup: 'first' } });

    const schedule = { of: { instanceRef: 'instances/web' }, every: { hours: 1 }, keep: 1 };
    await put(`${backups}/backup-schedules/hourly`, schedule);
    await plane.until(`${backups}/backup-schedules/hourly`, (answer) => (seen(answer).status as { lastAt?: string } | undefined)?.lastAt);
    const listed = async () =>
      ((await plane.call('GET', `${backups}/backups?labels=virt8ra.schedule=hourly`)).body as { items: Seen[] }).items;
    await plane.until(`${backups}/backups?labels=virt8ra.schedule=hourly`, ({ body }) =>
      (body as { items: Seen[] }).items.every((item) => item.status?.phase === 'done'),
    );
    expect(await listed()).toHaveLength(1);
    expect(seen(await plane.call('GET', `${backups}/backup-schedules/hourly`)).status).toMatchObject({ nextAt: expect.any(String) });

    for (const path of [
      `${instances}/copy`,
      `${disks}/restored`,
      `${backups}/backup-schedules/hourly`,
      `${backups}/backups/first`,
      ...(await listed()).map((item) => `${backups}/backups/${(item as unknown as { metadata: { name: string } }).metadata.name}`),
    ]) {
      expect((await plane.call('DELETE', path)).status, path).toBe(202);
      await plane.until(path, ({ status }) => status === 404);
    }
  });

  it('takes snapshots of an instance, keeps what has some where it is, and reverts its disks while it is off', async () => {
    const snapshots = '/providers/virt8ra.backup/v1beta1/tenants/default/workspaces/shop/snapshots';
    const phase = (answer: Answer) => seen(answer).status?.phase;
    await put(`${snapshots}/before`, { instanceRef: 'instances/web' });
    const made = await plane.until(`${snapshots}/before`, (answer) => phase(answer) === 'taken' && seen(answer));
    expect(made.status).toMatchObject({ consistency: 'crash', takenAt: expect.any(String), volumes: [{ sizeBytes: 1_000_341_504 }] });
    const move = { spec: { instanceRef: 'instances/web', toSite: 'beta', mode: 'warm' } };
    expect(await plane.call('PUT', `${migrations}/early`, move)).toMatchObject({
      status: 409,
      body: { detail: expect.stringMatching(/delete before first/) },
    });
    expect(await plane.call('POST', `${snapshots}/before/revert`)).toMatchObject({
      status: 409,
      body: { detail: expect.stringMatching(/virt8ra stop web/) },
    });
    expect((await plane.call('POST', `${instances}/web/stop`)).status).toBe(202);
    await plane.until(`${instances}/web`, (answer) => seen(answer).status?.activity?.value === 'stopped');
    expect((await plane.call('POST', `${snapshots}/before/revert`)).status).toBe(202);
    await plane.until(`${snapshots}/before`, (answer) => phase(answer) === 'taken');
    expect(seen(await plane.call('GET', `${snapshots}/before`)).status).toMatchObject({ revertedAt: expect.any(String), state: 'active' });
    expect((await plane.call('POST', `${instances}/web/start`)).status).toBe(202);
    await plane.until(`${instances}/web`, active);
    expect((await plane.call('DELETE', `${snapshots}/before`)).status).toBe(202);
    await plane.until(`${snapshots}/before`, ({ status }) => status === 404);
    await agents.get('alpha')?.until('the host has forgotten it', () => agents.get('alpha')?.all('snapshot').length === 0);
  });

  it('shows what it cannot see as unknown, and as running again when the host is back', async () => {
    agents.get('alpha')?.unplug();
    await plane.until(`${instances}/web`, (answer) => seen(answer).status?.activity?.value === 'unknown', 80_000);
    await agents.get('alpha')?.plug();
    await plane.until(`${instances}/web`, running, 60_000);
  });

  it.each([
    { mode: 'warm', to: 'beta' },
    { mode: 'cold', to: 'gamma' },
  ])('moves a running instance $mode, proves its disk and leaves nothing behind', async ({ mode, to }) => {
    await put(`${migrations}/${mode}`, { instanceRef: 'instances/web', toSite: to, mode });
    const move = await plane.until(`${migrations}/${mode}`, ended, 60_000);

    expect(move.status).toMatchObject({ phase: 'done', digests: [{ equal: true }] });
    await plane.until(`${instances}/web`, running);
    expect(seen(await plane.call('GET', `${instances}/web`)).status?.placement?.site).toBe(to);
    expect(seen(await plane.call('GET', `${disks}/root`)).status?.placement?.site).toBe(to);
    expect(seen(await plane.call('GET', `${instances}/web`)).spec).toMatchObject({ zone: 'alpha' });
    expect(plane.hosts.violations).toEqual([]);
    for (const [site, agent] of agents) {
      const left = [...agent.all('volume'), ...agent.all('instance'), ...agent.all('transfer')].length;
      expect(left, `objects at ${site}`).toBe(site === to ? 2 : 0);
    }
  });

  it('returns an instance whose copy was spoiled to where it came from', async () => {
    const target = agents.get('alpha');
    await put(`${migrations}/spoiled`, { instanceRef: 'instances/web', toSite: 'alpha', mode: 'warm' });
    const transfer = await target?.until('a transfer', () => target.all('transfer')[0]);
    target?.corrupt(transfer?.id ?? '');
    const move = await plane.until(`${migrations}/spoiled`, ended, 60_000);

    expect(move.status?.phase).toBe('returned');
    await plane.until(`${instances}/web`, (answer) => running(answer) && seen(answer).status?.placement?.site === 'gamma', 30_000);
    expect(plane.hosts.violations).toEqual([]);
    expect([...(target?.all('volume') ?? []), ...(target?.all('instance') ?? []), ...(target?.all('transfer') ?? [])]).toEqual([]);
  });

  it('deletes in dependency order and leaves no object and no row', async () => {
    expect((await plane.call('DELETE', `${workspaces}/shop`)).status).toBe(409);
    for (const path of [`${instances}/web`, `${disks}/root`, `${nics}/web`, `${nets}/lan/subnets/web`, `${nets}/lan`]) {
      expect((await plane.call('DELETE', path)).status, path).toBe(202);
      await plane.until(path, ({ status }) => status === 404);
    }
    for (const agent of agents.values()) {
      await agent.until(
        'nothing left',
        () => agent.all('volume').length + agent.all('instance').length + agent.all('network').length === 0,
      );
    }
  });
});
