import type { HostObject } from '@virt8ra/contract';
import { type HostObjectType, hostObjectTypes, Problem } from '@virt8ra/contract';
import type { Handle } from '@virt8ra/driver';

export const driverName = 'agent';

export function handleFromObject({ host, type, key }: HostObject): Handle {
  return { driver: driverName, version: 1, value: JSON.stringify({ host, type, key }) };
}

/** Raises `internal` for a handle of another driver, another version or another type of object: acting on it could hit the wrong thing. */
export function objectFromHandle<Type extends HostObjectType>(handle: Handle, type: Type): HostObject & { readonly type: Type } {
  if (handle.driver !== driverName || handle.version !== 1) {
    throw new Problem('internal', `a handle of driver ${handle.driver}, version ${handle.version}, was given to driver ${driverName}`);
  }
  const { host, type: found, key } = parse(handle.value);
  if (typeof host !== 'string' || typeof key !== 'string' || !hostObjectTypes.some((known) => known === found)) {
    throw new Problem('internal', 'a handle of an agent site cannot be read');
  }
  if (found !== type) throw new Problem('internal', `a handle of a ${String(found)} was given where one of a ${type} belongs`);
  return { host, type, key };
}

function parse(value: string): Partial<Record<string, unknown>> {
  try {
    const parsed: unknown = JSON.parse(value);
    return typeof parsed === 'object' && parsed !== null ? parsed : {};
  } catch {
    return {};
  }
}
