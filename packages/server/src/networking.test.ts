import { type AgentFeature, agentFeatures, type DesiredFilter, type DesiredNic } from '@virt8ra/contract';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { SimulatedAgent } from './fleet/testing/simulated-agent.js';
import { type Answer, type ControlPlane, startControlPlane } from './testing/control-plane.js';

const inWorkspace = (provider: string, version: string, rest: string): string =>
  `/providers/${provider}/${version}/tenants/default/workspaces/shop/${rest}`;
const instances = inWorkspace('seca.compute', 'v1', 'instances');
const disks = inWorkspace('seca.storage', 'v1', 'block-storages');
const seca = (rest: string): string => inWorkspace('seca.network', 'v1', rest);
const migrations = inWorkspace('virt8ra.migration', 'v1beta1', 'migrations');

interface Seen {
  readonly status?: Record<string, unknown> & {
    readonly state?: string;
    readonly phase?: string;
    readonly activity?: { readonly value: string };
    readonly placement?: { readonly site: string };
    readonly conditions: readonly { readonly state: string; readonly reason?: string; readonly message?: string }[];
  };
}
const seen = ({ body }: Answer): Seen => body as Seen;
const active = (answer: Answer): boolean => seen(answer).status?.state === 'active';
const gone = ({ status }: Answer): boolean => status === 404;

let plane: ControlPlane;
let alpha: SimulatedAgent;
/** What alpha says it can do, at its next greeting. */
const alphaCan: AgentFeature[] = [...agentFeatures];
let beta: SimulatedAgent;
beforeAll(async () => {
  plane = await startControlPlane();
  alpha = await plane.addSite('alpha', { publicAddresses: ['203.0.113.0/29'], features: alphaCan });
  beta = await plane.addSite('beta');
  await plane.addSite('plain', { features: [] });
}, 120_000);
afterAll(async () => await plane.stop(), 60_000);

async function put(path: string, spec: unknown, extensions?: Record<string, string>): Promise<Answer> {
  const answer = await plane.call('PUT', path, { spec, ...(extensions === undefined ? {} : { extensions }) });
  expect(answer, `PUT ${path}`).toMatchObject({ status: expect.toSatisfy((status: number) => status === 201 || status === 200) });
  return answer;
}
async function remove(path: string): Promise<void> {
  expect((await plane.call('DELETE', path)).status, path).toBe(202);
  await plane.until(path, gone);
}
const filtersOf = (agent: SimulatedAgent): readonly DesiredFilter[] => agent.desired.filters ?? [];
const nicsOf = (agent: SimulatedAgent): readonly DesiredNic[] => agent.desired.instances.flatMap(({ nics }) => nics);
const statusOf = async (path: string): Promise<NonNullable<Seen['status']>> => {
  const { status } = seen(await plane.call('GET', path));
  if (status === undefined) throw new Error(`${path} has no status`);
  return status;
};
const putInstance = async (name: string, zone: string, rest: object = {}): Promise<void> => {
  await put(`${disks}/${name}`, { sizeGB: 1, skuRef: 'skus/rd100' });
  await put(
    `${instances}/${name}`,
    { zone, skuRef: 'skus/seca.xs', bootVolume: { deviceRef: `block-storages/${name}` }, primaryNicRef: `nics/${name}`, ...rest },
    { 'virt8ra.power': 'on' },
  );
};

