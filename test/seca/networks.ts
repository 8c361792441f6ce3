import { expect } from 'vitest';
import { inWorkspace, skus, withWorkspace, workspacesPath } from './foundations.js';
import { labels, type Scenario } from './scenario.js';
import { type Draft, pathOf, refTo, refusesEnvelope, refusesRegion, type Suite } from './suite.js';

export const at = (workspace: string, rest: string): string => inWorkspace('network', workspace, rest);
const draftOf = (spec: object): Draft => ({ spec, labels });
const networkSpec = (ipv4 = '10.1.0.0/16'): object => ({ cidr: { ipv4 }, skuRef: skus.network });
const routesTo = (target: string): object => ({ routes: [{ destinationCidrBlock: '0.0.0.0/0', targetRef: refTo(target) }] });
export const subnetSpec = (routeTable: string, ipv4 = '10.1.1.0/24'): object => ({
  cidr: { ipv4 },
  routeTableRef: refTo(routeTable),
  zone: 'alpha',
});
export const nicSpec = (subnet: string, more: object = {}): object => ({ addresses: ['10.1.1.5'], subnetRef: refTo(subnet), ...more });
const ruleSpec = { direction: 'ingress', version: 'IPv4', protocol: 'tcp', ports: { from: 80, to: 443 } } as const;

async function make(suite: Suite, path: string, spec: object): Promise<string> {
  await suite.create(path, draftOf(spec));
  await suite.active(path, draftOf(spec));
  return path;
}

export interface Stack {
  readonly network: string;
  readonly gateway: string;
  readonly routeTable: string;
  readonly subnet: string;
  remove(): Promise<void>;
}

/** Network, gateway, route table and subnet. */
export async function makeStack(suite: Suite, workspace: string, gateway: object = {}): Promise<Stack> {
  const network = await make(suite, at(workspace, 'networks/lan'), networkSpec());
  const gatewayPath = await make(suite, at(workspace, 'internet-gateways/out'), gateway);
  const routeTable = await make(suite, `${network}/route-tables/ways`, routesTo(gatewayPath));
  const subnet = await make(suite, `${network}/subnets/web`, subnetSpec(routeTable));
  return {
    network,
    gateway: gatewayPath,
    routeTable,
    subnet,
    remove: async () => await suite.remove(subnet, routeTable, gatewayPath, network),
  };
}

/** Create, read, update, read, delete of one resource in a workspace of its own; `prepare` makes what it needs and says where it goes. */
function lifeCycle(
  name: string,
  workspaceName: string,
  prepare: (suite: Suite, workspace: string) => Promise<{ path: string; before: object; after: object; done?: () => Promise<void> }>,
  differs?: string,
): Scenario {
  return {
    name,
    ...(differs === undefined ? {} : { differs }),
    run: async (suite) =>
      await withWorkspace(suite, workspaceName, async (workspace) => {
        const { path, before, after, done } = await prepare(suite, workspace);
        await make(suite, path, before);
        await suite.update(path, draftOf(after));
        await suite.active(path, draftOf(after));
        await suite.remove(path);
        await done?.();
      }),
  };
}

