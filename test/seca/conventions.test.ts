import { type ControlPlane, startControlPlane } from '@virt8ra/server/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { instanceSpec, inWorkspace, skus, workspacesPath } from './foundations.js';
import { pathOf, refTo, Suite, type Wire } from './suite.js';

let plane: ControlPlane;
let suite: Suite;
beforeAll(async () => {
  plane = await startControlPlane();
  await plane.addSite('alpha', { publicAddresses: ['52.93.126.0/26'] });
  await plane.addSite('beta');
  suite = new Suite(plane, 'standard');
  await suite.create(`${workspacesPath}/shop`, { spec: {}, labels: { env: 'prod' } });
}, 120_000);
afterAll(async () => await plane.stop(), 60_000);

const disks = inWorkspace('storage', 'shop', 'block-storages');
const networks = inWorkspace('network', 'shop', 'networks');
const disk = { sizeGB: 1, skuRef: skus.storage };
const permission = { provider: 'seca.storage', resources: ['*'], verb: ['get'] };
const names = ({ body }: Wire): readonly string[] => body.items.map(({ metadata }) => metadata.name);
const states = ({ body }: Wire): readonly string[] => body.status.conditions.map(({ state }) => state);

describe('the conventions of SECA, on the wire', { timeout: 60_000 }, () => {
  it('answer 201, 200, 202 and 404, with a history newest first whose length is what happened', async () => {
    const path = `${workspacesPath}/story`;
    const created = await suite.put(path, { spec: {}, labels: { step: '1' } });
    expect([created.status, created.type, created.body.metadata['verb']]).toEqual([201, 'application/json', 'PUT']);
    expect(states(created)).toEqual(['active', 'creating', 'pending']);

    const updated = await suite.put(path, { spec: {}, labels: { step: '2' } });
    expect([updated.status, updated.body.status.state, updated.body.metadata['resourceVersion']]).toEqual([200, 'active', 2]);
    const read = await suite.call('GET', path);
    expect(states(read)).toEqual(['active', 'updating', 'active', 'creating', 'pending']);
    expect(read.body.metadata).toEqual({
      name: 'story',
      provider: 'seca.workspace/v1',
      resource: 'workspaces/story',
      verb: 'GET',
      apiVersion: 'v1',
      kind: 'workspace',
      ref: 'seca.workspace/v1/tenants/default/workspaces/story',
      createdAt: created.body.metadata['createdAt'],
      lastModifiedAt: expect.any(String),
      resourceVersion: 2,
      tenant: 'default',
      region: 'virt8ra',
    });

    expect(await suite.call('DELETE', path)).toMatchObject({ status: 202, text: '', type: null });
    await suite.until(path, ({ status }) => status === 404);
    const gone = await suite.call('DELETE', path);
    expect([gone.status, gone.type]).toEqual([404, 'application/problem+json']);
    expect(gone.body).toMatchObject({ type: 'http://secapi.cloud/errors/resource-not-found', status: 404, instance: path });
  });

  it('lock by a whole number in if-unmodified-since, on PUT, DELETE and actions', async () => {
    const path = `${workspacesPath}/locked`;
    const lock = (version: string) => ({ 'if-unmodified-since': version });
    expect((await suite.call('PUT', path, { spec: {} }, lock('1'))).status).toBe(412);
    expect((await suite.call('PUT', path, { spec: {} }, lock('0'))).status).toBe(201);
    expect((await suite.call('PUT', path, { spec: {}, labels: { a: 'b' } }, lock('1'))).status).toBe(200);
    expect((await suite.call('DELETE', path, undefined, lock('1'))).status).toBe(412);
    expect(await suite.call('PUT', path, { spec: {} }, lock('Wed, 21 Oct 2026 07:28:00 GMT'))).toMatchObject({
      status: 400,
      body: { sources: [{ parameter: 'if-unmodified-since' }] },
    });
    expect((await suite.call('DELETE', path, undefined, lock('2'))).status).toBe(202);
  });

  it('select by labels in every way there is, and page without an empty page that has a token', async () => {
    const made = [
      ['one', { env: 'prod', tier: '1', 'team:owner': 'ann' }],
      ['two', { env: 'preprod', tier: '2' }],
      ['three', { environment: 'prod', tier: '10' }],
      ['four', { tier: 'none' }],
    ] as const;
    for (const [name, labels] of made) await suite.create(`${disks}/${name}`, { spec: disk, labels });
    const select = async (labels: string): Promise<readonly string[]> =>
      names(await suite.call('GET', `${disks}?labels=${encodeURIComponent(labels)}`));

    expect(await select('env=prod')).toEqual(['one']);
    expect(await select('env!=prod')).toEqual(['four', 'three', 'two']);
    expect(await select('env=*prod')).toEqual(['one', 'two']);
    expect(await select('*env*=*prod*')).toEqual(['one', 'three', 'two']);
    expect(await select('tier>1')).toEqual(['three', 'two']);
    expect(await select('tier>=1,tier<10')).toEqual(['one', 'two']);
    expect(await select('tier<=2')).toEqual(['one', 'two']);
    expect(await select('team:owner=ann,env=prod')).toEqual(['one']);
    expect((await suite.call('GET', `${disks}?labels=${encodeURIComponent('env==prod')}`)).status).toBe(400);

    for (const query of ['limit=3', 'limit=2', 'limit=4', 'labels=env%21%3Dprod&limit=3', 'labels=env%21%3Dprod&limit=1']) {
      let token: string | undefined;
      do {
        const page = await suite.call('GET', `${disks}?${query}${token === undefined ? '' : `&skipToken=${token}`}`);
        expect(page.body.items.length, query).toBeGreaterThan(0);
        token = page.body.metadata.skipToken;
      } while (token !== undefined);
    }
    const { metadata } = (await suite.call('GET', `${disks}?limit=2`)).body;
    expect(metadata).toMatchObject({ provider: 'seca.storage/v1', resource: 'block-storages', verb: 'GET' });
    await suite.create(`${disks}/a-new-first`, { spec: disk });
    expect(names(await suite.call('GET', `${disks}?limit=9&skipToken=${metadata.skipToken}`))).toEqual(['three', 'two']);
    expect((await suite.call('GET', `${workspacesPath}?skipToken=${metadata.skipToken}`)).status).toBe(400);
    for (const limit of ['0', '10001', 'x']) expect((await suite.call('GET', `${disks}?limit=${limit}`)).status).toBe(400);

    await suite.remove(...['one', 'two', 'three', 'four', 'a-new-first'].map((name) => `${disks}/${name}`));
    const listed = async (accept: string): Promise<readonly string[]> => names(await suite.call('GET', disks, undefined, { accept }));
    expect(await listed('application/json')).toEqual([]);
    expect(await listed('application/json; deleted=only')).toEqual(['a-new-first', 'four', 'one', 'three', 'two']);
    expect(await listed('application/json; deleted=true')).toHaveLength(5);
    const tombstones = await suite.call('GET', disks, undefined, { accept: 'application/json; deleted=only' });
    for (const { metadata: gone, status } of tombstones.body.items)
      expect([typeof gone['deletedAt'], status.state]).toEqual(['string', 'deleting']);
  });

  it('take references as texts and objects, short and whole, and echo them as they came', async () => {
    const forms = [
      'skus/rd500',
      refTo(pathOf('storage', 'skus/rd500')),
      { resource: 'tenants/default/skus/rd500' },
      { resource: 'skus/rd500', tenant: 'default' },
    ];
    for (const [index, skuRef] of forms.entries()) {
      const path = `${disks}/ref-${index}`;
      expect((await suite.put(path, { spec: { sizeGB: 1, skuRef } })).status, JSON.stringify(skuRef)).toBe(201);
      expect((await suite.call('GET', path)).body.spec).toEqual({ sizeGB: 1, skuRef });
      await suite.remove(path);
    }
    await suite.refused(`${disks}/ref`, { spec: { sizeGB: 1, skuRef: 'networks/rd500' } }, 422, '/spec/skuRef');
  });

  it('take the empty zone of a subnet as the whole region, and a zone that is none as a mistake', async () => {
    await suite.create(`${networks}/lan`, { spec: { cidr: { ipv4: '10.1.0.0/16' }, skuRef: skus.network } });
    const subnet = `${networks}/lan/subnets/web`;
    const cidr = { ipv4: '10.1.1.0/24' };
    await suite.create(subnet, { spec: { cidr, zone: '' } });
    expect((await suite.active(subnet)).body.spec).toEqual({ cidr, zone: '' });
    await suite.refused(`${networks}/lan/subnets/other`, { spec: { cidr: { ipv4: '10.1.2.0/24' }, zone: 'nowhere' } }, 422, '/spec/zone');
    expect((await suite.call('GET', `${networks}/lan`)).body.status['cidr']).toEqual({ ipv4: '10.1.0.0/16' });
    const { metadata } = (await suite.call('GET', subnet)).body;
    expect([metadata['resource'], metadata['network']]).toEqual(['networks/lan/subnets/web', 'lan']);
  });

  it('take whole URNs in a path, encoded, where they name what the path names, and refuse others clearly', async () => {
    const encoded = (path: string): string => encodeURIComponent(refTo(path).resource);
    const workspace = encoded(`${workspacesPath}/shop`);
    const lan = encoded(`${networks}/lan`);
    const asText = (rest: string): string => `/providers/seca.network/v1/tenants/default/workspaces/${rest}`;

    const plain = await suite.call('GET', `${networks}/lan/subnets/web`);
    const byUrn = await suite.call('GET', asText(`${workspace}/networks/${lan}/subnets/${encoded(`${networks}/lan/subnets/web`)}`));
    expect(byUrn).toEqual(plain);
    expect((await suite.call('PUT', asText(`${workspace}/networks/${lan}/subnets/web`), { spec: plain.body.spec })).status).toBe(200);
    for (const path of [
      asText(`${encoded(`${networks}/lan`)}/networks`),
      asText(`${encodeURIComponent('seca.workspace/v1/tenants/other/workspaces/shop')}/networks`),
      asText(`shop/networks/${encodeURIComponent('seca.network/v1/tenants/default/workspaces/else/networks/lan')}/subnets`),
    ]) {
      const refused = await suite.call('GET', path);
      expect([refused.status, refused.type], path).toEqual([422, 'application/problem+json']);
      expect(refused.body.sources).toEqual([{ parameter: expect.stringMatching(/workspace|network/) }]);
    }
  });

  it('never leave a client without what it follows: status with conditions, metadata of lists, JSON for everything with a body', async () => {
    const sent = await suite.call('PUT', `${disks}/bare`, {
      spec: { ...disk },
      labels: null,
      annotations: null,
      extensions: null,
      status: null,
    });
    expect(sent.status).toBe(201);
    for (const collection of [
      workspacesPath,
      disks,
      networks,
      `${networks}/lan/subnets`,
      pathOf('compute', 'skus'),
      '/providers/seca.region/v1/regions',
    ]) {
      const { type, body } = await suite.call('GET', collection);
      expect(type).toMatch(/^application\/json/);
      expect(body.metadata).toMatchObject({ provider: expect.any(String), resource: expect.any(String), verb: 'GET' });
      for (const item of body.items) {
        const hasStatus = !/skus|regions/.test(collection);
        expect(Array.isArray((item.status as Wire['body']['status'] | undefined)?.conditions), collection).toBe(hasStatus);
        for (const map of ['labels', 'annotations', 'extensions'] as const) expect(item[map]).not.toEqual({});
      }
    }
    for (const [method, path] of [
      ['GET', '/providers/seca.unknown/v1/things'],
      ['PATCH', disks],
      ['GET', `${disks}/absent`],
    ] as const)
      expect((await suite.call(method, path)).type).toBe('application/problem+json');
    expect((await suite.call('PUT', `${disks}/broken`, '{"spec":')).status).toBe(400);
    const faults = await suite.put(`${disks}/broken`, { spec: { sizeGB: 0, skuRef: 7, more: true } });
    expect([faults.status, faults.body.sources.map(({ pointer }) => pointer).toSorted()]).toEqual([
      422,
      ['/spec/more', '/spec/sizeGB', '/spec/skuRef'],
    ]);
    await suite.remove(`${disks}/bare`);
  });

  it('refuse changes of what cannot change, and what no site can make, with the reason of each', async () => {
    await suite.create(`${disks}/fixed`, { spec: disk });
    await suite.refused(`${disks}/fixed`, { spec: { ...disk, skuRef: refTo(pathOf('storage', 'skus/rd100')) } }, 422, '/spec/skuRef');
    await suite.refused(`${disks}/fixed`, { spec: { ...disk, sizeGB: 0 } }, 422, '/spec/sizeGB');
    await suite.refused(
      `${networks}/lan`,
      { spec: { cidr: { ipv4: '10.1.0.0/16' }, skuRef: refTo(pathOf('network', 'skus/n5k')) } },
      422,
      '/spec/skuRef',
    );
    await suite.remove(`${disks}/fixed`);

    const beta = (provider: string, rest: string): string => `/providers/seca.${provider}/v1beta1/tenants/default/workspaces/shop/${rest}`;
    const cluster = beta('kubernetes', 'clusters/prod');
    const nic = inWorkspace('network', 'shop', 'nics/front');
    const door = inWorkspace('network', 'shop', 'public-ips/door');
    await suite.create(nic, { spec: { subnetRef: refTo(`${networks}/lan/subnets/web`), addresses: ['10.1.1.9'] } });
    await suite.create(door, { spec: { version: 'IPv4' } });
    const target = { members: [refTo(nic)] };
    for (const [path, spec, facet] of [
      [cluster, { skuRef: { resource: 'skus/any' } }, 'clusters'],
      [
        beta('loadbalancer', 'network-load-balancers/front'),
        { nicRef: refTo(nic), frontends: [{ port: 80, protocol: 'tcp', target }] },
        'loadBalancers',
      ],
      [
        beta('natgateway', 'internet-nat-gateway-instances/out'),
        { zone: 'any', nicRef: refTo(nic), publicIpRef: refTo(door) },
        'natGateways',
      ],
      [beta('objectstorage', 'accounts/store'), {}, 'objectStores'],
    ] as const) {
      const refused = await suite.put(path, { spec });
      expect([refused.status, refused.body.code], path).toEqual([422, 'unsupported']);
      expect(refused.body.detail).toContain(
        `alpha: its driver has no ${facet} (add a site of a driver that has); beta: its driver has no ${facet}`,
      );
      expect(refused.body).toMatchObject({
        meta: {
          placement: [
            { site: 'alpha', fits: false },
            { site: 'beta', fits: false },
          ],
        },
      });
      expect(await suite.call('GET', path)).toMatchObject({ status: 404 });
      expect((await suite.call('GET', path.slice(0, path.lastIndexOf('/')))).body.items).toEqual([]);
      expect((await suite.call('DELETE', path)).status).toBe(404);
    }
    await suite.refused(
      cluster,
      { spec: { skuRef: { resource: 'skus/any' }, podCidr: '10.1', serviceCidr: '10.0.0.0/16' } },
      422,
      '/spec/podCidr',
    );
    const pool = {
      skuRef: skus.instance,
      zone: 'any',
      subnetRef: refTo(`${networks}/lan/subnets/web`),
      rootVolume: { sizeGB: 20, skuRef: skus.storage },
    };
    await suite.refused(`${cluster}/node-pools/workers`, { spec: { instances: 3, nodeTemplate: pool } }, 404);
    await suite.refused(`${cluster}/node-pools/workers`, { spec: { instances: 0, nodeTemplate: pool } }, 422, '/spec/instances');
    expect((await suite.call('GET', `${cluster}/node-pools`)).body).toMatchObject({
      items: [],
      metadata: { resource: 'clusters/prod/node-pools' },
    });
    const found = (await suite.call('GET', '/.wellknown/secapi')).body as unknown as { endpoints: { provider: string }[] };
    expect(found.endpoints.map(({ provider }) => provider)).toEqual(
      expect.arrayContaining(['seca.kubernetes', 'seca.loadbalancer', 'seca.natgateway', 'seca.objectstorage']),
    );
    await suite.remove(nic, door);
  });
});

