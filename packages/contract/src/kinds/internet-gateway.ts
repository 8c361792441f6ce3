import { type Static, Type } from 'typebox';
import { defineKind } from '../kind.js';
import { statusShape } from '../shape.js';

/**
 * SECA internet gateway. A route of a route table leads to it; the subnets of that table then reach the internet behind the address of the
 * host their instances are on. `egressOnly`: public IPs lead nobody in through it.
 */
export const internetGateway = defineKind({
  kind: 'internet-gateway',
  provider: 'seca.network',
  version: 'v1',
  collection: 'internet-gateways',
  scope: 'workspace',
  aliases: ['igw', 'gateway', 'gateways'],
  summary: 'the way from subnets to the internet and back',
  spec: Type.Object({ egressOnly: Type.Optional(Type.Boolean()) }, { additionalProperties: false }),
  status: statusShape({}),
});
export type InternetGatewaySpec = Static<typeof internetGateway.spec>;
