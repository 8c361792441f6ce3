import { expect } from 'vitest';
import { labels, type Scenario } from './scenario.js';
import { type Draft, pathOf, refTo, refusesEnvelope, refusesRegion, type Suite } from './suite.js';

export const workspacesPath = pathOf('workspace', 'workspaces');
export const skus = {
  instance: refTo(pathOf('compute', 'skus/seca.xs')),
  storage: refTo(pathOf('storage', 'skus/rd500')),
  network: refTo(pathOf('network', 'skus/n1k')),
} as const;
const absentSku = (provider: string): { readonly resource: string } => refTo(pathOf(provider, 'skus/absent'));

export const inWorkspace = (provider: string, workspace: string, rest: string): string =>
  pathOf(provider, `workspaces/${workspace}/${rest}`);

export async function withWorkspace(suite: Suite, name: string, work: (workspace: string) => Promise<void>): Promise<void> {
  const path = `${workspacesPath}/${name}`;
  await suite.create(path, { spec: {}, labels });
  await work(name);
  await suite.remove(path);
}

export const disk = (sizeGB = 1): Draft => ({ spec: { sizeGB, skuRef: skus.storage }, labels });

export async function createDisk(suite: Suite, workspace: string, name: string): Promise<string> {
  const path = inWorkspace('storage', workspace, `block-storages/${name}`);
  await suite.create(path, disk());
  await suite.active(path);
  return path;
}

export const instanceSpec = (diskPath: string, more: object = {}): object => ({
  zone: 'alpha',
  skuRef: skus.instance,
  bootVolume: { deviceRef: refTo(diskPath) },
  ...more,
});

export const regionScenarios: readonly Scenario[] = [
  {
    name: 'Region.V1.ProviderQueries',
    async run(suite) {
      const list = await suite.call('GET', '/providers/seca.region/v1/regions');
      expect(list).toMatchObject({ status: 200, body: { items: [{ metadata: { kind: 'region', verb: 'GET' } }] } });
      const [first] = list.body.items;
      const one = await suite.call('GET', `/providers/seca.region/v1/regions/${first?.metadata.name}`);
      expect(one.body).toEqual(first);
      const { availableZones, providers } = one.body.spec as {
        availableZones: string[];
        providers: { name: string; version: string; url: string }[];
      };
      expect(availableZones).toEqual(['any', 'alpha', 'beta']);
      for (const name of ['seca.workspace', 'seca.compute', 'seca.storage', 'seca.network'])
        expect(providers).toContainEqual({ name, version: 'v1', url: `${suite.plane.url}/providers/${name}` });
    },
  },
];

export const workspaceScenarios: readonly Scenario[] = [
  {
    name: 'Workspace.V1.ProviderLifeCycle',
    async run(suite) {
      const path = `${workspacesPath}/ws-life`;
      await suite.create(path, { spec: {}, labels });
      await suite.active(path, { labels });
      await suite.update(path, { spec: {}, labels: { env: 'other' } });
      await suite.active(path, { labels: { env: 'other' } });
      await suite.remove(path);
    },
  },
  {
    name: 'Workspace.V1.Queries',
    async run(suite) {
      const names = ['ws-a', 'ws-b', 'ws-c'];
      for (const name of names) await suite.create(`${workspacesPath}/${name}`, { spec: {}, labels });
      await suite.listed(workspacesPath, names);
      await suite.remove(...names.map((name) => `${workspacesPath}/${name}`));
    },
  },
  { name: 'Workspace.V1.ConstraintsValidation', run: async (suite) => await refusesEnvelope(suite, workspacesPath, {}) },
  {
    name: 'Workspace.V1.WorkspaceError',
    async run(suite) {
      await refusesRegion(suite, `${workspacesPath}/ws-far`, {});
      await withWorkspace(suite, 'ws-full', async (workspace) => {
        const boot = await createDisk(suite, workspace, 'boot');
        const path = inWorkspace('compute', workspace, 'instances/one');
        await suite.create(path, { spec: instanceSpec(boot) });
        await suite.active(path);
        await suite.refusedCall('DELETE', `${workspacesPath}/${workspace}`);
        await suite.remove(path, boot);
      });
    },
  },
];