describe('what the Go SDK and Terraform rely on, by the bytes', { timeout: 60_000 }, () => {
  it('is a workspace that may have no spec at all', async () => {
    for (const [index, body] of [{}, { spec: null }, { spec: {} }].entries()) {
      const path = `${workspacesPath}/bare-${index}`;
      const made = await suite.call('PUT', path, body);
      expect([made.status, made.body.spec]).toEqual([201, {}]);
      await suite.remove(path);
    }
  });

  it('is what they read from the status: ranges and addresses as asked, and any free one where that was asked', async () => {
    await suite.create(`${networks}/any`, {
      spec: { cidr: { ipv4: '10.7.0.0/16' }, additionalCidrs: [{ ipv4: '10.8.0.0/16' }], skuRef: skus.network },
    });
    const { status } = (await suite.active(`${networks}/any`)).body;
    expect(status).toMatchObject({ cidr: { ipv4: '10.7.0.0/16' }, additionalCidrs: [{ ipv4: '10.8.0.0/16' }] });
    const table = `${networks}/any/route-tables/ways`;
    const gateway = inWorkspace('network', 'shop', 'internet-gateways/any');
    await suite.create(gateway);
    await suite.create(table, { spec: { routes: [{ destinationCidrBlock: '0.0.0.0/0', targetRef: refTo(gateway) }] } });
    // The one kind whose name is not its path's.
    expect((await suite.call('GET', table)).body.metadata['kind']).toBe('routing-table');
    await suite.create(`${networks}/any/subnets/any`, {
      spec: { cidr: { ipv4: '10.7.1.0/24' }, zone: 'any', routeTableRef: refTo(table) },
    });
    expect((await suite.active(`${networks}/any/subnets/any`)).body.status).toMatchObject({
      cidr: { ipv4: '10.7.1.0/24' },
      gateways: ['10.7.1.1'],
      routeTableRef: refTo(table),
    });
    const door = inWorkspace('network', 'shop', 'public-ips/any');
    await suite.create(door, { spec: { version: 'IPv4' } });
    expect((await suite.active(door)).body.status['ipAddress']).toMatch(/^52\.93\.126\.\d+$/);
    const nic = inWorkspace('network', 'shop', 'nics/any');
    const spec = { addresses: ['0.0.0.0'], subnetRef: refTo(`${networks}/any/subnets/any`), publicIpRefs: [refTo(door)] };
    await suite.create(nic, { spec });
    const made = (await suite.active(nic)).body;
    expect([made.spec, made.status['addresses']]).toEqual([spec, ['10.7.1.2']]);
    expect((await suite.call('GET', door)).body.status['attachedTo']).toEqual(refTo(nic));
    await suite.remove(nic, door, `${networks}/any/subnets/any`, table, gateway, `${networks}/any`);
  });

  it('is the address of each problem’s type, with the status that says the same', async () => {
    const path = `${workspacesPath}/typed`;
    await suite.create(path);
    const unlocked = { 'if-unmodified-since': '7' };
    const nobody = { authorization: 'Bearer nobody' };
    const used = `${disks}/typed`;
    await suite.create(used, { spec: disk });
    for (const [answer, status, type] of [
      [await suite.call('GET', `${disks}?limit=0`), 400, 'invalid-request'],
      [await suite.call('GET', path, undefined, nobody), 401, 'unauthorized'],
      [await suite.call('GET', '/providers/seca.region/v1/regions', undefined, nobody), 401, 'unauthorized'],
      [await suite.put(pathOf('authorization', 'roles/seca.admin'), { spec: { permissions: [permission] } }), 403, 'forbidden'],
      [await suite.call('GET', `${path}-not`), 404, 'resource-not-found'],
      [await suite.call('DELETE', `${workspacesPath}/shop`), 409, 'resource-conflict'],
      [await suite.call('PUT', path, { spec: {}, labels: { a: 'b' } }, unlocked), 412, 'precondition-failed'],
      [await suite.put(used, { spec: { ...disk, sizeGB: 0 } }), 422, 'validation-error'],
    ] as const) {
      expect([answer.status, answer.type, answer.body]).toEqual([
        status,
        'application/problem+json',
        expect.objectContaining({
          type: `http://secapi.cloud/errors/${type}`,
          status,
          title: expect.any(String),
          instance: expect.any(String),
        }),
      ]);
    }
    // The one call that needs no token.
    expect((await suite.call('GET', '/.wellknown/secapi', undefined, nobody)).body).toMatchObject({ version: expect.any(String) });
    await suite.remove(used, path);
  });

  it('is the activity log of a workspace: who asked what, and what was answered', async () => {
    const path = `${disks}/logged`;
    await suite.create(path, { spec: disk });
    const logs = inWorkspace('activitylog', 'shop', 'activity-logs').replace('/v1/', '/v1beta1/');
    const { body, type } = await suite.call('GET', logs);
    expect(type).toBe('application/json');
    expect(body.metadata).toMatchObject({ provider: 'seca.activitylog/v1beta1', resource: 'activity-logs', verb: 'GET' });
    const mine = body.items.find(({ spec }) => JSON.stringify(spec).includes('block-storages/logged'));
    expect(mine).toMatchObject({
      metadata: { kind: 'activity-log', tenant: 'default', workspace: 'shop' },
      spec: { subject: expect.any(String), request: { verb: expect.stringMatching(/^put$/i) }, response: { code: 201 } },
    });
    await suite.remove(path);
  });
});

