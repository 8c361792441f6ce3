import { type Kind, type PlacePart, partsOfScope } from './kind.js';
import { Problem } from './problem.js';
import type { Reference } from './shape.js';

/** Where a resource lives. Which parts are present follows from its kind's scope. */
export interface Address extends Partial<Readonly<Record<PlacePart, string>>> {
  readonly name: string;
}

const placeParts = ['tenant', 'workspace', 'network', 'cluster'] as const satisfies readonly PlacePart[];
const segmentOf = (part: PlacePart): string => `${part}s`;

/** The path segments above a collection: `tenants/t/workspaces/w`. */
export function parentPath(kind: Kind, address: Omit<Address, 'name'>): string {
  return partsOfScope[kind.scope].map((part) => `${segmentOf(part)}/${partOf(kind, address, part)}`).join('/');
}

/** `metadata.ref`: stable for the life of the resource, never host-dependent (SECA reference grammar). */
export function urnFromAddress(kind: Kind, address: Address): string {
  const parent = parentPath(kind, address);
  return `${kind.provider}/${kind.version}/${parent === '' ? '' : `${parent}/`}${kind.collection}/${address.name}`;
}

/** `metadata.resource` of a list: the collection's path inside the workspace, such as `networks/n/subnets`. */
export function relativeCollection(kind: Kind, place: Omit<Address, 'name'>): string {
  const inside = partsOfScope[kind.scope].slice(2).map((part) => `${segmentOf(part)}/${partOf(kind, place, part)}/`);
  return `${inside.join('')}${kind.collection}`;
}

/** `metadata.resource`: relative path inside the workspace, such as `networks/n/subnets/s`. */
export function relativePath(kind: Kind, address: Address): string {
  return `${relativeCollection(kind, address)}/${address.name}`;
}

function partOf(kind: Kind, address: Omit<Address, 'name'>, part: PlacePart): string {
  const value = address[part];
  if (value === undefined) throw new Problem('internal', `a ${kind.kind} has no ${part} in its address`);
  return value;
}

/**
 * Resolves a reference to an address of `kind`. Accepts a full URN, a relative path or a bare `collection/name`; parts that are missing
 * are those of `from`. Raises `validation` when the reference names another kind.
 */
export function addressFromReference(kind: Kind, reference: Reference, from: Omit<Address, 'name'>, pointer: string): Address {
  const given = typeof reference === 'string' ? { resource: reference } : reference;
  const segments = given.resource.split('/').filter((segment) => segment !== '');
  let address: Partial<Record<PlacePart | 'name', string>> = { ...from };
  if (given.tenant !== undefined) address = { ...address, tenant: given.tenant };
  if (given.workspace !== undefined) address = { ...address, workspace: given.workspace };
  if (segments.length > 2 && segments[0]?.includes('.') === true && /^v\d/.test(segments[1] ?? '')) {
    if (segments[0] !== kind.provider) throw wrongKind(kind, given.resource, pointer);
    segments.splice(0, 2);
  }
  while (segments.length >= 2) {
    const [segment, value] = segments.splice(0, 2);
    const part = placeParts.find((candidate) => segmentOf(candidate) === segment);
    if (segment === kind.collection && segments.length === 0) address = { ...address, name: value ?? '' };
    else if (part !== undefined) address = { ...address, [part]: value ?? '' };
    else throw wrongKind(kind, given.resource, pointer);
  }
  if (segments.length !== 0 || address.name === undefined || address.name === '') throw wrongKind(kind, given.resource, pointer);
  const wanted = partsOfScope[kind.scope];
  const missing = wanted.find((part) => address[part] === undefined);
  if (missing !== undefined) throw wrongKind(kind, given.resource, pointer);
  return Object.fromEntries([...wanted, 'name' as const].map((part) => [part, address[part]])) as unknown as Address;
}

function wrongKind(kind: Kind, given: string, pointer: string): Problem {
  return new Problem(
    'validation',
    `${JSON.stringify(given)} does not name a ${kind.kind}; write it as ${kind.collection}/NAME or as a full URN`,
    {
      sources: [{ pointer }],
    },
  );
}

/** The object form of a reference, which SECA clients decode. */
export function referenceTo(kind: Kind, address: Address): { readonly resource: string } {
  return { resource: urnFromAddress(kind, address) };
}
