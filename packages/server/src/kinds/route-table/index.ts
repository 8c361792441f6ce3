/** Route table: a record. It counts for the subnets that name it, on every host of their network. */
import {
  type Address,
  type Condition,
  type Id,
  instance,
  internetGateway,
  type NetworkSpec,
  network,
  nic,
  Problem,
  type Reference,
  type RouteTableSpec,
  routeTable,
  type State,
  subnet,
} from '@virt8ra/contract';
import type { HostNetworking } from '@virt8ra/driver';
import type { StoreReader, StoreTransaction } from '../../resources/store.js';
import type { ResolvedReference, StoredResource } from '../../resources/stored-resource.js';
import type { Admission, KindBehaviour, PutRequest } from '../behaviour.js';
import type { KindContext } from '../context.js';
import { assertNetworkServed } from '../host-networking.js';
import {
  formatRange,
  type IpRange,
  networkRanges,
  nextHop,
  overlap,
  rangeFromText,
  routesChanged,
  routesOfTable,
} from '../network/index.js';
import { namesOfUsers } from '../users.js';

interface RouteTableStatus {
  routes?: readonly { readonly state: State; readonly conditions: readonly Condition[] }[];
}

type RouteTable = StoredResource<RouteTableSpec, RouteTableStatus>;

const targetKinds = [internetGateway, instance, nic] as const;

export function createRouteTableBehaviour(context: Pick<KindContext, 'sites'>): KindBehaviour<RouteTableSpec, RouteTableStatus> {
  return {
    kind: routeTable,
    admitPut: async (tx, request) => await admitRouteTable(context, tx, request),
    async admitDelete(tx, { uid, address }) {
      const users = await tx.usersOf(uid);
      if (users.length > 0)
        throw new Problem('conflict', `route table ${address.name} is used by ${namesOfUsers(users)}; give them another one or none first`);
      await tellRouters(tx, await tx.referencesOf(uid));
    },
    present: async (reader, resources) => await Promise.all(resources.map(async (each) => ({ routes: await shownRoutes(reader, each) }))),
  };
}

async function admitRouteTable(
  context: Pick<KindContext, 'sites'>,
  tx: StoreTransaction,
  { address, next, previous }: PutRequest<RouteTableSpec, RouteTableStatus>,
): Promise<Admission<RouteTableStatus>> {
  const { network: inNetwork = '', name: _, ...within } = address;
  const parent = await tx.resolve<NetworkSpec>(network, `networks/${inNetwork}`, within, '/metadata/network');
  const inside = networkRanges(parent.target.spec);
  const references: ResolvedReference[] = [];
  const destinations: IpRange[] = [];
  for (const [index, route] of next.spec.routes.entries()) {
    const at = `/spec/routes/${index}`;
    const destination = destinationOf(route.destinationCidrBlock, `${at}/destinationCidrBlock`);
    const sources = [{ pointer: `${at}/destinationCidrBlock` }];
    if (destinations.some((other) => formatRange(other) === formatRange(destination)))
      throw new Problem('validation', `there are two routes to ${formatRange(destination)}`, { sources });
    const local = inside.find((range) => destination.prefix >= range.prefix && overlap(range, destination));
    if (local !== undefined) {
      throw new Problem(
        'validation',
        `${formatRange(destination)} lies in the network itself (${formatRange(local)}), which needs no route`,
        { sources },
      );
    }
    destinations.push(destination);
    references.push(await targetOf(tx, route.targetRef, within, parent.target, destination, `${at}/targetRef`));
  }
  const before = previous === undefined ? [] : await tx.referencesOf(previous.uid);
  if (previous !== undefined) {
    if ((await tx.usersOf(previous.uid, subnet)).length > 0)
      await assertNetworkServed(context, tx, parent.target, newlyNeeded(previous.spec, next.spec), '/spec/routes');
    await routesChanged(tx, parent.target.uid);
  }
  await tellRouters(tx, [...before, ...references]);
  return { references, outcome: 'active' };
}

/** What hosts must be able to do for it and did not have to before. */
function newlyNeeded(before: RouteTableSpec, now: RouteTableSpec): readonly HostNetworking[] {
  const leavesBySix = ({ routes }: RouteTableSpec): boolean =>
    routes.some(({ destinationCidrBlock, targetRef }) => destinationCidrBlock.includes(':') && isGateway(targetRef));
  return [
    ...(before.routes.length === 0 && now.routes.length > 0 ? (['routes'] as const) : []),
    ...(leavesBySix(now) && !leavesBySix(before) ? (['ipv6-routes'] as const) : []),
  ];
}

function isGateway(given: Reference): boolean {
  return (typeof given === 'string' ? given : given.resource).split('/').at(-2) === internetGateway.collection;
}

/** An instance that forwards may use other addresses than its own, which its host is to know. */
async function tellRouters(tx: StoreTransaction, references: readonly { readonly uid: Id<'resource'> }[]): Promise<void> {
  for (const { uid, kind } of await tx.getManyByUid([...new Set(references.map((each) => each.uid))])) {
    const routers = kind === nic.kind ? await tx.usersOf(uid, instance) : kind === instance.kind ? [{ uid }] : [];
    for (const router of routers) await tx.nudge(instance.kind, router.uid);
  }
}

function destinationOf(text: string, pointer: string): IpRange {
  const range = text.includes('/') ? rangeFromText(text, pointer) : undefined;
  if (range !== undefined) return range;
  throw new Problem('validation', `${JSON.stringify(text)} is not a range; write it as 0.0.0.0/0 or fd00:1::/64`, {
    sources: [{ pointer }],
  });
}

async function targetOf(
  tx: StoreTransaction,
  given: Reference,
  within: Omit<Address, 'name'>,
  inNetwork: StoredResource,
  destination: IpRange,
  pointer: string,
): Promise<ResolvedReference> {
  const text = typeof given === 'string' ? given : given.resource;
  const kind = targetKinds.find(({ collection }) => text.split('/').at(-2) === collection);
  if (kind === undefined) {
    throw new Problem(
      'unsupported',
      `a route to ${JSON.stringify(text)} cannot be made; its target is internet-gateways/NAME, instances/NAME or nics/NAME`,
      { sources: [{ pointer }] },
    );
  }
  const { target, reference } = await tx.resolve(kind, given, within, pointer);
  if (target.address.workspace !== within.workspace)
    throw new Problem('validation', `${kind.kind} ${target.address.name} is of another workspace`, { sources: [{ pointer }] });
  if ((await nextHop(tx, target, inNetwork.uid, destination.family)) === undefined) {
    throw new Problem(
      'validation',
      `${kind.kind} ${target.address.name} has no IPv${destination.family} address in network ${inNetwork.address.name} to route to`,
      { sources: [{ pointer }] },
    );
  }
  return reference;
}

/** A route whose target has lost its address in the network leads nowhere, and says so. */
async function shownRoutes(reader: StoreReader, table: RouteTable): Promise<NonNullable<RouteTableStatus['routes']>> {
  const { network: inNetwork = '', name: _, ...within } = table.address;
  const parent = await reader.get(network, { ...within, name: inNetwork });
  const routes = parent === undefined ? [] : await routesOfTable(reader, table.uid, parent.uid);
  const { lastModifiedAt } = table;
  return table.spec.routes.map((_route, index) => {
    const leads = routes[index]?.to !== undefined;
    const state: State = leads ? 'active' : 'error';
    return {
      state,
      conditions: [
        {
          state,
          lastTransitionAt: lastModifiedAt,
          ...(leads ? {} : { type: 'Routed', reason: 'NoAddress', message: 'its target has no address in the network' }),
        },
      ],
    };
  });
}
