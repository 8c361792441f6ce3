/** Route table: a record. It counts for the subnets that name it, on every host of their network. */
import {
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
import type { Admission, AwaitedReference, KindBehaviour, PutRequest } from '../behaviour.js';
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
import { resolveAhead } from '../resolve-ahead.js';
import { namesOfUsers } from '../users.js';

interface RouteTableStatus {
  routes?: readonly { readonly state: State; readonly conditions: readonly Condition[] }[];
}

type Context = Pick<KindContext, 'sites' | 'declarative'>;
type RouteTable = StoredResource<RouteTableSpec, RouteTableStatus>;

const targetKinds = [internetGateway, instance, nic] as const;

export function createRouteTableBehaviour(context: Context): KindBehaviour<RouteTableSpec, RouteTableStatus> {
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
  context: Context,
  tx: StoreTransaction,
  { address, next, previous, again = false }: PutRequest<RouteTableSpec, RouteTableStatus>,
): Promise<Admission<RouteTableStatus>> {
  const { network: inNetwork = '', name: _, ...within } = address;
  const parent = await tx.resolve<NetworkSpec>(network, `networks/${inNetwork}`, within, '/metadata/network');
  const inside = networkRanges(parent.target.spec);
  const references: ResolvedReference[] = [];
  const awaited: AwaitedReference[] = [];
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
    const kind = targetKind(route.targetRef, `${at}/targetRef`);
    const ahead = context.declarative === true && (again || kind === instance);
    const target = { kind, given: route.targetRef, from: within, pointer: `${at}/targetRef` };
    const found = await targetOf(tx, target, parent.target, destination, ahead);
    if ('awaited' in found) awaited.push(found.awaited);
    else references.push(found.reference);
  }
  const before = previous === undefined ? [] : await tx.referencesOf(previous.uid);
  if (previous !== undefined) {
    if ((await tx.usersOf(previous.uid, subnet)).length > 0)
      await assertNetworkServed(context, tx, parent.target, newlyNeeded(previous.spec, next.spec), '/spec/routes');
    await routesChanged(tx, parent.target.uid);
  }
  await tellRouters(tx, [...before, ...references]);
  return { references, awaited, outcome: 'active' };
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

function targetKind(given: Reference, pointer: string): (typeof targetKinds)[number] {
  const text = typeof given === 'string' ? given : given.resource;
  const kind = targetKinds.find(({ collection }) => text.split('/').at(-2) === collection);
  if (kind === undefined) {
    throw new Problem(
      'unsupported',
      `a route to ${JSON.stringify(text)} cannot be made; its target is internet-gateways/NAME, instances/NAME or nics/NAME`,
      { sources: [{ pointer }] },
    );
  }
  return kind;
}

async function targetOf(
  tx: StoreTransaction,
  wanted: Parameters<typeof resolveAhead>[1],
  inNetwork: StoredResource,
  destination: IpRange,
  ahead: boolean,
): Promise<{ readonly reference: ResolvedReference } | { readonly awaited: AwaitedReference }> {
  const found = await resolveAhead(tx, wanted, ahead);
  if ('awaited' in found) return found;
  const { kind, from, pointer } = wanted;
  const { target } = found;
  if (target.address.workspace !== from.workspace)
    throw new Problem('validation', `${kind.kind} ${target.address.name} is of another workspace`, { sources: [{ pointer }] });
  if ((await nextHop(tx, target, inNetwork.uid, destination.family)) === undefined) {
    throw new Problem(
      'validation',
      `${kind.kind} ${target.address.name} has no IPv${destination.family} address in network ${inNetwork.address.name} to route to`,
      { sources: [{ pointer }] },
    );
  }
  return found;
}

const noAddress = { type: 'Routed', reason: 'NoAddress', message: 'its target has no address in the network' } as const;
const noTarget = { type: 'Routed', reason: 'DependencyMissing', message: 'its target is not there' } as const;

/** A route whose target has lost its address in the network leads nowhere, and says so. */
async function shownRoutes(reader: StoreReader, table: RouteTable): Promise<NonNullable<RouteTableStatus['routes']>> {
  const { network: inNetwork = '', name: _, ...within } = table.address;
  const parent = await reader.get(network, { ...within, name: inNetwork });
  const routes = parent === undefined ? [] : await routesOfTable(reader, table.uid, parent.uid);
  const { lastModifiedAt } = table;
  const named = new Set((await reader.referencesOf(table.uid)).map(({ pointer }) => pointer));
  return table.spec.routes.map((_route, index) => {
    const leads = routes[index]?.to !== undefined;
    const missing = !named.has(`/spec/routes/${index}/targetRef`);
    const state: State = leads ? 'active' : missing ? 'pending' : 'error';
    return {
      state,
      conditions: [
        {
          state,
          lastTransitionAt: lastModifiedAt,
          ...(leads ? {} : missing ? noTarget : noAddress),
        },
      ],
    };
  });
}
