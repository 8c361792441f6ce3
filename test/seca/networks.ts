import { expect } from 'vitest';
import { createDisk, instanceSpec, inWorkspace, withWorkspace, workspacesPath } from './foundations.js';
import { networkBounds, networkRefusals } from './network-refusals.js';
import {
  at,
  draftOf,
  fasterNetwork,
  make,
  makeStack,
  networkSpec,
  nicSpec,
  routesTo,
  ruleSpec,
  type Stack,
  subnetSpec,
} from './network-stack.js';
import type { Scenario } from './scenario.js';
import { type Draft, pathOf, refTo, type Suite } from './suite.js';

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
  lifeCycle(
    'Network.V1.NetworkLifeCycle',
    'nw-net',
    async (suite, workspace) => {
      const after = { ...networkSpec(), additionalCidrs: [{ ipv4: '10.2.0.0/16' }] };
      return { path: at(workspace, 'networks/lan'), before: networkSpec(), after: suite.profile === 'standard' ? after : fasterNetwork };
    },
    'changes the SKU of a network, which the specification forbids; here that is refused, and another part changes',
  ),
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
      const { gateway, routeTable, remove } = await makeStack(suite, workspace);
      if (suite.profile === 'standard') await suite.refusedCall('DELETE', gateway);
      else {
        await suite.remove(gateway);
        await suite.until(routeTable, ({ body }) => body.status.conditions[0]?.message?.includes('internet-gateways/out') === true);
        const { status } = (await suite.call('GET', routeTable)).body;
        expect(status).toMatchObject({ state: 'active', routes: [{ state: 'pending', conditions: [{ reason: 'DependencyMissing' }] }] });
        await suite.create(gateway);
        await suite.wentOn(routeTable);
      }
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
      const { network, subnet, routeTable, gateway, remove } = await makeStack(suite, workspace);
      for (const path of suite.profile === 'standard' ? [routeTable, network] : [network]) await suite.refusedCall('DELETE', path);
      const spec = nicSpec(subnet, { addresses: ['10.1.1.1'] });
      if (suite.profile === 'standard') await suite.refused(at(workspace, 'nics/web'), draftOf(spec), 422, '/spec/addresses/0');
      const ahead = async (): Promise<void> => {
        await suite.remove(gateway, routeTable, network);
        expect((await suite.call('GET', subnet)).status).toBe(404);
      };
      return {
        path: at(workspace, 'nics/web'),
        before: suite.profile === 'standard' ? nicSpec(subnet) : spec,
        after: nicSpec(subnet, { addresses: ['10.1.1.6'] }),
        done: suite.profile === 'standard' ? remove : ahead,
      };
    },
    'takes the first address of a subnet, which is its gateway, and deletes a route table and a network that a subnet is still in; here all three are refused, and the subnet goes first',
  ),
  lifeCycle(
    'Network.V1.RouteTableLifeCycle',
    'nw-routes',
    async (suite, workspace) => {
      const { network, gateway, remove } = await makeStack(suite, workspace);
      const other = await make(suite, at(workspace, 'internet-gateways/other'), {});
      const path = `${network}/route-tables/more`;
      const never = routesTo(inWorkspace('compute', workspace, 'instances/absent'));
      if (suite.profile === 'standard') await suite.refused(path, draftOf(never), 422, '/spec/routes/0/targetRef');
      const done = async (): Promise<void> => {
        await suite.remove(other);
        await remove();
      };
      return { path, before: routesTo(gateway), after: suite.profile === 'standard' ? routesTo(other) : never, done };
    },
    'leads a route to an instance that is never made; here that is refused, and it leads to another gateway',
  ),
];

/** The public IP and the instance that the NIC and the route table have named: both go on by themselves. */
async function bringsWhatIsAwaited(
  suite: Suite,
  workspace: string,
  of: { readonly stack: Stack; readonly nic: string; readonly door: string; readonly router: string; makeDoor(): Promise<string> },
): Promise<readonly string[]> {
  const { stack, nic, door, router, makeDoor } = of;
  await suite.waitsFor(nic, door);
  await makeDoor();
  await suite.wentOn(nic);
  await suite.waitsFor(stack.routeTable, router);
  const boot = await createDisk(suite, workspace, 'boot');
  await suite.create(router, { spec: instanceSpec(boot, { primaryNicRef: refTo(nic) }) });
  await suite.active(router);
  await suite.wentOn(stack.routeTable);
  expect((await suite.call('GET', stack.routeTable)).body.status).toMatchObject({ routes: [{ state: 'active' }] });
  return [router, boot];
}

