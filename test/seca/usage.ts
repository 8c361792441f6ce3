import { expect } from 'vitest';
import { createDisk, createImage, instanceSpec, inWorkspace, skus, withWorkspace, workspacesPath } from './foundations.js';
import { at, makeStack, nicSpec } from './network-stack.js';
import { labels, type Scenario } from './scenario.js';
import { type Draft, pathOf, refTo, type Suite } from './suite.js';

/** A disk that starts from an image and was not written to is that image, if an image is made of it again. */
async function sharesContent(suite: Suite, workspace: string, image: string): Promise<void> {
  const disk = inWorkspace('storage', workspace, 'block-storages/again');
  await suite.create(disk, { spec: { sizeGB: 2, skuRef: skus.storage, sourceImageRef: refTo(image) } });
  const again = `${image}-again`;
  await suite.create(again, { spec: { blockStorageRef: refTo(disk), cpuArchitecture: 'amd64' } });
  const contents = await Promise.all([image, again].map(async (path) => (await suite.active(path)).body.status['sha256']));
  expect(contents[0]).toMatch(/^[0-9a-f]{64}$/);
  expect(contents[1]).toBe(contents[0]);
  await suite.remove(disk, again);
}

/** The assignment is there before its workspaces, and all goes without waiting for what goes before. */
async function isolatedAhead(suite: Suite, names: readonly string[]): Promise<void> {
  const [role, assignment] = [pathOf('authorization', 'roles/us-both'), pathOf('authorization', 'role-assignments/us-both')];
  await suite.create(role, { spec: { permissions: [{ provider: 'seca.compute', resources: ['*'], verb: ['GET'] }] } });
  await suite.create(assignment, { spec: { subs: ['u1@example.org'], roles: ['us-both'], scopes: [{ workspaces: names }] } });
  await suite.active(assignment);
  const going: string[] = [];
  for (const name of names) {
    await suite.waitsFor(assignment, `workspaces/${name}`);
    await suite.create(`${workspacesPath}/${name}`, { spec: {}, labels });
    const boot = await createDisk(suite, name, 'boot');
    const path = inWorkspace('compute', name, `instances/${name}`);
    await suite.create(path, { spec: instanceSpec(boot), labels });
    await suite.active(path);
    going.push(path, boot, `${workspacesPath}/${name}`);
  }
  await suite.wentOn(assignment);
  for (const name of names) {
    const list = await suite.call('GET', inWorkspace('compute', name, 'instances'));
    expect(list.body.items.map(({ metadata }) => metadata.name)).toEqual([name]);
  }
  await suite.removeAtOnce(...going);
  await suite.remove(assignment, role);
}

export const usageScenarios: readonly Scenario[] = [
  {
    name: 'Usage.V1.FoundationProviders',
    differs: 'makes an image of a disk that is made later, which Storage.V1.ImageError forbids; here the disk is first',
    contradicts:
      'wants an image active before the disk it is made of is there, which Storage.V1.ImageError forbids; here the disk is first',
    async run(suite) {
      await withWorkspace(suite, 'us-all', async (workspace) => {
        const boot = await createDisk(suite, workspace, 'boot');
        const image = await createImage(suite, 'us-all', boot);
        await sharesContent(suite, workspace, image);
        const stack = await makeStack(suite, workspace);
        const nic = at(workspace, 'nics/web');
        await suite.create(nic, { spec: nicSpec(stack.subnet), labels });
        const path = inWorkspace('compute', workspace, 'instances/one');
        const draft: Draft = { spec: instanceSpec(boot, { primaryNicRef: refTo(nic) }), labels };
        await suite.create(path, draft);
        await suite.active(path, draft);
        expect((await suite.call('GET', boot)).body.status['attachedTo']).toEqual(refTo(path));
        await suite.refusedCall('DELETE', boot);
        // A guest may have written to it since.
        const late: Draft = { spec: { blockStorageRef: refTo(boot), cpuArchitecture: 'amd64' } };
        await suite.refused(`${image}-late`, late, 422, '/spec/blockStorageRef');
        await suite.refusedCall('DELETE', nic);
        await suite.remove(path, nic, image, boot);
        await stack.remove();
      });
    },
  },
  {
    name: 'Usage.V1.HaMultiZone',
    async run(suite) {
      await withWorkspace(suite, 'us-ha', async (workspace) => {
        const paths: string[] = [];
        for (const zone of ['alpha', 'beta']) {
          const boot = await createDisk(suite, workspace, zone);
          const path = inWorkspace('compute', workspace, `instances/${zone}`);
          await suite.create(path, { spec: instanceSpec(boot, { zone, antiAffinityGroup: 'replicas' }), labels });
          paths.push(path, boot);
        }
        for (const zone of ['alpha', 'beta']) {
          const path = inWorkspace('compute', workspace, `instances/${zone}`);
          expect((await suite.active(path)).body.status['placement']).toMatchObject({ site: zone });
        }
        await suite.remove(...paths);
      });
    },
  },
  {
    name: 'Usage.V1.PrivateSecureWorkspace',
    async run(suite) {
      await withWorkspace(suite, 'us-private', async (workspace) => {
        const stack = await makeStack(suite, workspace, { egressOnly: true });
        const nic = at(workspace, 'nics/web');
        await suite.create(nic, { spec: nicSpec(stack.subnet), labels });
        const boot = await createDisk(suite, workspace, 'boot');
        const path = inWorkspace('compute', workspace, 'instances/one');
        await suite.create(path, { spec: instanceSpec(boot, { primaryNicRef: refTo(nic) }), labels });
        await suite.active(path);
        await suite.remove(path, boot, nic);
        await stack.remove();
      });
    },
  },
  {
    name: 'Usage.V1.MultiWorkspaceIsolation',
    differs:
      'assigns a role in workspaces that are made later, which Authorization.V1.RoleAssignmentError forbids, and deletes what is in use by what is going; here they are made first, and each is waited for',
    async run(suite) {
      const names = ['us-one', 'us-two'];
      if (suite.profile === 'conformance') return await isolatedAhead(suite, names);
      for (const name of names) {
        await suite.create(`${workspacesPath}/${name}`, { spec: {}, labels });
        await createDisk(suite, name, name);
      }
      for (const name of names) {
        const list = await suite.call('GET', inWorkspace('storage', name, 'block-storages'));
        expect(list.body.items.map(({ metadata }) => metadata.name)).toEqual([name]);
        const [other = ''] = names.filter((each) => each !== name);
        expect((await suite.call('GET', inWorkspace('storage', name, `block-storages/${other}`))).status).toBe(404);
      }
      for (const name of names) await suite.remove(inWorkspace('storage', name, `block-storages/${name}`), `${workspacesPath}/${name}`);
    },
  },
];