const lifeCycles: readonly Scenario[] = [
  lifeCycle('Network.V1.NetworkLifeCycle', 'nw-net', async (_suite, workspace) => ({
    path: at(workspace, 'networks/lan'),
    before: networkSpec(),
    after: { ...networkSpec(), additionalCidrs: [{ ipv4: '10.2.0.0/16' }] },
  })),
  lifeCycle('Network.V1.SubnetLifeCycle', 'nw-subnet', async (suite, workspace) => {
    const { network, routeTable, remove } = await makeStack(suite, workspace);
    const before = subnetSpec(routeTable, '10.1.2.0/24');
    return { path: `${network}/subnets/more`, before, after: { ...before, zone: 'beta' }, done: remove };
  }),
  lifeCycle('Network.V1.SecurityGroupLifeCycle', 'nw-group', async (_suite, workspace) => ({
    path: at(workspace, 'security-groups/web'),
    before: { rules: [{ direction: 'ingress' }] },
    after: { rules: [{ direction: 'egress' }] },
  })),
  lifeCycle('Network.V1.SecurityGroupRuleLifeCycle', 'nw-rule', async (_suite, workspace) => ({
    path: at(workspace, 'security-group-rules/web'),
    before: ruleSpec,
    after: { ...ruleSpec, direction: 'egress' },
  })),
  lifeCycle(
    'Network.V1.InternetGatewayLifeCycle',
    'nw-gateway',
    async (suite, workspace) => {
      const { gateway, remove } = await makeStack(suite, workspace);
      await suite.refusedCall('DELETE', gateway);
      return { path: at(workspace, 'internet-gateways/other'), before: {}, after: { egressOnly: true }, done: remove };
    },
    'deletes an internet gateway that a route leads to; here that is refused, and the route table goes first',
  ),
  lifeCycle('Network.V1.PublicIpLifeCycle', 'nw-ip', async (_suite, workspace) => ({
    path: at(workspace, 'public-ips/door'),
    before: { version: 'IPv4', address: '52.93.126.5' },
    after: { version: 'IPv4', address: '52.93.126.6' },
  })),
  lifeCycle(
    'Network.V1.NicLifeCycle',
    'nw-nic',
    async (suite, workspace) => {
      const { network, subnet, routeTable, remove } = await makeStack(suite, workspace);
      for (const path of [routeTable, network]) await suite.refusedCall('DELETE', path);
      return {
        path: at(workspace, 'nics/web'),
        before: nicSpec(subnet),
        after: nicSpec(subnet, { addresses: ['10.1.1.6'] }),
        done: remove,
      };
    },
    'deletes a route table and a network that a subnet is still in; here both are refused, and the subnet goes first',
  ),
  lifeCycle(
    'Network.V1.RouteTableLifeCycle',
    'nw-routes',
    async (suite, workspace) => {
      const { network, gateway, remove } = await makeStack(suite, workspace);
      const other = await make(suite, at(workspace, 'internet-gateways/other'), {});
      const path = `${network}/route-tables/more`;
      await suite.refused(path, draftOf(routesTo(inWorkspace('compute', workspace, 'instances/absent'))), 422, '/spec/routes/0/targetRef');
      const done = async (): Promise<void> => {
        await suite.remove(other);
        await remove();
      };
      return { path, before: routesTo(gateway), after: routesTo(other), done };
    },
    'leads a route to an instance that is never made, which Network.V1.RouteTableError forbids; here it leads to another gateway',
  ),
];

const bounded = (name: string, workspaceName: string, work: (suite: Suite, workspace: string) => Promise<void>): Scenario => ({
  name,
  run: async (suite) => await withWorkspace(suite, workspaceName, async (workspace) => await work(suite, workspace)),
});

/** Each change of a good specification is refused at its pointer. */
async function refusesEach(suite: Suite, collection: string, spec: object, wrong: readonly (readonly [object, string])[]): Promise<void> {
  await refusesEnvelope(suite, collection, spec);
  for (const [change, pointer] of wrong) await suite.refused(`${collection}/fine`, { spec: { ...spec, ...change } }, 422, pointer);
}

const wrongCidrs = [
  [{ cidr: { ipv4: '10.0.0/8' } }, '/spec/cidr/ipv4'],
  [{ cidr: { ipv4: '10.100.100.100/0000' } }, '/spec/cidr/ipv4'],
  [{ cidr: { ipv6: '::/' } }, '/spec/cidr/ipv6'],
  [{ cidr: { ipv6: `${'f'.repeat(40)}::/8` } }, '/spec/cidr/ipv6'],
] as const;

