import type { AgentFeature, DesiredByType } from '@virt8ra/contract';
import { type HostObjectType, Problem } from '@virt8ra/contract';
import type { Facet, Handle } from '@virt8ra/driver';
import type { AgentFleet } from './fleet-port.js';
import { handleFromObject, objectFromHandle } from './handle.js';
import { observationFromView, type Reader } from './observation.js';

/** What the facets of one connection share. */
export interface SiteFleet {
  readonly fleet: AgentFleet;
  readonly site: string;
  /** Raises `cancelled` once the connection is closed. */
  assertOpen(): void;
}

export interface ObjectTranslation<Type extends HostObjectType, Spec, Status> extends Reader<Type, Status> {
  readonly type: Type;
  /** Raises `unsupported` for what no agent can do. What an agent may go without is left out where it lacks the feature. */
  toDesired(spec: Spec, object: ObjectPlace): DesiredByType[Type];
  /** Raises `unsupported` for a change that agents cannot make to what exists. */
  assertChangeable(from: DesiredByType[Type], to: DesiredByType[Type]): void;
}

export interface ObjectPlace {
  readonly key: string;
  readonly host: string;
  /** What the host's agent said it can do. */
  readonly features: ReadonlySet<AgentFeature>;
}

/** A facet over objects of one type that are declared on hosts. */
export function createObjectFacet<Type extends HostObjectType, Spec extends { readonly host?: string }, Status>(
  { fleet, site, assertOpen }: SiteFleet,
  translation: ObjectTranslation<Type, Spec, Status>,
): Facet<Spec, Status> {
  const { type } = translation;
  const desiredOf = async (spec: Spec, key: string, host: string): Promise<DesiredByType[Type]> =>
    translation.toDesired(spec, { key, host, features: await fleet.features(site, host) });
  return {
    async create(spec, key) {
      assertOpen();
      const host = requireHost(spec.host);
      await fleet.declare(site, { host, type, key, desired: await desiredOf(spec, key, host) }, 'keep');
      return handleFromObject({ host, type, key });
    },
    async find(key) {
      assertOpen();
      const found = await fleet.find(site, type, key);
      return found === undefined ? undefined : handleFromObject(found);
    },
    async observe(handle) {
      assertOpen();
      const object = objectFromHandle(handle, type);
      return observationFromView(object, await fleet.look(site, object), translation);
    },
    async update(handle, spec) {
      assertOpen();
      const object = objectFromHandle(handle, type);
      const { host, key } = object;
      if (spec.host !== undefined && spec.host !== host) {
        throw new Problem('unsupported', `a ${type} stays on its host ${host}; a move to ${spec.host} is a migration`);
      }
      const desired = await desiredOf(spec, key, host);
      const { desired: before } = await fleet.look(site, object);
      if (before !== undefined) translation.assertChangeable(before, desired);
      await fleet.declare(site, { host, type, key, desired }, 'require');
    },
    async remove(handle) {
      assertOpen();
      await fleet.withdraw(site, objectFromHandle(handle, type));
    },
    async *list() {
      assertOpen();
      for await (const object of fleet.list(site, type)) yield { handle: handleFromObject(object), key: object.key };
    },
  };
}

/** Agent sites place on a host before they are asked. */
export function requireHost(host: string | undefined): string {
  if (host === undefined) throw new Problem('unsupported', 'an agent site must be told the host');
  return host;
}

/** The key behind a handle of something else on the same host. Raises `conflict` when it is elsewhere: hosts share nothing. */
export function keyOnHost(handle: Handle, type: HostObjectType, host: string): string {
  const object = objectFromHandle(handle, type);
  if (object.host !== host) throw new Problem('conflict', `a ${type} on host ${object.host} cannot be used on host ${host}; move it first`);
  return object.key;
}

/** Raises `unsupported` naming the first of `fields` that differs. */
export function assertSame<Value extends object>(what: string, from: Value, to: Value, fields: readonly (keyof Value & string)[]): void {
  for (const field of fields) {
    if (JSON.stringify(from[field]) !== JSON.stringify(to[field]))
      throw new Problem('unsupported', `the ${field} of ${what} cannot be changed`);
  }
}
