import { type Static, Type } from 'typebox';
import { defineKind } from '../kind.js';
import { Reference, statusShape } from '../shape.js';

/**
 * SECA route table, whose kind is spelled routing-table: where traffic that leaves a network goes. It counts for the subnets that name it.
 * The longest matching destination decides; what none matches goes nowhere. Inside the network no route is needed.
 */
export const routeTable = defineKind({
  kind: 'routing-table',
  provider: 'seca.network',
  version: 'v1',
  collection: 'route-tables',
  scope: 'network',
  aliases: ['route-table', 'routing-tables', 'rt'],
  summary: 'where the traffic of subnets goes that leaves their network',
  spec: Type.Object(
    {
      routes: Type.Array(
        Type.Object(
          {
            /** CIDR notation, such as 0.0.0.0/0. */
            destinationCidrBlock: Type.String({ minLength: 1, maxLength: 43 }),
            /** An internet gateway, or the instance or NIC that forwards. */
            targetRef: Reference,
          },
          { additionalProperties: false },
        ),
        { minItems: 1, maxItems: 1000 },
      ),
    },
    { additionalProperties: false },
  ),
  /** `routes` are in the order of the specification. */
  status: statusShape({ routes: Type.Optional(Type.Array(statusShape({}), { maxItems: 1000 })) }),
});
export type RouteTableSpec = Static<typeof routeTable.spec>;