const bounds: readonly Scenario[] = [
  bounded('Network.V1.NetworkConstraintsValidation', 'nb-net', async (suite, workspace) => {
    const additionalCidrs = Array.from({ length: 33 }, (_, index) => ({ ipv4: `10.${index + 2}.0.0/16` }));
    await refusesEach(suite, at(workspace, 'networks'), networkSpec(), [...wrongCidrs, [{ additionalCidrs }, '/spec/additionalCidrs']]);
  }),
  bounded('Network.V1.SubnetConstraintsValidation', 'nb-subnet', async (suite, workspace) => {
    const { network, routeTable, remove } = await makeStack(suite, workspace);
    const spec = subnetSpec(routeTable, '10.1.2.0/24');
    await refusesEach(suite, `${network}/subnets`, spec, [...wrongCidrs, [{ zone: 'z'.repeat(33) }, '/spec/zone']]);
    await remove();
  }),
  bounded('Network.V1.InternetGatewayConstraintsValidation', 'nb-gateway', async (suite, workspace) => {
    await refusesEnvelope(suite, at(workspace, 'internet-gateways'), { egressOnly: true });
  }),
  bounded('Network.V1.PublicIpConstraintsValidation', 'nb-ip', async (suite, workspace) => {
    await refusesEach(suite, at(workspace, 'public-ips'), { version: 'IPv4' }, [
      [{ address: '1'.repeat(40) }, '/spec/address'],
      [{ version: 'IPv5' }, '/spec/version'],
    ]);
  }),
  bounded('Network.V1.NicConstraintsValidation', 'nb-nic', async (suite, workspace) => {
    const { subnet, remove } = await makeStack(suite, workspace);
    await refusesEach(suite, at(workspace, 'nics'), nicSpec(subnet), [
      [{ addresses: ['1'.repeat(40)] }, '/spec/addresses/0'],
      [{ addresses: [] }, '/spec/addresses'],
      [{ addresses: Array.from({ length: 33 }, (_, index) => `10.1.1.${index + 10}`) }, '/spec/addresses'],
      [{ publicIpRefs: Array.from({ length: 17 }, () => ({ resource: 'public-ips/x' })) }, '/spec/publicIpRefs'],
    ]);
    await remove();
  }),
  bounded('Network.V1.RouteTableConstraintsValidation', 'nb-routes', async (suite, workspace) => {
    const { network, gateway, remove } = await makeStack(suite, workspace);
    const route = { destinationCidrBlock: '0.0.0.0/0', targetRef: refTo(gateway) };
    await refusesEach(suite, `${network}/route-tables`, routesTo(gateway), [
      [{ routes: [] }, '/spec/routes'],
      [{ routes: Array.from({ length: 1001 }, () => route) }, '/spec/routes'],
      [{ routes: [{ ...route, destinationCidrBlock: '' }] }, '/spec/routes/0/destinationCidrBlock'],
      [{ routes: [{ ...route, destinationCidrBlock: '1'.repeat(44) }] }, '/spec/routes/0/destinationCidrBlock'],
    ]);
    await remove();
  }),
  bounded('Network.V1.SecurityGroupConstraintsValidation', 'nb-group', async (suite, workspace) => {
    await refusesEach(suite, at(workspace, 'security-groups'), { rules: [ruleSpec] }, [
      [{ rules: [{ direction: 'sideways' }] }, '/spec/rules/0/direction'],
      [{ rules: [{ ...ruleSpec, ports: {} }] }, '/spec/rules/0/ports'],
      [{ rules: Array.from({ length: 501 }, () => ruleSpec) }, '/spec/rules'],
    ]);
  }),
  bounded('Network.V1.SecurityGroupRuleConstraintsValidation', 'nb-rule', async (suite, workspace) => {
    const icmp = { direction: 'ingress', version: 'IPv4', protocol: 'icmp' };
    await refusesEach(suite, at(workspace, 'security-group-rules'), ruleSpec, [
      [{ direction: 'sideways' }, '/spec/direction'],
      [{ protocol: 'gre' }, '/spec/protocol'],
      [{ version: 'IPv5' }, '/spec/version'],
      // Clients leave zeros out: port 0 arrives as no port at all.
      [{ ports: {} }, '/spec/ports'],
      [{ ports: { from: 1, to: 65536 } }, '/spec/ports/to'],
      [{ ports: undefined, ...icmp, icmp: { type: 8, code: 6 } }, '/spec/icmp/code'],
      [{ ports: undefined, ...icmp, icmp: { type: 9, code: 0 } }, '/spec/icmp/type'],
    ]);
  }),
];

