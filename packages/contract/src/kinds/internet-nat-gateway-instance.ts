import { type Static, Type } from 'typebox';
import { defineKind } from '../kind.js';
import { Reference, statusShape, Zone } from '../shape.js';

/** SECA NAT gateway (v1beta1): a way to the internet behind a public IP. SECA names no kind for it, so that the word is that of its path. */
export const internetNatGatewayInstance = defineKind({
  kind: 'internet-nat-gateway-instance',
  provider: 'seca.natgateway',
  version: 'v1beta1',
  collection: 'internet-nat-gateway-instances',
  scope: 'workspace',
  aliases: ['nat-gateway', 'nat-gateways'],
  summary: 'a way to the internet behind one public IP',
  spec: Type.Object(
    { zone: Zone, nicRef: Reference, publicIpRef: Reference, securityGroupRef: Type.Optional(Reference) },
    { additionalProperties: false },
  ),
  status: statusShape({}),
});
export type InternetNatGatewayInstanceSpec = Static<typeof internetNatGatewayInstance.spec>;
