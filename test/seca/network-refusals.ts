import { withWorkspace } from './foundations.js';
import { at, draftOf, make, makeStack, networkSpec, nicSpec, routesTo, ruleSpec, subnetSpec } from './network-stack.js';
import type { Scenario } from './scenario.js';
import { pathOf, refTo, refusesEnvelope, refusesRegion, type Suite } from './suite.js';

const bounded = (
  name: string,
  workspaceName: string,
  work: (suite: Suite, workspace: string) => Promise<void>,
  contradicts?: string,
): Scenario => ({
  name,
  ...(contradicts === undefined ? {} : { contradicts }),
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

export const networkBounds: readonly Scenario[] = [
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

export const networkRefusals: readonly Scenario[] = [
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
  bounded(
    'Network.V1.NicError',
    'ne-nic',
    async (suite, workspace) => {
      const { subnet, remove } = await makeStack(suite, workspace);
      const path = at(workspace, 'nics/web');
      await refusesRegion(suite, path, nicSpec(subnet));
      await suite.refused(at('absent', 'nics/web'), draftOf(nicSpec(subnet)), 404);
      await suite.refused(path, draftOf(nicSpec(`${subnet}-absent`)), 422, '/spec/subnetRef');
      const publicIpRefs = [refTo(at(workspace, 'public-ips/absent'))];
      const ahead = nicSpec(subnet, { publicIpRefs });
      if (suite.profile === 'standard') await suite.refused(path, draftOf(ahead), 422, '/spec/publicIpRefs/0');
      else await suite.remove(await make(suite, path, ahead));
      await remove();
    },
    'refuses a public IP that is not there, which Network.V1.ProviderLifeCycle names before it is made',
  ),
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