const refusals: readonly Scenario[] = [
  bounded('Network.V1.NetworkError', 'ne-net', async (suite, workspace) => {
    const path = at(workspace, 'networks/other');
    await refusesRegion(suite, path, networkSpec());
    await suite.refused(
      path,
      { spec: { cidr: { ipv4: '10.1.0.0/16' }, skuRef: refTo(pathOf('network', 'skus/absent')) } },
      422,
      '/spec/skuRef',
    );
    await suite.refused(at('absent', 'networks/other'), draftOf(networkSpec()), 404);
    const { network, remove } = await makeStack(suite, workspace);
    await suite.refusedCall('DELETE', network);
    await remove();
  }),
  bounded('Network.V1.SubnetError', 'ne-subnet', async (suite, workspace) => {
    const { network, routeTable, remove } = await makeStack(suite, workspace);
    const path = `${network}/subnets/more`;
    const spec = subnetSpec(routeTable, '10.1.2.0/24');
    await refusesRegion(suite, path, spec);
    await suite.refused(path, { spec: { ...spec, zone: 'nowhere' } }, 422, '/spec/zone');
    await suite.refused(at('absent', 'networks/lan/subnets/more'), { spec }, 404);
    await suite.refused(at(workspace, 'networks/absent/subnets/more'), { spec }, 404);
    await suite.refused(path, { spec: subnetSpec(`${routeTable}-absent`, '10.1.2.0/24') }, 422, '/spec/routeTableRef');
    await suite.refused(path, { spec: subnetSpec(routeTable, '192.168.0.0/24') }, 422, '/spec/cidr/ipv4');
    await remove();
  }),
  bounded('Network.V1.NicError', 'ne-nic', async (suite, workspace) => {
    const { subnet, remove } = await makeStack(suite, workspace);
    const path = at(workspace, 'nics/web');
    await refusesRegion(suite, path, nicSpec(subnet));
    await suite.refused(at('absent', 'nics/web'), draftOf(nicSpec(subnet)), 404);
    await suite.refused(path, draftOf(nicSpec(`${subnet}-absent`)), 422, '/spec/subnetRef');
    const publicIpRefs = [refTo(at(workspace, 'public-ips/absent'))];
    await suite.refused(path, draftOf(nicSpec(subnet, { publicIpRefs })), 422, '/spec/publicIpRefs/0');
    await remove();
  }),
  bounded('Network.V1.RouteTableError', 'ne-routes', async (suite, workspace) => {
    const { network, gateway, remove } = await makeStack(suite, workspace);
    const path = `${network}/route-tables/more`;
    await refusesRegion(suite, path, routesTo(gateway));
    await suite.refused(at('absent', 'networks/lan/route-tables/more'), draftOf(routesTo(gateway)), 404);
    await suite.refused(at(workspace, 'networks/absent/route-tables/more'), draftOf(routesTo(gateway)), 404);
    await suite.refused(path, draftOf(routesTo(`${gateway}-absent`)), 422, '/spec/routes/0/targetRef');
    await remove();
  }),
  bounded('Network.V1.PublicIpError', 'ne-ip', async (suite, workspace) => {
    const path = at(workspace, 'public-ips/door');
    await refusesRegion(suite, path, { version: 'IPv4' });
    await suite.refused(at('absent', 'public-ips/door'), draftOf({ version: 'IPv4' }), 404);
    await suite.refused(path, draftOf({ version: 'IPv5' }), 422, '/spec/version');
  }),
  bounded('Network.V1.InternetGatewayError', 'ne-gateway', async (suite, workspace) => {
    await refusesRegion(suite, at(workspace, 'internet-gateways/out'), {});
    await suite.refused(at('absent', 'internet-gateways/out'), draftOf({}), 404);
  }),
  bounded('Network.V1.SecurityGroupError', 'ne-group', async (suite, workspace) => {
    const path = at(workspace, 'security-groups/web');
    await refusesRegion(suite, path, { rules: [ruleSpec] });
    await suite.refused(at('absent', 'security-groups/web'), draftOf({ rules: [ruleSpec] }), 404);
    const ruleRefs = [refTo(at(workspace, 'security-group-rules/absent'))];
    await suite.refused(path, draftOf({ ruleRefs }), 422, '/spec/ruleRefs/0');
  }),
  bounded('Network.V1.SecurityGroupRuleError', 'ne-rule', async (suite, workspace) => {
    await refusesRegion(suite, at(workspace, 'security-group-rules/web'), ruleSpec);
    await suite.refused(at('absent', 'security-group-rules/web'), draftOf(ruleSpec), 404);
  }),
];

