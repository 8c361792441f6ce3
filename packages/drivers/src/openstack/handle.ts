import { Problem } from '@virt8ra/contract';
import type { Handle } from '@virt8ra/driver';

export const driverName = 'openstack';

const types = ['server', 'image', 'network', 'volume'] as const;
export type ObjectType = (typeof types)[number];

/** An object of a project. The project is kept: in another one its id is not found, and that says nothing. */
export interface CloudObject {
  readonly type: ObjectType;
  readonly id: string;
  readonly key: string;
  readonly project: string;
}

export function handleFrom({ type, id, key, project }: CloudObject): Handle {
  return { driver: driverName, version: 1, value: JSON.stringify({ type, id, key, project }) };
}

/** Raises `internal` for a handle of another driver, another version or another type of object: acting on it could hit the wrong thing. */
export function objectFrom(handle: Handle, ...wanted: readonly ObjectType[]): CloudObject {
  if (handle.driver !== driverName || handle.version !== 1)
    throw new Problem('internal', `a handle of driver ${handle.driver}, version ${handle.version}, was given to driver ${driverName}`);
  const { type, id, key, project } = parse(handle.value);
  const known = types.find((each) => each === type);
  if (known === undefined || typeof id !== 'string' || typeof key !== 'string' || typeof project !== 'string')
    throw new Problem('internal', 'a handle of an OpenStack site cannot be read');
  if (!wanted.includes(known)) throw new Problem('unsupported', `a ${known} was given where ${wanted.join(' or ')} belongs`);
  return { type: known, id, key, project };
}

function parse(value: string): Partial<Record<string, unknown>> {
  try {
    const parsed: unknown = JSON.parse(value);
    return typeof parsed === 'object' && parsed !== null ? parsed : {};
  } catch {
    return {};
  }
}
