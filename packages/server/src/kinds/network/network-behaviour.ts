import {
  type Cidr,
  instance,
  type NetworkReach,
  type NetworkSpec,
  network,
  networkSku,
  nic,
  Problem,
  routeTable,
  subnet,
  toProblem,
} from '@virt8ra/contract';
import type { Outcome, Queryable } from '@virt8ra/engine';
import { jsonEqual } from '../../resources/json-equal.js';
import type { Realization } from '../../resources/ledger-types.js';
import type { StoreTransaction } from '../../resources/store.js';
import type { StoredResource } from '../../resources/stored-resource.js';
import type { Admission, KindBehaviour, PutRequest } from '../behaviour.js';
import type { KindContext } from '../context.js';
import { networkRefusal, showServed } from '../host-networking.js';
import type { StillThere } from '../realize.js';
import { networkRanges, subnetsOf } from './address-plan.js';
import { isInside, overlap, rangesOf } from './cidr.js';
import { ensureNetworkOnHost, releaseNetworkOnHost, removeNetworkRealization, sweepSeconds } from './network-on-host.js';
import { routesNeed, routeTablePointer } from './network-routes.js';
import { type NetworkReaches, pairsOfNetworks, reachCondition, shownReach } from './reach.js';

interface NetworkStatus {
  reach?: NetworkReach[];
  cidr?: Cidr;
  additionalCidrs?: Cidr[] | undefined;
}
type Network = StoredResource<NetworkSpec, NetworkStatus>;

const lookAgainSeconds = 2;
const unreachableSeconds = 15;
/** The largest prefix that leaves room for a gateway and a few guests. */
const longestPrefix = 29;

export function createNetworkBehaviour(
  context: KindContext,
  measured: NetworkReaches & { readonly pool: Queryable },
): KindBehaviour<NetworkSpec, NetworkStatus> {
  return {
    kind: network,
    admitPut: admitNetwork,
    async admitDelete(tx, { address }) {
      const { name, ...within } = address;
      for (const kind of [subnet, routeTable]) {
        const held = await tx.count(kind, { ...within, network: name });
        const what = `${kind.collection.slice(0, held === 1 ? -1 : undefined).replace('-', ' ')}`;
        if (held > 0) throw new Problem('conflict', `network ${name} still has ${held} ${what}; delete them first`);
      }
    },
    async reconcile(resource) {
      const outcome = await reconcileNetwork(context, resource);
      if (resource.deletedAt === undefined) await showReach(context, measured, resource);
      return outcome;
    },
    present: async (_reader, resources) => (await pairsOfNetworks(measured.pool, measured, resources)).map(shownReach),
  };
}

async function admitNetwork(tx: StoreTransaction, request: PutRequest<NetworkSpec, NetworkStatus>): Promise<Admission<NetworkStatus>> {
  const { address, next, previous } = request;
  const { name, ...within } = address;
  const { cidr, additionalCidrs } = next.spec;
  const ranges = networkRanges(next.spec);
  for (const [index, range] of ranges.entries()) {
    if (range.family === 4 && range.prefix > longestPrefix) {
      throw new Problem('validation', `an IPv4 range of a network is /${longestPrefix} or larger`, {
        sources: [{ pointer: '/spec/cidr/ipv4' }],
      });
    }
    if (ranges.slice(0, index).some((other) => overlap(range, other))) {
      throw new Problem('validation', 'the ranges of a network must not overlap', { sources: [{ pointer: '/spec/additionalCidrs' }] });
    }
  }
  const status = { cidr, additionalCidrs };
  if (previous !== undefined) {
    await assertSubnetsKept(tx, previous, next.spec);
    if (jsonEqual(previous.spec.skuRef, next.spec.skuRef)) return { status, outcome: 'active' };
    await tellInstances(tx, previous.uid);
  }
  const sku = await tx.resolve(networkSku, next.spec.skuRef, within, '/spec/skuRef');
  return { references: [sku.reference], status, outcome: 'active' };
}

/** What is in the network is held to the rates of its SKU. */
async function tellInstances(tx: StoreTransaction, uid: Network['uid']): Promise<void> {
  for (const each of await tx.usersOf(uid, nic))
    for (const user of await tx.usersOf(each.uid, instance)) await tx.nudge(instance.kind, user.uid);
}

async function assertSubnetsKept(tx: StoreTransaction, previous: Network, next: NetworkSpec): Promise<void> {
  const { name, ...within } = previous.address;
  const moved = previous.spec.cidr.ipv4 !== next.cidr.ipv4 || previous.spec.cidr.ipv6 !== next.cidr.ipv6;
  const outer = networkRanges(next);
  for (const held of await subnetsOf(tx, { ...within, network: name })) {
    const kept = rangesOf(held.spec.cidr, '/spec/cidr').every((inner) => outer.some((range) => isInside(inner, range)));
    if (moved || !kept) {
      throw new Problem('conflict', `subnet ${held.address.name} of network ${name} lies in the range that would change; delete it first`, {
        sources: [{ pointer: moved ? '/spec/cidr' : '/spec/additionalCidrs' }],
      });
    }
  }
}