describe('networking of instances', { timeout: 90_000 }, () => {
  it('takes everything in the order in which it refers to each other', async () => {
    await put('/providers/seca.workspace/v1/tenants/default/workspaces/shop', {});
    await put(seca('networks/lan'), { cidr: { ipv4: '10.40.0.0/16' }, skuRef: 'skus/n1k' });
    await put(seca('internet-gateways/out'), {});
    await put(seca('networks/lan/route-tables/ways'), {
      routes: [{ destinationCidrBlock: '0.0.0.0/0', targetRef: { resource: 'internet-gateways/out' } }],
    });
    await put(seca('networks/lan/subnets/web'), {
      cidr: { ipv4: '10.40.1.0/24' },
      routeTableRef: { resource: 'route-tables/ways' },
      zone: '',
    });
    await put(seca('security-groups/clients'), { rules: [{ direction: 'egress' }] });
    await put(seca('security-group-rules/http'), {
      direction: 'ingress',
      protocol: 'tcp',
      ports: { list: [80] },
      sourceRef: [{ resource: 'security-groups/clients' }],
    });
    await put(seca('security-groups/servers'), { ruleRefs: [{ resource: 'security-group-rules/http' }] });
    const ip = await put(seca('public-ips/door'), { version: 'IPv4' });
    expect(ip.body).toMatchObject({
      metadata: { kind: 'public-ip', resource: 'public-ips/door' },
      status: { state: 'active', ipAddress: '203.0.113.0', site: 'alpha' },
    });
    await put(seca('nics/web'), {
      addresses: ['0.0.0.0'],
      subnetRef: { resource: 'networks/lan/subnets/web' },
      securityGroupRefs: [{ resource: 'security-groups/servers' }],
      publicIpRefs: [{ resource: 'public-ips/door' }],
    });
    await put(seca('nics/client'), { addresses: ['0.0.0.0'], subnetRef: 'networks/lan/subnets/web' });
    const table = await plane.call('GET', seca('networks/lan/route-tables/ways'));
    expect(table.body).toMatchObject({
      metadata: { kind: 'routing-table', resource: 'networks/lan/route-tables/ways', network: 'lan' },
      status: { routes: [{ state: 'active' }] },
    });
  });

  it('places an instance where its public IP is, and asks its host for all of it before it starts', async () => {
    expect(
      await plane.call('PUT', `${instances}/web`, {
        spec: { zone: 'beta', skuRef: 'skus/seca.xs', bootVolume: { deviceRef: 'block-storages/none' }, primaryNicRef: 'nics/web' },
      }),
    ).toMatchObject({ status: 422 });
    await put(`${disks}/web`, { sizeGB: 1, skuRef: 'skus/rd100' });
    expect(
      await plane.call('PUT', `${instances}/web`, {
        spec: { zone: 'beta', skuRef: 'skus/seca.xs', bootVolume: { deviceRef: 'block-storages/web' }, primaryNicRef: 'nics/web' },
      }),
    ).toMatchObject({ status: 409, body: { detail: expect.stringContaining('public IP door is at alpha; use zone alpha or any') } });

    await putInstance('web', 'any');
    await plane.until(`${instances}/web`, (answer) => active(answer) && seen(answer).status?.activity?.value === 'running');

    expect((await statusOf(`${instances}/web`)).placement?.site).toBe('alpha');
    const [filter] = filtersOf(alpha).filter(({ rules }) => rules.length > 0);
    expect(filter).toMatchObject({
      members: ['10.40.1.2'],
      rules: [
        { direction: 'ingress', protocol: 'tcp', ports: [{ from: 80, to: 80 }], peers: { cidrs: [], filters: [expect.any(String)] } },
      ],
    });
    expect(nicsOf(alpha)).toMatchObject([
      {
        filters: [filter?.key],
        publicAddresses: [{ address: '203.0.113.0', to: '10.40.1.2' }],
        rate: { megabitsPerSecond: 1000, packetsPerSecond: 100_000 },
        nameservers: ['10.40.1.1'],
      },
    ]);
    expect(alpha.desired.networks).toMatchObject([
      {
        routes: [{ source: '10.40.1.0/24', destination: '0.0.0.0/0', via: { type: 'internet' } }],
        dhcp: true,
        dns: { domain: 'lan.internal', upstreams: [], hosts: [{ name: 'web', addresses: ['10.40.1.2'] }] },
      },
    ]);
    expect((await statusOf(seca('nics/web')))['publicIpRefs']).toMatchObject([{ resource: expect.stringMatching(/public-ips\/door$/) }]);
    expect((await statusOf(seca('public-ips/door')))['attachedTo']).toMatchObject({ resource: expect.stringMatching(/nics\/web$/) });
  });

  it('tells a changed rule to its hosts, each of which sees its filters change once', async () => {
    await plane.until(seca('security-groups/servers'), active);
    const versions = new Set<string>();
    const note = () => versions.add(JSON.stringify(filtersOf(alpha)));
    note();
    await put(seca('security-group-rules/http'), {
      direction: 'ingress',
      protocol: 'tcp',
      ports: { list: [80], from: 8000, to: 8010 },
      sourceRef: [{ resource: 'security-groups/clients' }],
    });
    await alpha.until('the new ports', () => note() && filtersOf(alpha).some(({ rules }) => rules[0]?.ports?.length === 2));
    await plane.until(seca('security-groups/servers'), active);
    note();
    expect(versions.size).toBe(2);
  });

  it('lets a client in as soon as its NIC is of the group, and knows it by name', async () => {
    await put(seca('nics/client'), {
      addresses: ['0.0.0.0'],
      subnetRef: 'networks/lan/subnets/web',
      securityGroupRefs: ['security-groups/clients'],
    });
    await alpha.until('the member', () => filtersOf(alpha).some(({ members }) => members.includes('10.40.1.3')));
    await putInstance('client', 'beta');
    await plane.until(`${instances}/client`, active);
    await alpha.until('its name', () => alpha.desired.networks[0]?.dns?.hosts.some(({ name }) => name === 'client'));
    const own = filtersOf(beta).find(({ members }) => members.includes('10.40.1.3'));
    expect(own).toMatchObject({ rules: [{ direction: 'egress' }] });
    expect(nicsOf(beta)).toMatchObject([{ filters: [own?.key] }]);
  });

  it('tells the gateways of a network’s hosts who is where as soon as it has two subnets', async () => {
    expect(alpha.desired.networks[0]?.neighbours).toBeUndefined();
    await put(seca('networks/lan/subnets/second'), { cidr: { ipv4: '10.40.2.0/24' } });
    for (const agent of [alpha, beta]) {
      const [network] = await agent.until('both NICs', () => agent.desired.networks[0]?.neighbours?.length === 2 && agent.desired.networks);
      expect(network?.neighbours).toEqual(
        ['10.40.1.2', '10.40.1.3'].map((address) => ({ address, mac: expect.stringMatching(/^02(:[0-9a-f]{2}){5}$/) })),
      );
    }
    await remove(seca('networks/lan/subnets/second'));
    await alpha.until('one subnet', () => alpha.desired.networks[0]?.neighbours === undefined);
  });

  it('shows on what was put that its host cannot serve it any more, how to mend it, and that it was mended', async () => {
    const put = ['networks/lan/route-tables/ways', 'public-ips/door', 'nics/web'].map(seca);
    alphaCan.splice(0, alphaCan.length, ...agentFeatures.filter((each) => each !== 'routes' && each !== 'public-addresses'));
    alpha.cut();
    const refusal = (answer: Answer): string | undefined => {
      const [newest] = seen(answer).status?.conditions ?? [];
      return newest?.state === 'error' && newest.reason === 'Refused' ? newest.message : undefined;
    };
    const [table, ip, card] = await Promise.all(put.map(async (path) => await plane.until(path, refusal, 40_000)));
    expect(table).toMatch(/^host alpha-1 cannot route out of networks\. Move the instances .* or run the agent there as root/);
    expect(ip).toMatch(
      /^instance web is on host alpha-1, which cannot lead public IPs to instances\. Move it .* or run the agent there as root/,
    );
    expect(card).toBe(ip);
    alphaCan.splice(0, alphaCan.length, ...agentFeatures);
    alpha.cut();
    await Promise.all(put.map(async (path) => await plane.until(path, active, 40_000)));
  });

  it('shows a group as changing while a host of it is away', async () => {
    alpha.unplug();
    await put(seca('security-group-rules/http'), { direction: 'ingress', protocol: 'tcp', ports: { list: [443] } });
    const waiting = await plane.until(
      seca('security-groups/servers'),
      (answer) => seen(answer).status?.state === 'updating' && seen(answer).status,
    );
    expect(waiting['rules']).toMatchObject([{ state: 'updating' }]);
    await alpha.plug();
    await plane.until(seca('security-groups/servers'), active, 40_000);
    expect(filtersOf(alpha)).toMatchObject([{ rules: [{ ports: [{ from: 443, to: 443 }] }] }]);
  });

  it('takes a NIC out of its groups at its host first, and the group from the host then', async () => {
    const spec = { addresses: ['0.0.0.0'], subnetRef: 'networks/lan/subnets/web' };
    await put(seca('nics/client'), spec);
    await beta.until('the NIC is out of it', () => nicsOf(beta).every(({ filters }) => filters === undefined));
    await beta.until('the group is gone', () => filtersOf(beta).length === 0 && beta.all('filter').length === 0);
    await put(`${instances}/client`, { ...(await clientSpec()), securityGroupRef: 'security-groups/clients' }, { 'virt8ra.power': 'on' });
    await beta.until('its instance’s group holds for it', () => nicsOf(beta).every(({ filters }) => filters?.length === 1));
    expect(filtersOf(beta)).toMatchObject([{ members: ['10.40.1.3'] }]);
  });
  const clientSpec = async (): Promise<object> => (await plane.call('GET', `${instances}/client`)).body?.['spec' as never] ?? {};

  it('refuses a move that would lose a public IP, and says so of one that may', async () => {
    const spec = { instanceRef: 'instances/web', toSite: 'beta', mode: 'warm' };
    expect(await plane.call('PUT', `${migrations}/away`, { spec })).toMatchObject({
      status: 409,
      body: {
        detail: expect.stringMatching(/would lose public IP door \(203\.0\.113\.0\), which stays at alpha/),
        sources: [{ pointer: '/spec/losePublicIps' }],
      },
    });
    const made = await put(`${migrations}/away`, { ...spec, losePublicIps: true });
    expect(JSON.stringify(made.body)).toContain('public IP door (203.0.113.0) will not lead to it any more');
    const move = await plane.until(
      `${migrations}/away`,
      (answer) => (['done', 'returned', 'failed'].includes(seen(answer).status?.phase ?? '') ? seen(answer) : false),
      60_000,
    );
    expect(move.status).toMatchObject({ phase: 'done' });

    const servers = filtersOf(beta).find(({ members }) => members.includes('10.40.1.2'));
    expect(servers).toMatchObject({ rules: [{ ports: [{ from: 443, to: 443 }] }] });
    const moved = nicsOf(beta).find(({ addresses }) => addresses.includes('10.40.1.2/24'));
    expect(moved).toMatchObject({ filters: [servers?.key] });
    expect(moved).not.toHaveProperty('publicAddresses');
    expect((await statusOf(seca('nics/web')))['publicIpRefs']).toEqual([]);
    await alpha.until('nothing is left there', () => alpha.all('filter').length === 0 && alpha.all('network').length === 0);
    expect(plane.hosts.violations).toEqual([]);
  });

  it('gives no two sites the same public addresses, and takes none away that is held', async () => {
    const site = (name: string): string => `/providers/virt8ra.topology/v1beta1/sites/${name}`;
    const ask = async (name: string, publicAddresses: readonly string[]): Promise<Answer> =>
      await plane.call('PUT', site(name), { spec: { accountRef: 'accounts/test', country: 'PL', tier: 'edge', publicAddresses } });
    const refusals: readonly (readonly [string, readonly string[], number, string, RegExp])[] = [
      ['beta', ['203.0.113.6'], 409, '/spec/publicAddresses/0', /overlaps the public addresses of site alpha/],
      ['beta', ['192.0.2.0/24', '192.0.2.9'], 422, '/spec/publicAddresses/1', /overlaps another range/],
      ['beta', ['127.0.0.1'], 422, '/spec/publicAddresses/0', /nobody can be reached at/],
      ['beta', ['anywhere'], 422, '/spec/publicAddresses/0', /neither an address nor a range/],
      ['alpha', ['203.0.113.1'], 409, '/spec/publicAddresses', /203\.0\.113\.0 is held by public IP .*door/],
    ];
    for (const [name, addresses, status, pointer, detail] of refusals) {
      expect(await ask(name, addresses)).toMatchObject({ status, body: { detail: expect.stringMatching(detail), sources: [{ pointer }] } });
    }
    expect(await statusOf(site('alpha'))).toMatchObject({ publicAddressesTaken: 1 });
    expect((await ask('alpha', ['203.0.113.0/28'])).status).toBe(200);
  });

  it('does not place an instance of a group on a host that cannot filter, nor makes anything there', async () => {
    await put(seca('nics/strict'), {
      addresses: ['0.0.0.0'],
      subnetRef: 'networks/lan/subnets/web',
      securityGroupRefs: ['security-groups/clients'],
    });
    await putInstance('strict', 'plain');
    const refused = await plane.until(
      `${instances}/strict`,
      (answer) => seen(answer).status?.conditions[0]?.reason === 'NothingFits' && seen(answer).status,
    );
    expect(refused.conditions[0]).toMatchObject({ state: 'pending', message: expect.stringContaining('cannot filter by security groups') });
    const { body } = await plane.call('DELETE', '/providers/virt8ra.topology/v1beta1/sites/plain');
    expect(JSON.stringify(body)).toContain('still has host');
    await remove(`${instances}/strict`);
  });

  it('refuses to put what runs on a host that cannot filter into a group, and changes nothing', async () => {
    const lone = { addresses: ['0.0.0.0'], subnetRef: 'networks/island/subnets/all' };
    await put(seca('networks/island'), { cidr: { ipv4: '10.41.0.0/16' }, skuRef: 'skus/n1k' });
    await put(seca('networks/island/subnets/all'), { cidr: { ipv4: '10.41.1.0/24' } });
    await put(seca('nics/lone'), lone);
    await putInstance('lone', 'plain');
    await plane.until(`${instances}/lone`, active);
    const { spec } = (await plane.call('GET', `${instances}/lone`)).body as { readonly spec: object };
    for (const [path, changed, pointer] of [
      [seca('nics/lone'), { ...lone, securityGroupRefs: ['security-groups/clients'] }, '/spec/securityGroupRefs'],
      [`${instances}/lone`, { ...spec, securityGroupRef: 'security-groups/clients' }, '/spec/securityGroupRef'],
    ] as const) {
      expect(await plane.call('PUT', path, { spec: changed, extensions: { 'virt8ra.power': 'on' } })).toMatchObject({
        status: 409,
        body: {
          detail: expect.stringMatching(/instance lone is on host .*, which cannot filter by security groups/),
          sources: [{ pointer }],
        },
      });
    }
    expect(active(await plane.call('GET', `${instances}/lone`))).toBe(true);

    // The same of a way out and of a public IP.
    await put(seca('networks/island/route-tables/ways'), {
      routes: [{ destinationCidrBlock: '0.0.0.0/0', targetRef: 'internet-gateways/out' }],
    });
    const routed = { cidr: { ipv4: '10.41.1.0/24' }, routeTableRef: 'route-tables/ways' };
    expect(await plane.call('PUT', seca('networks/island/subnets/all'), { spec: routed })).toMatchObject({
      status: 409,
      body: {
        detail: expect.stringMatching(
          /network island is on a host that cannot serve it; nothing was changed: host .* cannot route out of networks\. Move/,
        ),
        sources: [{ pointer: '/spec/routeTableRef' }],
      },
    });
    await remove(seca('networks/island/route-tables/ways'));
    for (const path of [`${instances}/lone`, seca('nics/lone'), seca('networks/island/subnets/all'), seca('networks/island')])
      await remove(path);
  });

  it('keeps what is used and lets all of it go in the other order, leaving nothing behind', async () => {
    for (const path of [
      'security-groups/servers',
      'security-group-rules/http',
      'networks/lan/route-tables/ways',
      'internet-gateways/out',
      'public-ips/door',
      'networks/lan',
    ]) {
      expect((await plane.call('DELETE', seca(path))).status, path).toBe(409);
    }
    expect((await plane.call('DELETE', '/providers/virt8ra.topology/v1beta1/sites/alpha')).status).toBe(409);
    const order = [
      'nics/web',
      'nics/client',
      'nics/strict',
      'public-ips/door',
      'security-groups/servers',
      'security-group-rules/http',
      'security-groups/clients',
    ];
    for (const name of ['web', 'client']) await remove(`${instances}/${name}`);
    for (const path of [...order, 'networks/lan/subnets/web', 'networks/lan/route-tables/ways', 'internet-gateways/out', 'networks/lan'])
      await remove(seca(path));
    for (const agent of [alpha, beta]) {
      await agent.until('nothing is left', () => agent.all('filter').length === 0 && agent.all('network').length === 0);
      expect(filtersOf(agent)).toEqual([]);
    }
  });
});
