import type { DesiredState, HostObjectType } from '@virt8ra/contract';

/** Which object of a host is meant. */
export interface HostObject {
  readonly type: HostObjectType;
  readonly key: string;
}

/** The object as one string, for maps. */
export function objectId(object: HostObject): string {
  return `${object.type}/${object.key}`;
}

/** The reverse of `objectId`. Keys hold no slash. */
export function objectFromId(id: string): HostObject {
  const slash = id.indexOf('/');
  return { type: id.slice(0, slash) as HostObjectType, key: id.slice(slash + 1) };
}

/** Every object a desired state lists. */
export function objectsOf(state: DesiredState): HostObject[] {
  return [
    ...state.networks.map(({ key }) => ({ type: 'network', key }) as const),
    ...state.volumes.map(({ key }) => ({ type: 'volume', key }) as const),
    ...state.instances.map(({ key }) => ({ type: 'instance', key }) as const),
    ...state.transfers.map(({ id }) => ({ type: 'transfer', key: id }) as const),
    ...(state.filters ?? []).map(({ key }) => ({ type: 'filter', key }) as const),
    ...(state.backups ?? []).map(({ key }) => ({ type: 'backup', key }) as const),
    ...(state.snapshots ?? []).map(({ key }) => ({ type: 'snapshot', key }) as const),
  ];
}