export const networkScenarios: readonly Scenario[] = [
  {
    name: 'Network.V1.ProviderLifeCycle',
    differs:
      'names a public IP and an instance before they are made, changes the SKU of a network, and deletes a rule that its group names; here what is named is made first and goes last',
    async run(suite) {
      await withWorkspace(suite, 'nw-life', async (workspace) => {
        const stack = await makeStack(suite, workspace);
        const doorSpec = { version: 'IPv4', address: '52.93.126.9' };
        const door = at(workspace, 'public-ips/door');
        const makeDoor = async (): Promise<string> => await make(suite, door, doorSpec);
        if (suite.profile === 'standard') await makeDoor();
        const rule = await make(suite, at(workspace, 'security-group-rules/web'), ruleSpec);
        const group = await make(suite, at(workspace, 'security-groups/web'), { ruleRefs: [refTo(rule)] });
        if (suite.profile === 'standard') await suite.refusedCall('DELETE', rule);
        const publicIpRefs = [refTo(door)];
        const nic = await make(suite, at(workspace, 'nics/web'), nicSpec(stack.subnet, { publicIpRefs }));
        const router = inWorkspace('compute', workspace, 'instances/router');
        const ahead = suite.profile === 'conformance';
        for (const [path, spec] of [
          [stack.network, ahead ? fasterNetwork : networkSpec()],
          [stack.gateway, {}],
          [stack.routeTable, routesTo(ahead ? router : stack.gateway)],
          [stack.subnet, subnetSpec(stack.routeTable)],
          [rule, ruleSpec],
          [group, { ruleRefs: [refTo(rule)] }],
          [nic, nicSpec(stack.subnet, { publicIpRefs })],
        ] as const) {
          const draft: Draft = { spec, labels: { env: 'other' } };
          await suite.update(path, draft);
          await suite.active(path, draft);
        }
        const made = ahead ? await bringsWhatIsAwaited(suite, workspace, { stack, nic, door, router, makeDoor }) : [];
        await suite.update(door, { spec: doorSpec, labels: { env: 'other' } });
        await suite.active(door);
        const seen = await suite.call('GET', nic);
        expect(seen.body.status).toMatchObject({
          addresses: ['10.1.1.5'],
          macAddress: expect.stringMatching(/^([0-9a-f]{2}:){5}[0-9a-f]{2}$/),
        });
        expect((await suite.call('GET', door)).body.status['attachedTo']).toEqual(refTo(nic));
        await suite.remove(...made, ...(ahead ? [rule, group, nic] : [nic, group, rule]), door);
        await stack.remove();
      });
    },
  },
  {
    name: 'Network.V1.ProviderQueries',
    differs: 'makes subnets of one network with the same range; here each has its own, since ranges that overlap are refused',
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
        await two(`${network}/subnets`, [
          subnetSpec(routeTable, '10.1.8.0/24'),
          subnetSpec(routeTable, suite.profile === 'standard' ? '10.1.9.0/24' : '10.1.8.0/24'),
        ]);
        await two(at(workspace, 'networks'), [networkSpec('10.8.0.0/16'), networkSpec('10.9.0.0/16')]);
        await two(at(workspace, 'public-ips'), [{ version: 'IPv4' }, { version: 'IPv4' }]);
        await two(at(workspace, 'security-group-rules'), [ruleSpec, ruleSpec]);
        await two(at(workspace, 'security-groups'), [{ rules: [ruleSpec] }, { rules: [] }]);
        await two(at(workspace, 'nics'), [nicSpec(subnet), nicSpec(subnet, { addresses: ['0.0.0.0'] })]);
        if (suite.profile === 'conformance')
          await suite.waitsFor(`${network}/subnets/two`, '10.1.8.0/24 overlaps subnet one', ['creating']);
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
  ...networkBounds,
  ...networkRefusals,
];
