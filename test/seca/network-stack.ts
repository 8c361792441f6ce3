import { inWorkspace, skus } from './foundations.js';
import { labels } from './scenario.js';
import { type Draft, pathOf, refTo, type Suite } from './suite.js';

export const at = (workspace: string, rest: string): string => inWorkspace('network', workspace, rest);
export const draftOf = (spec: object): Draft => ({ spec, labels });
export const networkSpec = (ipv4 = '10.1.0.0/16'): object => ({ cidr: { ipv4 }, skuRef: skus.network });
export const routesTo = (target: string): object => ({ routes: [{ destinationCidrBlock: '0.0.0.0/0', targetRef: refTo(target) }] });
export const subnetSpec = (routeTable: string, ipv4 = '10.1.1.0/24'): object => ({
  cidr: { ipv4 },
  routeTableRef: refTo(routeTable),
  zone: 'alpha',
});
export const nicSpec = (subnet: string, more: object = {}): object => ({ addresses: ['10.1.1.5'], subnetRef: refTo(subnet), ...more });
export const ruleSpec = { direction: 'ingress', version: 'IPv4', protocol: 'tcp', ports: { from: 80, to: 443 } } as const;

export const fasterNetwork = { ...networkSpec(), skuRef: refTo(pathOf('network', 'skus/n5k')) };

export async function make(suite: Suite, path: string, spec: object): Promise<string> {
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
