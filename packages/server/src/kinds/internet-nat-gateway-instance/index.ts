/** NAT gateway: described, and refused until a driver makes them. */
import { type InternetNatGatewayInstanceSpec, internetNatGatewayInstance, nic, publicIp, securityGroup } from '@virt8ra/contract';
import type { KindBehaviour } from '../behaviour.js';
import type { KindContext } from '../context.js';
import { refuseUnrealized } from '../unrealized.js';

export function createInternetNatGatewayInstanceBehaviour(
  context: Pick<KindContext, 'sites' | 'log'>,
): KindBehaviour<InternetNatGatewayInstanceSpec, object> {
  return {
    kind: internetNatGatewayInstance,
    async admitPut(tx, { address, next }) {
      const { name: _, ...within } = address;
      const { nicRef, publicIpRef, securityGroupRef, zone } = next.spec;
      await tx.resolve(nic, nicRef, within, '/spec/nicRef');
      await tx.resolve(publicIp, publicIpRef, within, '/spec/publicIpRef');
      if (securityGroupRef !== undefined) await tx.resolve(securityGroup, securityGroupRef, within, '/spec/securityGroupRef');
      return await refuseUnrealized(context, tx, {
        what: 'a NAT gateway',
        facet: 'natGateways',
        zone,
        instead: 'An internet gateway with egressOnly leads subnets out behind the address of their hosts',
        pointer: '/spec/zone',
      });
    },
  };
}
