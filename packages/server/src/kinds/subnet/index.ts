/** Subnet: a record. Sibling subnets never overlap; the first usable address of each is the gateway, with declarative references the last. */
import {
  type Cidr,
  type NetworkSpec,
  network,
  nic,
  Problem,
  type Reference,
  referenceTo,
  routeTable,
  type SubnetSpec,
  site,
  subnet,
} from '@virt8ra/contract';
import type { StoreTransaction } from '../../resources/store.js';
import type { StoredResource } from '../../resources/stored-resource.js';
import type { Admission, KindBehaviour, PutRequest } from '../behaviour.js';
import type { KindContext } from '../context.js';
import { assertNetworkServed } from '../host-networking.js';
import {
  formatRange,
  gatewayOf,
  isInside,
  networkRanges,
  overlap,
  rangesOf,
  routesChanged,
  routesNeed,
  routeTablePointer,
  subnetsOf,
} from '../network/index.js';
import { forgetAddressSpace } from '../nic/index.js';
import { resolveAhead } from '../resolve-ahead.js';

interface SubnetStatus {
  cidr?: Cidr;
  /** One of each range, in that order. */
  gateways?: readonly string[];
  routeTableRef?: Reference | undefined;
}

/** Longer prefixes leave no address beside the gateway. */
const longestPrefixes = { 4: 30, 6: 126 } as const;

export function createSubnetBehaviour(context: Pick<KindContext, 'sites' | 'declarative'>): KindBehaviour<SubnetSpec, SubnetStatus> {
  return {
    kind: subnet,
    admitPut: async (tx, request) => await admitSubnet(context, tx, request),
    async admitDelete(tx, { uid, address }) {
      const users = await tx.usersOf(uid);
      if (users.length > 0) {
        const [first] = users;
        const hint = first?.kind === nic.kind ? 'delete it first' : 'take it out of its rules first';
        const what = first?.kind === nic.kind ? 'NIC' : (first?.kind ?? '').replaceAll('-', ' ');
        throw new Problem(
          'conflict',
          `subnet ${address.name} is used by ${what} ${first?.address.name ?? ''}${andMore(users.length - 1)}; ${hint}`,
        );
      }
      // Its gateway leaves the network's hosts.
      const { network: inNetwork = '', name: _, ...within } = address;
      const parent = await tx.get(network, { ...within, name: inNetwork });
      if (parent !== undefined) await tx.nudge(network.kind, parent.uid);
      await forgetAddressSpace(tx.client, uid);
    },
  };
}

function andMore(count: number): string {
  return count === 0 ? '' : ` and ${count} more`;
}

async function admitSubnet(
  context: Pick<KindContext, 'sites' | 'declarative'>,
  tx: StoreTransaction,
  request: PutRequest<SubnetSpec, SubnetStatus>,
): Promise<Admission<SubnetStatus>> {
  const { address, next, previous, again = false } = request;
  const { cidr, routeTableRef } = next.spec;
  const { network: inNetwork = '', name: _, ...within } = address;
  const parent = await tx.resolve<NetworkSpec>(network, `networks/${inNetwork}`, within, '/metadata/network');
  const ranges = rangesOf(cidr, '/spec/cidr');
  const outer = networkRanges(parent.target.spec);
  for (const range of ranges) {
    const sources = [{ pointer: `/spec/cidr/ipv${range.family}` }];
    if (range.prefix > longestPrefixes[range.family]) {
      throw new Problem('validation', `a subnet is /${longestPrefixes[range.family]} or larger`, { sources });
    }
    if (!outer.some((each) => isInside(range, each))) {
      const given = outer.map(formatRange).join(', ');
      throw new Problem('validation', `${formatRange(range)} is not inside network ${inNetwork} (${given})`, { sources });
    }
  }
  // Siblings that are made at the same moment share the lock on the network; this one they take in turn.
  await tx.client.query(`select pg_advisory_xact_lock(hashtextextended('subnets:' || $1, 0))`, [parent.target.uid]);
  for (const sibling of await subnetsOf(tx, { ...within, network: inNetwork })) {
    if (sibling.uid === previous?.uid) continue;
    const clash = ranges.find((range) => rangesOf(sibling.spec.cidr, '/spec/cidr').some((other) => overlap(range, other)));
    if (clash !== undefined) {
      throw new Problem('conflict', `${formatRange(clash)} overlaps subnet ${sibling.address.name}`, {
        sources: [{ pointer: `/spec/cidr/ipv${clash.family}` }],
      });
    }
  }
  if (previous?.spec.zone !== next.spec.zone) await assertZone(tx, next.spec.zone);
  const references = [parent.reference];
  const gateways = previous?.status.gateways ?? ranges.map((range) => gatewayOf(range, context.declarative === true ? 'last' : 'first'));
  let status: SubnetStatus = { cidr, gateways, routeTableRef: undefined };
  if (routeTableRef !== undefined) {
    const pointer = routeTablePointer;
    const from = { ...within, network: inNetwork };
    const found = await resolveAhead(tx, { kind: routeTable, given: routeTableRef, from, pointer }, again);
    if ('awaited' in found) {
      await routesChanged(tx, parent.target.uid);
      return { references, awaited: [found.awaited], status, outcome: 'active' };
    }
    const { target, reference } = found;
    if (target.address.network !== inNetwork || target.address.workspace !== within.workspace)
      throw new Problem('validation', `route table ${target.address.name} is of another network`, { sources: [{ pointer }] });
    if (!(await namesTable(tx, previous, target.uid)))
      await assertNetworkServed(context, tx, parent.target, await routesNeed(tx, target.uid, parent.target.uid), pointer);
    references.push(reference);
    status = { ...status, routeTableRef: referenceTo(routeTable, target.address) };
  }
  await routesChanged(tx, parent.target.uid);
  return { references, status, outcome: 'active' };
}

/** A hint, but one that means something. Empty is regional. */
async function assertZone(tx: StoreTransaction, zone = ''): Promise<void> {
  if (zone === '' || zone === 'any' || (await tx.get(site, { name: zone })) !== undefined) return;
  throw new Problem('validation', `there is no site ${zone}; virt8ra sites lists them, an empty zone is the whole region`, {
    sources: [{ pointer: '/spec/zone' }],
  });
}

async function namesTable(tx: StoreTransaction, previous: StoredResource | undefined, tableUid: StoredResource['uid']): Promise<boolean> {
  if (previous === undefined) return false;
  return (await tx.referencesOf(previous.uid)).some(({ pointer, uid }) => pointer === routeTablePointer && uid === tableUid);
}
