import { type Static, Type } from 'typebox';
import { defineKind } from '../kind.js';
import { oneOf, Reference, statusShape } from '../shape.js';

const closed = { additionalProperties: false } as const;
const Port = Type.Integer({ minimum: 1, maximum: 65535 });

/**
 * SECA network load balancer (v1beta1). `frontendPort` and `backendPort` at the top are in SECA's shape beside those of each frontend, and
 * say nothing that these do not.
 */
export const networkLoadBalancer = defineKind({
  kind: 'network-load-balancer',
  provider: 'seca.loadbalancer',
  version: 'v1beta1',
  collection: 'network-load-balancers',
  scope: 'workspace',
  aliases: ['nlb', 'nlbs'],
  summary: 'a NIC that spreads connections over members',
  spec: Type.Object(
    {
      nicRef: Reference,
      securityGroupRef: Type.Optional(Reference),
      frontendPort: Type.Optional(Port),
      backendPort: Type.Optional(Port),
      frontends: Type.Array(
        Type.Object(
          {
            port: Port,
            protocol: oneOf(['tcp', 'udp', 'both']),
            target: Type.Object(
              {
                members: Type.Array(Reference, { minItems: 1, maxItems: 1000 }),
                /** Absent: that of the frontend. */
                port: Type.Optional(Port),
                algorithm: Type.Optional(oneOf(['round-robin'])),
                proxyProtocol: Type.Optional(oneOf(['none', 'v2'])),
                healthCheck: Type.Optional(
                  Type.Object(
                    {
                      /** Seconds. */
                      interval: Type.Integer({ minimum: 1, maximum: 86400 }),
                      retry: Type.Integer({ minimum: 0, maximum: 10 }),
                      /** Seconds. */
                      timeout: Type.Integer({ minimum: 1, maximum: 600 }),
                      type: Type.Optional(oneOf(['connect'])),
                    },
                    closed,
                  ),
                ),
              },
              closed,
            ),
          },
          closed,
        ),
        { minItems: 1, maxItems: 50 },
      ),
    },
    closed,
  ),
  status: statusShape({ healthyMembers: Type.Optional(Type.Array(Reference, { maxItems: 1000 })) }),
});
export type NetworkLoadBalancerSpec = Static<typeof networkLoadBalancer.spec>;