/** Three that ask for one disk: one has it, the others wait, visibly, and have it in turn. */
async function sharesDisk(suite: Suite): Promise<void> {
  await withWorkspace(suite, 'cp-share', async (workspace) => {
    const boot = await createDisk(suite, workspace, 'boot');
    const [one = '', two = '', three = ''] = ['a', 'b', 'c'].map((name) => inWorkspace('compute', workspace, `instances/${name}`));
    for (const path of [one, two, three]) await suite.create(path, { spec: instanceSpec(boot), labels });
    await suite.listed(inWorkspace('compute', workspace, 'instances'), ['a', 'b', 'c']);
    await suite.active(one);
    for (const path of [two, three]) await suite.waitsFor(path, 'block-storage boot is attached to instance a', ['creating']);
    await suite.remove(three, one);
    await suite.active(two);
    await suite.removeAtOnce(two, boot);
  });
}

export const computeScenarios: readonly Scenario[] = [
  {
    name: 'Compute.V1.ProviderLifeCycle',
    differs: 'changes the zone of an instance, which the specification forbids; here that is refused, naming the command that moves it',
    contradicts:
      'changes the zone of an instance, which the specification forbids; it may say where the instance is or any, and another is refused, naming the command that moves it',
    async run(suite) {
      await withWorkspace(suite, 'cp-life', async (workspace) => {
        const boot = await createDisk(suite, workspace, 'boot');
        const path = inWorkspace('compute', workspace, 'instances/one');
        const draft: Draft = { spec: instanceSpec(boot), labels };
        await suite.create(path, draft);
        await suite.active(path, draft);
        await suite.refused(path, { ...draft, spec: { ...draft.spec, zone: 'beta' } }, 422, '/spec/zone');
        const changed: Draft =
          suite.profile === 'standard' ? { ...draft, labels: { env: 'other' } } : { ...draft, spec: { ...draft.spec, zone: 'any' } };
        await suite.update(path, changed, ['active', 'updating']);
        await suite.active(path, changed);
        await suite.act(path, 'start');
        await suite.until(path, ({ body }) => body.status['powerState'] === 'on' && body.status.state === 'active');
        await suite.active(path);
        await suite.act(path, 'restart');
        await suite.active(path);
        await suite.act(path, 'stop');
        await suite.until(path, ({ body }) => body.status['powerState'] === 'off' && body.status.state === 'active');
        await suite.active(path);
        await suite.remove(path, boot);
      });
    },
  },
  {
    name: 'Compute.V1.ProviderQueries',
    differs: 'boots three instances from one block storage; here each has its own, since a disk in use is refused',
    async run(suite) {
      expect((await suite.call('GET', pathOf('compute', 'skus'))).body.items.length).toBeGreaterThan(0);
      const tier = await suite.call('GET', `${pathOf('compute', 'skus')}?labels=Tier%3DD2XS`);
      expect(tier.body.items.map(({ metadata }) => metadata.name)).toEqual(['seca.d2xs']);
      if (suite.profile === 'conformance') return await sharesDisk(suite);
      await withWorkspace(suite, 'cp-list', async (workspace) => {
        const paths: string[] = [];
        for (const name of ['a', 'b', 'c']) {
          const boot = await createDisk(suite, workspace, name);
          const path = inWorkspace('compute', workspace, `instances/${name}`);
          await suite.create(path, { spec: instanceSpec(boot), labels });
          paths.push(path, boot);
        }
        await suite.listed(inWorkspace('compute', workspace, 'instances'), ['a', 'b', 'c']);
        await suite.remove(...paths);
      });
    },
  },
  {
    name: 'Compute.V1.InstanceConstraintsValidation',
    async run(suite) {
      await withWorkspace(suite, 'cp-bounds', async (workspace) => {
        const collection = inWorkspace('compute', workspace, 'instances');
        const boot = inWorkspace('storage', workspace, 'block-storages/boot');
        const path = `${collection}/one`;
        const spec = instanceSpec(boot);
        await refusesEnvelope(suite, collection, spec);
        const key = 'ssh-ed25519 AAAA';
        for (const [wrong, pointer] of [
          [{ userData: 'x'.repeat(65537) }, '/spec/userData'],
          [{ antiAffinityGroup: 'x'.repeat(65) }, '/spec/antiAffinityGroup'],
          [{ sshKeys: ['x'.repeat(4097)] }, '/spec/sshKeys/0'],
          [{ sshKeys: Array.from({ length: 33 }, () => key) }, '/spec/sshKeys'],
          [{ sshKeys: [''] }, '/spec/sshKeys/0'],
          [{ zone: 'z'.repeat(33) }, '/spec/zone'],
          [{ zone: '' }, '/spec/zone'],
          [{ dataVolumes: Array.from({ length: 65 }, () => ({ deviceRef: refTo(boot) })) }, '/spec/dataVolumes'],
        ] as const)
          await suite.refused(path, { spec: { ...spec, ...wrong } }, 422, pointer);
      });
    },
  },
  {
    name: 'Compute.V1.InstanceError',
    async run(suite) {
      await withWorkspace(suite, 'cp-error', async (workspace) => {
        const boot = await createDisk(suite, workspace, 'boot');
        const path = inWorkspace('compute', workspace, 'instances/one');
        const spec = instanceSpec(boot);
        await suite.refused(path, { spec: { ...spec, skuRef: absentSku('compute') } }, 422, '/spec/skuRef');
        await suite.refused(path, { spec: instanceSpec(`${boot}-absent`) }, 422, '/spec/bootVolume/deviceRef');
        await suite.refused(path, { spec: { ...spec, zone: 'nowhere' } }, 422, '/spec/zone');
        await suite.refused(inWorkspace('compute', 'absent', 'instances/one'), { spec }, 404);
        await suite.create(path, { spec });
        await suite.active(path);
        for (const action of ['stop', 'restart']) await suite.refusedCall('POST', `${path}/${action}`);
        await suite.act(path, 'start');
        await suite.active(path);
        await suite.refusedCall('POST', `${path}/start`);
        await suite.remove(path, boot);
      });
    },
  },
];

