import { type Address, type Kind, type PlacePart, Problem, parentPath, partsOfScope } from '@virt8ra/contract';

/** Path of a collection below the server's base URL. Raises `invalid-request` when a part of the address is missing. */
export function collectionPath(kind: Kind, within: Omit<Address, 'name'>): string {
  for (const part of partsOf(kind)) {
    const value = within[part];
    if (value === undefined || value === '') throw new Problem('invalid-request', `a ${kind.kind} needs a ${part}`);
    segmentOf(value, part);
  }
  const parent = parentPath(kind, within);
  return `providers/${kind.provider}/${kind.version}/${parent === '' ? '' : `${parent}/`}${kind.collection}`;
}

/** Path of a resource below the server's base URL. */
export function pathOf(kind: Kind, address: Address): string {
  return `${collectionPath(kind, address)}/${segmentOf(address.name, 'name')}`;
}

/** Parts of an address that resources of this kind have above their name. */
export function partsOf(kind: Kind): readonly PlacePart[] {
  return partsOfScope[kind.scope];
}

/** Only letters that mean themselves in a path: a name must not be able to reach another resource. Raises `invalid-request`. */
export function segmentOf(value: string, part: string): string {
  if (/^[A-Za-z0-9]([-A-Za-z0-9._]*[A-Za-z0-9])?$/.test(value) && value.length <= 128) return value;
  throw new Problem(
    'invalid-request',
    `${JSON.stringify(value)} is not a legal ${part}: use a-z, 0-9, "-" and ".", at most 128 characters`,
  );
}
