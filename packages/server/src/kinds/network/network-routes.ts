import { type Id, instance, internetGateway, nic, type RouteTableSpec, type SubnetSpec } from '@virt8ra/contract';
import type { NetworkRoute } from '@virt8ra/driver';
import type { StoreReader } from '../../resources/store.js';
import type { StoredResource } from '../../resources/stored-resource.js';
import { formatRange, type IpRange, parseAddress, rangesOf } from './cidr.js';
import { rangeFromText } from './merge-ranges.js';
import { networkPointer } from './network-pointer.js';

/** Under this pointer a subnet refers to its route table. */
export const routeTablePointer = '/spec/routeTableRef';

/** The routes of all subnets of a network, as its hosts are asked for them, in order. A route whose target has no address there now is none. */
export async function networkRoutes(
  reader: StoreReader,
  networkUid: Id<'resource'>,
  subnets: readonly StoredResource<SubnetSpec>[],
): Promise<readonly NetworkRoute[]> {
  const tables = new Map<Id<'resource'>, readonly TableRoute[]>();
  const routes: NetworkRoute[] = [];
  for (const { uid, spec } of subnets) {
    const tableUid = (await reader.referencesOf(uid)).find(({ pointer }) => pointer === routeTablePointer)?.uid;
    if (tableUid === undefined) continue;
    const table = tables.get(tableUid) ?? (await routesOfTable(reader, tableUid, networkUid));
    tables.set(tableUid, table);
    for (const source of rangesOf(spec.cidr, '/spec/cidr')) {
      for (const { destination, to } of table) {
        if (destination.family === source.family && to !== undefined)
          routes.push({ source: formatRange(source), destination: formatRange(destination), via: to });
      }
    }
  }
  return routes;
}

interface TableRoute {
  readonly destination: IpRange;
  /** Undefined: it leads nowhere now. */
  readonly to: NetworkRoute['via'] | undefined;
}

/** In the order of the specification. */
export async function routesOfTable(
  reader: StoreReader,
  tableUid: Id<'resource'>,
  networkUid: Id<'resource'>,
): Promise<readonly TableRoute[]> {
  const table = await reader.getByUid<RouteTableSpec>(tableUid);
  if (table === undefined) return [];
  const references = await reader.referencesOf(tableUid);
  const targets = new Map((await reader.getManyByUid(references.map(({ uid }) => uid))).map((target) => [target.uid, target]));
  const byPointer = new Map(references.map(({ pointer, uid }) => [pointer, targets.get(uid)]));
  const found: TableRoute[] = [];
  for (const [index, { destinationCidrBlock }] of table.spec.routes.entries()) {
    const destination = rangeFromText(destinationCidrBlock, `/spec/routes/${index}/destinationCidrBlock`);
    const target = byPointer.get(`/spec/routes/${index}/targetRef`);
    if (destination === undefined) continue;
    found.push({ destination, to: target === undefined ? undefined : await nextHop(reader, target, networkUid, destination.family) });
  }
  return found;
}

/** Where a route to this target leads for one family; undefined where the target has no address of that family in the network. */
export async function nextHop(
  reader: StoreReader,
  target: StoredResource,
  networkUid: Id<'resource'>,
  family: 4 | 6,
): Promise<NetworkRoute['via'] | undefined> {
  if (target.kind === internetGateway.kind) return { type: 'internet' };
  const nics = target.kind === nic.kind ? [target] : await nicsOf(reader, target);
  for (const { uid, status } of nics) {
    const inNetwork = (await reader.referencesOf(uid)).some((each) => each.pointer === networkPointer && each.uid === networkUid);
    const { addresses = [] } = status as { readonly addresses?: readonly string[] };
    const address = addresses.find((text) => parseAddress(text)?.family === family);
    if (inNetwork && address !== undefined) return { type: 'address', address };
  }
  return undefined;
}

/** Primary NIC first. */
async function nicsOf(reader: StoreReader, target: StoredResource): Promise<readonly StoredResource[]> {
  if (target.kind !== instance.kind) return [];
  const references = await reader.referencesOf(target.uid);
  const primary = references.filter(({ pointer }) => pointer === '/spec/primaryNicRef');
  const others = references.filter(({ pointer }) => pointer.startsWith('/spec/additionalNicRefs/'));
  return await reader.getManyByUid([...primary, ...others].map(({ uid }) => uid));
}

/** What hosts must be able to do for the routes of a table. */
export async function routesNeed(
  reader: StoreReader,
  tableUid: Id<'resource'>,
  networkUid: Id<'resource'>,
): Promise<readonly ('ipv6-routes' | 'routes')[]> {
  const routes = (await routesOfTable(reader, tableUid, networkUid)).filter(({ to }) => to !== undefined);
  return [
    ...(routes.length > 0 ? (['routes'] as const) : []),
    ...(routes.some(({ destination, to }) => destination.family === 6 && to?.type === 'internet') ? (['ipv6-routes'] as const) : []),
  ];
}