describe('the life of an instance as Terraform sees it', { timeout: 60_000 }, () => {
  it('plans nothing after a move, moves nothing when an old zone is said again, and is told the command for a new one', async () => {
    const boot = `${disks}/tf`;
    const path = inWorkspace('compute', 'shop', 'instances/tf');
    const migration = '/providers/virt8ra.migration/v1beta1/tenants/default/workspaces/shop/migrations/tf';
    await suite.create(boot, { spec: disk });
    const draft = { spec: instanceSpec(boot, { zone: 'any' }), labels: { by: 'terraform' } };
    await suite.create(path, draft);
    const before = await suite.until(path, ({ body }) => body.status.state === 'active');
    const placedAt = ({ body }: Wire): unknown => (body.status['placement'] as { site: string }).site;
    const from = placedAt(before);
    const to = from === 'alpha' ? 'beta' : 'alpha';

    expect((await suite.put(migration, { spec: { instanceRef: refTo(path), toSite: to, mode: 'cold' } })).status).toBe(201);
    await suite.until(migration, ({ body }) => body.status['phase'] === 'done');
    const after = await suite.until(path, (answer) => answer.body.status.state === 'active' && placedAt(answer) === to);

    // What the provider keeps in its state: nothing of it has changed, so that there is nothing to plan.
    const kept = ({ body }: Wire): unknown => {
      const { metadata, spec, labels, annotations, extensions, status } = body;
      const { ref, createdAt, resourceVersion, name, tenant, workspace, region } = metadata;
      return {
        ref,
        createdAt,
        resourceVersion,
        name,
        tenant,
        workspace,
        region,
        spec,
        labels,
        annotations,
        extensions,
        power: status['powerState'],
      };
    };
    expect(kept(after)).toEqual(kept(before));

    for (const action of ['start', 'stop', 'restart'])
      expect((await suite.call('POST', `${path}/${action}`, undefined, { 'if-unmodified-since': '9' })).status).toBe(412);
    const again = await suite.put(path, draft);
    expect([again.status, placedAt(again), again.body.metadata['resourceVersion']]).toEqual([200, to, 1]);
    const refused = await suite.put(path, { ...draft, spec: { ...draft.spec, zone: String(from) } });
    expect([refused.status, refused.body.sources]).toEqual([422, [{ pointer: '/spec/zone' }]]);
    expect(refused.body.detail).toContain('virt8ra migrate');
    expect(placedAt(await suite.call('GET', path))).toBe(to);

    const [disk1] = (await suite.call('GET', disks)).body.items;
    expect(disk1?.spec).toEqual(disk);
    await suite.remove(migration, path, boot);
  });
});
