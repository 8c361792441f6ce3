import { type Static, Type } from 'typebox';
import { defineKind } from '../kind.js';
import { oneOf, Reference, statusShape, Zone } from '../shape.js';

export const ipVersions = ['IPv4', 'IPv6'] as const;

/**
 * SECA public IP: an address of a site's own, held from the PUT until it is deleted. It stays at its site, so that it does not follow an
 * instance that moves to another. The extension `virt8ra.site` names the site. Without `address` any free one is given.
 */
export const publicIp = defineKind({
  kind: 'public-ip',
  provider: 'seca.network',
  version: 'v1',
  collection: 'public-ips',
  scope: 'workspace',
  aliases: ['ip', 'ips'],
  summary: 'an address of a site by which an instance is reached from the internet',
  spec: Type.Object(
    { address: Type.Optional(Type.String({ maxLength: 39 })), version: oneOf(ipVersions) },
    { additionalProperties: false },
  ),
  status: statusShape({
    ipAddress: Type.Optional(Type.String({ maxLength: 39 })),
    /** The NIC that names it. */
    attachedTo: Type.Optional(Reference),
    site: Type.Optional(Zone),
  }),
});
export type PublicIpSpec = Static<typeof publicIp.spec>;