const imagesPath = pathOf('storage', 'images');
const imageOf = (diskPath: string, cpuArchitecture = 'amd64'): Draft => ({
  spec: { blockStorageRef: refTo(diskPath), cpuArchitecture },
  labels,
});

export async function createImage(suite: Suite, name: string, diskPath: string): Promise<string> {
  await suite.create(`${imagesPath}/${name}`, imageOf(diskPath));
  await suite.active(`${imagesPath}/${name}`);
  return `${imagesPath}/${name}`;
}

async function blockStorageLife(suite: Suite, workspace: string): Promise<void> {
  const path = inWorkspace('storage', workspace, 'block-storages/one');
  await suite.create(path, disk(20));
  await suite.active(path, disk(20));
  await suite.update(path, disk(30));
  await suite.active(path, disk(30));
  await suite.remove(path);
}

async function imageLife(suite: Suite, workspace: string, name: string): Promise<void> {
  const from = await createDisk(suite, workspace, name);
  const path = await createImage(suite, name, from);
  await suite.update(path, imageOf(from, 'arm64'), ['active', 'updating']);
  await suite.active(path, imageOf(from, 'arm64'));
  await suite.remove(path, from);
}

export const storageScenarios: readonly Scenario[] = [
  {
    name: 'Storage.V1.ProviderLifeCycle',
    run: async (suite) =>
      await withWorkspace(suite, 'st-life', async (workspace) => {
        await blockStorageLife(suite, workspace);
        await imageLife(suite, workspace, 'st-life');
      }),
  },
  {
    name: 'Storage.V1.Queries',
    async run(suite) {
      expect((await suite.call('GET', pathOf('storage', 'skus'))).body.items.length).toBeGreaterThan(0);
      await withWorkspace(suite, 'st-list', async (workspace) => {
        const disks: string[] = [];
        const images: string[] = [];
        for (const name of ['st-a', 'st-b', 'st-c']) {
          disks.push(await createDisk(suite, workspace, name));
          images.push(await createImage(suite, name, disks.at(-1) ?? ''));
        }
        await suite.listed(inWorkspace('storage', workspace, 'block-storages'), ['st-a', 'st-b', 'st-c']);
        await suite.listed(imagesPath, ['st-a', 'st-b', 'st-c']);
        await suite.remove(...images, ...disks);
      });
    },
  },
  {
    name: 'Storage.V1.BlockStorageLifeCycle',
    run: async (suite) => await withWorkspace(suite, 'st-disk', async (ws) => await blockStorageLife(suite, ws)),
  },
  {
    name: 'Storage.V1.ImageLifeCycle',
    run: async (suite) => await withWorkspace(suite, 'st-image', async (ws) => await imageLife(suite, ws, 'st-image')),
  },
  {
    name: 'Storage.V1.BlockStorageConstraintsValidation',
    run: async (suite) =>
      await withWorkspace(suite, 'st-bounds', async (workspace) => {
        const collection = inWorkspace('storage', workspace, 'block-storages');
        await refusesEnvelope(suite, collection, disk().spec ?? {});
        for (const size of [0, 1_000_001]) await suite.refused(`${collection}/one`, disk(size), 422, '/spec/sizeGB');
      }),
  },
  {
    name: 'Storage.V1.ImageConstraintsValidation',
    run: async (suite) =>
      await withWorkspace(suite, 'st-ibounds', async (workspace) => {
        const from = await createDisk(suite, workspace, 'from');
        const { spec = {} } = imageOf(from);
        await refusesEnvelope(suite, imagesPath, spec);
        for (const [wrong, pointer] of [
          [{ boot: 'CSM' }, '/spec/boot'],
          [{ cpuArchitecture: 'mips' }, '/spec/cpuArchitecture'],
          [{ initializer: 'cloudinit-1' }, '/spec/initializer'],
        ] as const)
          await suite.refused(`${imagesPath}/st-ibounds`, { spec: { ...spec, ...wrong } }, 422, pointer);
        await suite.remove(from);
      }),
  },
  {
    name: 'Storage.V1.BlockStorageError',
    run: async (suite) =>
      await withWorkspace(suite, 'st-error', async (workspace) => {
        const path = inWorkspace('storage', workspace, 'block-storages/one');
        await refusesRegion(suite, path, disk().spec ?? {});
        await suite.refused(path, { spec: { sizeGB: 1, skuRef: absentSku('storage') } }, 422, '/spec/skuRef');
        await suite.refused(inWorkspace('storage', 'absent', 'block-storages/one'), disk(), 404);
      }),
  },
  {
    name: 'Storage.V1.ImageError',
    run: async (suite) =>
      await withWorkspace(suite, 'st-ierror', async (workspace) => {
        const from = await createDisk(suite, workspace, 'from');
        const path = `${imagesPath}/st-ierror`;
        await refusesRegion(suite, path, imageOf(from).spec ?? {});
        await suite.refused(path, imageOf(from, 'x86_64'), 422, '/spec/cpuArchitecture');
        await suite.refused(path, imageOf(`${from}-absent`), 422, '/spec/blockStorageRef');
        await suite.refused(path, imageOf(inWorkspace('storage', 'absent', 'block-storages/from')), 422, '/spec/blockStorageRef');
        await suite.remove(from);
      }),
  },
];