export const networkScenarios: readonly Scenario[] = [
  {
    name: 'Network.V1.ProviderLifeCycle',
    differs:
      'names a public IP and an instance before they are made, and deletes a rule that its group names; here what is named is made first and goes last',
    async run(suite) {
      await withWorkspace(suite, 'nw-life', async (workspace) => {
        const stack = await makeStack(suite, workspace);
        const door = await make(suite, at(workspace, 'public-ips/door'), { version: 'IPv4', address: '52.93.126.9' });
        const rule = await make(suite, at(workspace, 'security-group-rules/web'), ruleSpec);
        const group = await make(suite, at(workspace, 'security-groups/web'), { ruleRefs: [refTo(rule)] });
        await suite.refusedCall('DELETE', rule);
        const publicIpRefs = [refTo(door)];
        const nic = await make(suite, at(workspace, 'nics/web'), nicSpec(stack.subnet, { publicIpRefs }));
        for (const [path, spec] of [
          [stack.network, networkSpec()],
          [stack.gateway, {}],
          [stack.routeTable, routesTo(stack.gateway)],
          [stack.subnet, subnetSpec(stack.routeTable)],
          [door, { version: 'IPv4', address: '52.93.126.9' }],
          [rule, ruleSpec],
          [group, { ruleRefs: [refTo(rule)] }],
          [nic, nicSpec(stack.subnet, { publicIpRefs })],
        ] as const) {
          const draft: Draft = { spec, labels: { env: 'other' } };
          await suite.update(path, draft);
          await suite.active(path, draft);
        }
        const seen = await suite.call('GET', nic);
        expect(seen.body.status).toMatchObject({
          addresses: ['10.1.1.5'],
          macAddress: expect.stringMatching(/^([0-9a-f]{2}:){5}[0-9a-f]{2}$/),
        });
        expect((await suite.call('GET', door)).body.status['attachedTo']).toEqual(refTo(nic));
        await suite.remove(nic, group, rule, door);
        await stack.remove();
      });
    },
  },
  {
    name: 'Network.V1.ProviderQueries',
    async run(suite) {
      expect((await suite.call('GET', pathOf('network', 'skus'))).body.items.length).toBeGreaterThan(0);
      await withWorkspace(suite, 'nw-list', async (workspace) => {
        const { network, routeTable, gateway, subnet, remove } = await makeStack(suite, workspace);
        const made: string[] = [];
        const two = async (collection: string, specs: readonly [object, object]): Promise<void> => {
          const paths = [`${collection}/one`, `${collection}/two`];
          for (const [index, path] of paths.entries()) await suite.create(path, draftOf(specs[index] ?? {}));
          made.unshift(...paths);
        };
        await two(at(workspace, 'internet-gateways'), [{}, { egressOnly: true }]);
        await two(`${network}/route-tables`, [routesTo(gateway), routesTo(gateway)]);
        await two(`${network}/subnets`, [subnetSpec(routeTable, '10.1.8.0/24'), subnetSpec(routeTable, '10.1.9.0/24')]);
        await two(at(workspace, 'networks'), [networkSpec('10.8.0.0/16'), networkSpec('10.9.0.0/16')]);
        await two(at(workspace, 'public-ips'), [{ version: 'IPv4' }, { version: 'IPv4' }]);
        await two(at(workspace, 'security-group-rules'), [ruleSpec, ruleSpec]);
        await two(at(workspace, 'security-groups'), [{ rules: [ruleSpec] }, { rules: [] }]);
        await two(at(workspace, 'nics'), [nicSpec(subnet), nicSpec(subnet, { addresses: ['0.0.0.0'] })]);
        for (const kind of ['public-ips', 'security-group-rules', 'security-groups', 'nics'])
          await suite.listed(at(workspace, kind), ['one', 'two']);
        await suite.listed(at(workspace, 'internet-gateways'), ['one', 'out', 'two']);
        await suite.listed(at(workspace, 'networks'), ['lan', 'one', 'two']);
        await suite.listed(`${network}/subnets`, ['one', 'two', 'web']);
        await suite.listed(`${network}/route-tables`, ['one', 'two', 'ways']);
        await suite.remove(...made);
        await remove();
        expect((await suite.call('GET', `${workspacesPath}/${workspace}`)).body.status['resourceCount']).toBe(0);
      });
    },
  },
  ...lifeCycles,
  ...bounds,
  ...refusals,
];
