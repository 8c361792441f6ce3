/** Network load balancer: described, and refused until a driver makes them. */
import { instance, type NetworkLoadBalancerSpec, networkLoadBalancer, nic, Problem, securityGroup } from '@virt8ra/contract';
import type { KindBehaviour } from '../behaviour.js';
import type { KindContext } from '../context.js';
import { refuseUnrealized } from '../unrealized.js';

const memberKinds = [instance, nic] as const;

export function createNetworkLoadBalancerBehaviour(
  context: Pick<KindContext, 'sites' | 'log'>,
): KindBehaviour<NetworkLoadBalancerSpec, object> {
  return {
    kind: networkLoadBalancer,
    async admitPut(tx, { address, next }) {
      const { name: _, ...within } = address;
      const { nicRef, securityGroupRef, frontends } = next.spec;
      await tx.resolve(nic, nicRef, within, '/spec/nicRef');
      if (securityGroupRef !== undefined) await tx.resolve(securityGroup, securityGroupRef, within, '/spec/securityGroupRef');
      for (const [index, { target }] of frontends.entries()) {
        for (const [position, member] of target.members.entries()) {
          const pointer = `/spec/frontends/${index}/target/members/${position}`;
          const text = typeof member === 'string' ? member : member.resource;
          const kind = memberKinds.find(({ collection }) => text.split('/').at(-2) === collection);
          if (kind === undefined) {
            throw new Problem('validation', `${JSON.stringify(text)} cannot be a member; write instances/NAME or nics/NAME`, {
              sources: [{ pointer }],
            });
          }
          await tx.resolve(kind, member, within, pointer);
        }
      }
      return await refuseUnrealized(context, tx, {
        what: 'a network load balancer',
        facet: 'loadBalancers',
        instead: 'Expose ports of instances by the extension virt8ra.access, or run a load balancer in an instance',
      });
    },
  };
}