/** Keeps a history of who reached whom in it. */
async function showReach(context: KindContext, measured: NetworkReaches & { readonly pool: Queryable }, resource: Network): Promise<void> {
  const [pairs = []] = await pairsOfNetworks(measured.pool, measured, [resource]);
  if (reachCondition(pairs, resource) === undefined) return;
  await context.store.transaction(async (tx) => {
    const current = await tx.lock(resource.uid);
    const condition = current === undefined || current.deletedAt !== undefined ? undefined : reachCondition(pairs, current);
    if (condition !== undefined) await tx.setStatus(resource.uid, {}, condition);
  });
}

/** Keeps every host what the network says, and finishes removals; a network that is going goes when none is left. */
async function reconcileNetwork(context: KindContext, resource: Network): Promise<Outcome> {
  const going = resource.deletedAt !== undefined;
  if (!going) await releaseUnused(context, resource);
  const realizations = await context.store.ledger.ofResource(resource.uid);
  const waiting: string[] = [];
  const refused: string[] = [];
  let waitSeconds = lookAgainSeconds;
  for (const realization of realizations) {
    try {
      const removing = going || realization.state === 'removing';
      const left = removing ? await removeNetworkRealization(context, realization) : await keepOnHost(context, resource, realization);
      if (left === undefined) continue;
      waiting.push(left.reason);
      if (!left.reachable) waitSeconds = unreachableSeconds;
    } catch (thrown) {
      const problem = toProblem(thrown);
      if (problem.kind === 'unsupported') refused.push(problem.message);
      else if (problem.retry === 'never') throw thrown;
      waitSeconds = Math.max(waitSeconds, problem.retryAfterSeconds ?? unreachableSeconds);
      waiting.push(`${realization.site} cannot be asked: ${problem.message}`);
    }
  }
  const reason = waiting.join('; ');
  if (!going) {
    await showRefusals(context, resource, refused);
    await showOnTables(context, resource, realizations);
  }
  if (waiting.length > 0) {
    if (going) {
      await context.store.transaction(async (tx) => {
        await tx.setStatus(resource.uid, {}, { state: 'deleting', type: 'Removed', reason: 'Waiting', message: reason });
      });
    }
    return { waitSeconds, reason };
  }
  if (!going) return realizations.length === 0 ? { done: true } : { waitSeconds: sweepSeconds, reason: 'in use' };
  await context.store.transaction(async (tx) => {
    await tx.client.query('delete from network_vni where resource_uid = $1', [resource.uid]);
    await tx.remove(resource.uid);
  });
  return { gone: true };
}

/** What a host cannot do for the network is for its owner to see, for as long as that is so. */
async function showRefusals(context: KindContext, { uid, state }: Network, refused: readonly string[]): Promise<void> {
  if (refused.length === 0 && state !== 'error') return;
  const condition =
    refused.length === 0
      ? { state: 'active' as const, type: 'Applied', reason: 'Everywhere' }
      : { state: 'error' as const, type: 'Applied', reason: 'Refused', message: refused.join('; ') };
  await context.store.transaction(async (tx) => {
    if ((await tx.lock(uid)) !== undefined) await tx.setStatus(uid, {}, condition);
  });
}

/** The route tables of its subnets are what their owner put: they say which host cannot follow them. */
async function showOnTables(context: KindContext, { uid, address }: Network, realizations: readonly Realization[]): Promise<void> {
  const { name, ...within } = address;
  const subnets = await subnetsOf(context.store, { ...within, network: name });
  const references = await Promise.all(subnets.map(async (each) => await context.store.referencesOf(each.uid)));
  const tables = new Set(references.flat().flatMap((each) => (each.pointer === routeTablePointer ? [each.uid] : [])));
  for (const table of tables) {
    const needed = await routesNeed(context.store, table, uid);
    const refusal = await networkRefusal(context, realizations, needed);
    await context.store.transaction(async (tx) => await showServed(tx, table, refusal));
  }
}

/** Undefined while it is there, and being made what it is to be. */
async function keepOnHost(context: KindContext, resource: Network, { site, host }: Realization): Promise<StillThere | undefined> {
  if (host === undefined) return undefined;
  const made = await ensureNetworkOnHost(context, resource, site, host);
  return 'waiting' in made ? { reason: made.waiting, reachable: false } : undefined;
}

/** Whoever was to let go of a host may have been cut short. */
async function releaseUnused(context: KindContext, { uid }: Network): Promise<void> {
  for (const { host, state } of await context.store.ledger.ofResource(uid)) {
    if (host !== undefined && state !== 'removing') await releaseNetworkOnHost(context, uid, host);
  }
}
