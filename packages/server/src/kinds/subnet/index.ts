/** Subnet: a record. Sibling subnets never overlap; the first usable address of each is the gateway. */
import { type NetworkSpec, network, nic, Problem, type SubnetSpec, subnet } from '@virt8ra/contract';
import type { StoreTransaction } from '../../resources/store.js';
import type { Admission, KindBehaviour, PutRequest } from '../behaviour.js';
import { formatRange, isInside, networkRanges, overlap, rangesOf, subnetsOf } from '../network/index.js';
import { forgetAddressSpace } from '../nic/index.js';

type SubnetStatus = Partial<Pick<SubnetSpec, 'cidr'>>;

/** Longer prefixes leave no address beside the gateway. */
const longestPrefixes = { 4: 30, 6: 126 } as const;

export const subnetBehaviour: KindBehaviour<SubnetSpec, SubnetStatus> = {
  kind: subnet,
  admitPut: admitSubnet,
  async admitDelete(tx, { uid, address }) {
    const users = await tx.usersOf(uid, nic);
    if (users.length > 0) {
      throw new Problem(
        'conflict',
        `subnet ${address.name} is used by NIC ${users[0]?.address.name ?? ''}${andMore(users.length - 1)}; delete it first`,
      );
    }
    await forgetAddressSpace(tx.client, uid);
  },
};

function andMore(count: number): string {
  return count === 0 ? '' : ` and ${count} more`;
}

async function admitSubnet(tx: StoreTransaction, request: PutRequest<SubnetSpec, SubnetStatus>): Promise<Admission<SubnetStatus>> {
  const { address, next, previous } = request;
  const { cidr, routeTableRef } = next.spec;
  if (routeTableRef !== undefined) {
    throw new Problem('unsupported', 'route tables are not realised here yet; leave routeTableRef out', {
      sources: [{ pointer: '/spec/routeTableRef' }],
    });
  }
  const { network: inNetwork = '', name, ...within } = address;
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
  return { references: [parent.reference], status: { cidr }, outcome: 'active' };
}
