import { type Kind, type Resource, relativePath, urnFromAddress } from '@virt8ra/contract';
import type { StoredResource } from '../resources/stored-resource.js';

/** A resource as it travels: SECA's envelope. `verb` is the call's. Empty maps are left out, as clients read them as absent. */
export function resourceDocument(kind: Kind, stored: StoredResource, verb: 'GET' | 'PUT', region: string): Resource {
  const { address } = stored;
  return {
    ...unlessEmpty('labels', stored.labels),
    ...unlessEmpty('annotations', stored.annotations),
    ...unlessEmpty('extensions', stored.extensions),
    metadata: {
      name: address.name,
      provider: `${kind.provider}/${kind.version}`,
      resource: relativePath(kind, address),
      verb,
      apiVersion: kind.version,
      kind: kind.kind,
      ref: urnFromAddress(kind, address),
      createdAt: stored.createdAt,
      lastModifiedAt: stored.lastModifiedAt,
      ...(stored.deletedAt === undefined ? {} : { deletedAt: stored.deletedAt }),
      resourceVersion: stored.resourceVersion,
      ...(address.tenant === undefined ? {} : { tenant: address.tenant }),
      ...(address.workspace === undefined ? {} : { workspace: address.workspace }),
      ...(address.network === undefined ? {} : { network: address.network }),
      ...(kind.regional ? { region } : {}),
    },
    spec: stored.spec,
    ...(kind.status === undefined ? {} : { status: { ...(stored.status as object), state: stored.state, conditions: stored.conditions } }),
  };
}

function unlessEmpty<Name extends string>(name: Name, map: Readonly<Record<string, string>>): { readonly [key in Name]?: typeof map } {
  return Object.keys(map).length === 0 ? {} : ({ [name]: map } as { readonly [key in Name]: typeof map });
}
